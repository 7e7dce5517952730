"""What `train.precision=auto` stands for on this machine."""

from __future__ import annotations

from pathlib import Path

from components.config.schema import TrainConfig

CPU_FLAGS = Path("/proc/cpuinfo")
_NATIVE = frozenset({"avx512_bf16", "amx_bf16"})


def resolved(train: TrainConfig, backend: str, cpu_info: Path = CPU_FLAGS) -> TrainConfig:
    """The same options with a precision that means the same everywhere.

    `auto` is bfloat16 where the workers run on this machine and its processor multiplies bfloat16 natively, else float32: elsewhere
    the narrow products are slower than float32's, and of a cluster's nodes nothing is known here.
    """
    if train.precision != "auto":
        return train
    native = backend == "local" and not _NATIVE.isdisjoint(_flags(cpu_info))
    return train.model_copy(update={"precision": "bfloat16" if native else "float32"})


def _flags(cpu_info: Path) -> set[str]:
    try:
        lines = cpu_info.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
