"""Precision and thread counts that suit the processor, and the check that GPUs are there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from components.config.schema import TrainConfig
from components.errors import HardwareError
from components.gpu.driver import GpuDevice, count_gpus, probe_driver
from components.gpu.kernel_compilation import describe_compilation
from components.gpu.local_gpus import UnusedGpus
from components.gpu.missing_gpus import find_cause, format_missing_gpus
from components.gpu.tensorflow_build import find_kernel_support, read_tensorflow_build

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


def check_gpus(wanted: int, *, is_optional: bool = False) -> str:
    """The note about GPUs that a worker does not use; empty if TensorFlow sees `wanted` GPUs.

    Raises HardwareError with the reason and the remedy if it sees fewer, unless `is_optional`.
    Imports TensorFlow, and initializes none of its devices.
    """
    built = _list_built_capabilities()
    capabilities = [gpu.compute_capability for gpu in list_tensorflow_gpus()]
    # TensorFlow lists GPUs that it has no kernels for, and leaves them out when it starts.
    seen = sum(find_kernel_support(built, each) != "none" for each in capabilities)
    if seen < wanted:
        cause = find_cause(wanted, read_tensorflow_build(), probe_driver(), os.environ)
        if is_optional:
            return UnusedGpus(count_gpus(wanted - seen), cause).note
        raise HardwareError(format_missing_gpus("a worker needs", wanted, seen, cause))
    return ""


def describe_kernel_compilation() -> str:
    """What the user should know if TensorFlow has no kernels for its GPUs; empty if it has."""
    return describe_compilation(_list_built_capabilities(), list_tensorflow_gpus())


def list_tensorflow_gpus() -> list[GpuDevice]:
    """The GPUs that TensorFlow sees; their memory is 0, because that would initialize them."""
    import tensorflow as tf

    found = []
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        capability = details.get("compute_capability", (0, 0))
        found.append(GpuDevice(details.get("device_name", gpu.name), 0, capability))
    return found


def _list_built_capabilities() -> Sequence[str]:
    import tensorflow as tf

    capabilities: Sequence[str] = tf.sysconfig.get_build_info().get("cuda_compute_capabilities", ())
    return capabilities


def _read_cpu_flags(cpu_info: Path) -> set[str]:
    try:
        lines = cpu_info.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
