"""Precision and thread counts that suit the machine's processor."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from components.config.schema import TrainConfig

CPU_INFO_FILE = Path("/proc/cpuinfo")
_BFLOAT16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
MAX_NARROW_HIDDEN_SIZE = 128
"""Up to this hidden size, half of the cores are enough for one operation.

CPU and wall milliseconds per step with one thread per operation, against two (two cores, bfloat16,
32 rows of 56 tokens): 4 layers 128 wide: 67 and 45, against 86 and 51; 4 layers 256 wide: 156 and
106, against 185 and 102.
"""


class ThreadCounts(NamedTuple):
    """TensorFlow's threads that share one operation, and operations that run at a time."""

    intra_op: int
    inter_op: int


def choose_thread_counts(cores: int, hidden_size: int | None) -> ThreadCounts:
    """The faster thread counts for an encoder of this width; None if the width is not known.

    Waiting threads spin: where an operation is too short to be split, they cost CPU time and make
    nothing faster.
    """
    is_narrow = hidden_size is not None and hidden_size <= MAX_NARROW_HIDDEN_SIZE
    return ThreadCounts(max(1, cores // 2) if is_narrow else cores, cores)


def resolve_precision(
    train: TrainConfig, backend: str, cpu_info: Path = CPU_INFO_FILE
) -> TrainConfig:
    """The options with `train.precision=auto` replaced by bfloat16 or float32.

    `auto` is bfloat16 if the workers run on this machine and its CPU has native bfloat16 products.
    It is float32 everywhere else: without native support bfloat16 is slower than float32, and the
    nodes of a cluster are not known here.
    """
    if train.precision != "auto":
        return train
    is_native = backend == "local" and not _BFLOAT16_CPU_FLAGS.isdisjoint(_read_cpu_flags(cpu_info))
    return train.model_copy(update={"precision": "bfloat16" if is_native else "float32"})


def _read_cpu_flags(cpu_info: Path) -> set[str]:
    try:
        lines = cpu_info.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
