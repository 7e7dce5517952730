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
import tensorflow as tf

from benchmarks.baselines.single_step import build_single_step
from benchmarks.harness.report import Table, format_table
from components.config.schema import ModelConfig, TrainConfig

SHAPES = ((32, 56), (13, 128))
PRECISIONS = ("float32", "bfloat16")
TURNS, STEPS, WARM = 7, 4, 3


def build_step(rows: int, length: int, precision: str) -> Callable[[], object]:
    """A compiled training step of MiniLM on one batch of full rows, on one thread."""
    train = TrainConfig.model_validate({"precision": precision})
    step = build_single_step(ModelConfig(encoder="minilm"), train, rows, length)
    batch = step.make_batch(rows, length)
    return lambda: step.run(batch)


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
    for precision in PRECISIONS:
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
