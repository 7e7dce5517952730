"""GPUs that TensorFlow has no kernels for: the driver compiles them, which takes long once.

Pure functions. The driver keeps what it compiled in a directory that CUDA_CACHE_PATH names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from components.config.cluster import STATE_MOUNT
from components.gpu.driver import GpuDevice
from components.gpu.tensorflow_build import find_kernel_support

COMPILATION_SECONDS = 7200
"""Time that a step may take while kernels are compiled; TensorFlow itself warns of half an hour."""
MAX_CACHE_BYTES = 2**32
"""The largest value of CUDA_CACHE_MAXSIZE that drivers accept; the default of 1 GiB is less than
TensorFlow's kernels may need."""


class StepLimits(NamedTuple):
    """Seconds for the start of the strategy and the first step, and for each step after it."""

    first: int
    later: int


def choose_step_limits(first: int, later: int, *, compiles_kernels: bool) -> StepLimits:
    """The configured limits, raised to COMPILATION_SECONDS where kernels are compiled.

    Also those of later steps: a kernel is compiled when it is first used, for some in the first
    validation.
    """
    lowest = COMPILATION_SECONDS if compiles_kernels else 0
    return StepLimits(max(first, lowest), max(later, lowest))


def describe_compilation(capabilities: Iterable[str], gpus: Iterable[GpuDevice]) -> str:
    """What the user should know about GPUs without kernels; empty if there are none."""
    built = tuple(capabilities)
    names = sorted(
        {
            gpu.title
            for gpu in gpus
            if find_kernel_support(built, gpu.compute_capability) == "compiled at start"
        }
    )
    if not names:
        return ""
    return (
        f"this TensorFlow has no kernels for {', '.join(names)}, only for {', '.join(built)}: the "
        "driver compiles them, which may take 30 minutes or longer, or fail with "
        f"CUDA_ERROR_INVALID_PTX; until then a step may take {COMPILATION_SECONDS} s. GPUs of "
        "compute capability 9.0 or lower need no compilation"
    )


def choose_cache_variables(environment: Mapping[str, str], state: str, rank: int) -> dict[str, str]:
    """Variables that keep compiled kernels beyond a restart; those that are set stay as they are.

    Only the volume of cluster.checkpoint_pvc outlives a pod, so only there a directory is chosen;
    `state` is the directory or URI of the training's state. Each rank has its own, because drivers
    of several nodes would write the same files. Outside of pods the driver's default, in the home
    directory, outlives the process already.
    """
    variables = {"CUDA_CACHE_MAXSIZE": str(MAX_CACHE_BYTES)}
    if state.startswith(f"{STATE_MOUNT}/"):
        variables["CUDA_CACHE_PATH"] = f"{STATE_MOUNT}/cuda-cache/worker-{rank}"
    return {name: value for name, value in variables.items() if name not in environment}
