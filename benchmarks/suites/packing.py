"""Upper bound of what packing several texts into one row could gain.

    python -m benchmarks.suites.packing

On average a batch of 32 rows of AG News is padded to 56 tokens, of which 92% are real; the same
tokens fill 13 rows of 128. Both shapes are timed. Packing would also need a mask, positions and
pooling per text, which are not included, so the measured gain is an upper bound.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import components  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import numpy as np
import tensorflow as tf

from benchmarks.harness.report import Table, format_table
from components.config.schema import ModelConfig, TrainConfig
from components.model.classifier import build_classifier
from components.model.encoders import load_vocabulary
from components.train.loop.optimizer import build_optimizer
from components.train.loop.train_step import make_train_step

SHAPES = ((32, 56), (13, 128))
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
TURNS, STEPS, WARM = 7, 4, 3


def build_step(rows: int, length: int, precision: str) -> Callable[[], object]:
    """A compiled training step of MiniLM on one batch of full rows, on one thread."""
    tf.keras.mixed_precision.set_global_policy(POLICIES[precision])
    config = ModelConfig(encoder="minilm")
    vocabulary = load_vocabulary(config)
    assert vocabulary is not None
    model = build_classifier(config, vocabulary, 4, seed=1)
    train = TrainConfig.model_validate({"precision": precision})
    table = model.encoder.word_embeddings
    others = [variable for variable in model.trainable_variables if variable is not table]
    optimizer = build_optimizer(train, 10_000, table)
    optimizer._create_all_weights([*others, table])
    ids = np.random.default_rng(1).integers(1_000, 1_400, (rows, length))
    unique_ids, positions = np.unique(ids, return_inverse=True)
    many = tf.TensorSpec((None,), tf.int32)
    spec = (tf.TensorSpec((None, None), tf.int32), many, many, tf.TensorSpec((), tf.int64))

    def forward(inputs: tf.Tensor, words: tf.Tensor | None, training: bool) -> tf.Tensor:
        return model(
            {"input_word_ids": inputs} | ({} if words is None else {"token_embeddings": words}),
            training,
        )

    step = make_train_step(
        tf.distribute.get_strategy(),
        forward,
        others,
        optimizer,
        model.dropout_seed,
        train,
        spec,
        table,
    )
    labels = tf.constant(np.arange(rows) % 4, tf.int32)
    batch = (
        tf.constant(positions.reshape(ids.shape), tf.int32),
        tf.constant(unique_ids, tf.int32),
        labels,
        tf.constant(0, tf.int64),
    )
    return lambda: step(batch, 1, False)


def measure_cpu_per_step(step: Callable[[], object]) -> float:
    """CPU milliseconds, the mean of a few steps."""
    started = time.process_time()
    for _ in range(STEPS):
        step()
    return (time.process_time() - started) / STEPS * 1000


def main() -> None:
    """Measure both shapes in turns, and print the table."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    lines = []
    for precision in POLICIES:
        steps = [build_step(*shape, precision) for shape in SHAPES]
        for step in steps:
            for _ in range(WARM):
                step()
        turns = [[measure_cpu_per_step(step) for step in steps] for _ in range(TURNS)]
        grouped, packed = (statistics.median(column) for column in zip(*turns, strict=True))
        ratio = statistics.median(one / other for one, other in turns)
        lines.append((precision, f"{grouped:.0f}", f"{packed:.0f}", f"{ratio:.2f}"))
    columns = (
        "products in",
        *(f"{rows} rows of {length}, CPU ms" for rows, length in SHAPES),
        "packed is faster (times)",
    )
    print(
        format_table(
            Table(f"A step of MiniLM on one core, medians of {TURNS} turns", columns, tuple(lines))
        )
    )


if __name__ == "__main__":
    main()
