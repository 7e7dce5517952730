"""Precision and thread counts that suit the processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from components.config.schema import TrainConfig
from components.gpu.driver import GpuDevice

CPU_INFO_FILE = Path("/proc/cpuinfo")
_BFLOAT16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
BFLOAT16_COMPUTE_CAPABILITY = (8, 0)
"""Ampere, the first NVIDIA GPUs whose tensor cores multiply bfloat16."""
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
    train: TrainConfig,
    backend: str,
    gpus: Sequence[GpuDevice] = (),
    cpu_info: Path = CPU_INFO_FILE,
) -> TrainConfig:
    """The options with `train.precision=auto` replaced by bfloat16 or float32.

    `auto` is bfloat16 if the workers run on this machine and what computes there has native
    bfloat16 products: its GPUs, if they use any, else its CPU. It is float32 everywhere else:
    without native support bfloat16 is slower than float32, and the nodes of a cluster are not known
    here.
    """
    if train.precision != "auto":
        return train
    if gpus:
        is_native = all(gpu.compute_capability >= BFLOAT16_COMPUTE_CAPABILITY for gpu in gpus)
    else:
        is_native = not _BFLOAT16_CPU_FLAGS.isdisjoint(_read_cpu_flags(cpu_info))
    is_native = is_native and backend == "local"
    return train.model_copy(update={"precision": "bfloat16" if is_native else "float32"})


def describe_unfit_precision(precision: str, gpus: Sequence[GpuDevice], is_on_gpus: bool) -> str:
    """What the user should know if a precision was chosen that does not suit; empty if it does.

    `gpus` are those of this machine that compute; the GPUs of a cluster's nodes are not known.
    """
    old = sorted(
        {gpu.title for gpu in gpus if gpu.compute_capability < BFLOAT16_COMPUTE_CAPABILITY}
    )
    if precision == "tf32" and (old or not is_on_gpus):
        where = f"on {', '.join(old)}" if old else "on CPUs"
        return (
            f"train.precision=tf32 has no effect {where}: products are exact float32; it needs "
            "GPUs of compute capability 8.0 or later. train.precision=auto chooses what is fast"
        )
    if precision == "float16" and not is_on_gpus:
        return (
            "train.precision=float16 is slower than float32 on CPUs; it is for GPUs. "
            "train.precision=auto chooses what is fast"
        )
    return ""


def _read_cpu_flags(cpu_info: Path) -> set[str]:
    try:
        lines = cpu_info.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
