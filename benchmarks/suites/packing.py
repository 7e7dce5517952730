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
from components.train.loop.input_pipeline import SplitInputs, build_batch_spec, slice_batch
from components.train.loop.optimizer import StepOptimizer, build_optimizer
from components.train.loop.train_step import TrainStep, build_forward

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
    optimizer = StepOptimizer(build_optimizer(train, 10_000, table), table)
    optimizer.create_slots([*others, table])
    ids = np.random.default_rng(1).integers(1_000, 1_400, (rows, length)).astype(np.int32)
    inputs = SplitInputs(
        np.full(rows, length, np.int32),
        np.arange(rows, dtype=np.int32) % 4,
        lambda indices, _: ids[indices],
        tf.TensorSpec((None, None), tf.int32),
        has_token_ids=True,
        has_unique_token_ids=True,
    )
    strategy = tf.distribute.get_strategy()
    step = TrainStep(
        strategy,
        build_forward(model, has_features=False),
        others,
        optimizer,
        model.dropout_seed,
        train,
        build_batch_spec(strategy, inputs),
    )
    batch = slice_batch(inputs.read_batch(np.arange(rows), length), slice(0, rows))
    return lambda: step(batch, 1, False).read()


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
