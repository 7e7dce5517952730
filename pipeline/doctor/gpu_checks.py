"""The check of this machine's GPUs: what the driver shows, and what a run uses of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.config.schema import Config
from components.errors import ConfigError
from components.gpu.assignment import CUDA_VISIBLE_DEVICES, is_hiding_all
from components.gpu.driver import DriverReport, GpuDevice, probe_driver
from components.gpu.local_gpus import UnusedGpus, choose_local_gpus, find_shortage
from components.gpu.missing_gpus import find_cause
from components.gpu.tensorflow_build import (
    KernelSupport,
    TensorFlowBuild,
    find_kernel_support,
    read_tensorflow_build,
)
from pipeline.doctor import Finding

KERNEL_DRIVER_FILE = Path("/proc/driver/nvidia/version")
"""Exists where NVIDIA's kernel driver is loaded, also in containers without its libraries."""
BYTES_PER_GIB = 2**30
_COMPILES = (
    "the driver compiles the kernels for it at the start of a training, which may take 30 minutes "
    "or fail"
)
_OLDER_GPUS = "use GPUs of compute capability 9.0 or lower"


def check_gpus(config: Config, probe: Callable[[], DriverReport] = probe_driver) -> Finding:
    """The GPUs of this machine and whether a local run uses them; one quiet line without any."""
    return assess_gpus(
        config,
        read_tensorflow_build(),
        probe(),
        os.environ,
        has_kernel_driver=KERNEL_DRIVER_FILE.exists(),
    )


def assess_gpus(
    config: Config,
    build: TensorFlowBuild | None,
    driver: DriverReport,
    environment: Mapping[str, str],
    *,
    has_kernel_driver: bool,
) -> Finding:
    """`check_gpus` for a given build, driver and environment."""
    is_local = config.cluster.backend == "local"
    wanted = config.cluster.gpus if is_local else 0
    has_gpus = bool(
        driver.library or driver.is_broken or driver.other_directories or has_kernel_driver
    )
    is_hidden = is_hiding_all(environment.get(CUDA_VISIBLE_DEVICES))
    if not wanted and (not has_gpus or is_hidden):
        return Finding.ok(f"none, {CUDA_VISIBLE_DEVICES} hides them" if is_hidden else "none")
    details = _list_details(build, driver)
    found = [text for text in (_describe_gpus(build, driver), _describe_driver(driver)) if text]
    workers = config.train.workers if is_local else 1
    if shortage := find_shortage(workers, wanted, build, driver, environment):
        return Finding.missing("; ".join([*found, shortage.reason]), shortage.remedy, details)
    try:
        used = choose_local_gpus(workers, wanted, build, driver, environment)
    except ConfigError as error:
        return Finding.missing("; ".join(found), str(error), details)
    unused = used.unused
    if not used.devices:
        unused = unused or UnusedGpus("GPUs", find_cause(1, build, driver, environment))
        return _warn_of_unused(found, unused, details)
    found.append(f"TensorFlow for CUDA {build.cuda_version} with NCCL" if build else "TensorFlow")
    if not is_local:
        return Finding.ok("; ".join([*found, "the workers run on the cluster"]), details)
    details["used"] = len(used.devices)
    found.append(_describe_use(workers, len(used.devices), len(driver.devices)))
    if unused is not None:
        return _warn_of_unused(found, unused, details)
    if build and "compiled at start" in _supports(build, used.devices):
        return Finding.warning("; ".join(found), f"{_COMPILES}; {_OLDER_GPUS}", details)
    return Finding.ok("; ".join(found), details)


def _warn_of_unused(found: list[str], unused: UnusedGpus, details: dict[str, Any]) -> Finding:
    reason = f"{unused.gpus} not used: {unused.cause.reason}"
    return Finding.warning("; ".join([*found, reason]), unused.cause.remedy, details)


def _describe_use(workers: int, used: int, count: int) -> str:
    share = f"all {count}" if used == count else f"{used} of {count}"
    return (
        f"a run uses {share if count > 1 else 'it'}: {_count(workers, 'worker')} with "
        f"{_count(used // workers, 'replica')}{' each' if workers > 1 else ''}"
    )


def _supports(build: TensorFlowBuild, devices: tuple[GpuDevice, ...]) -> set[KernelSupport]:
    return {find_kernel_support(build.capabilities, gpu.compute_capability) for gpu in devices}


def _describe_gpus(build: TensorFlowBuild | None, driver: DriverReport) -> str:
    """Equal GPUs once, with their number."""
    texts = []
    for gpu, count in Counter(driver.devices).items():
        kernels = ""
        if build is not None and build.is_cuda:
            kernels = f", kernels {find_kernel_support(build.capabilities, gpu.compute_capability)}"
        memory = f"{gpu.memory_bytes / BYTES_PER_GIB:.1f} GiB"
        texts.append(
            f"{count} x {gpu.name} ({memory}, compute capability {gpu.capability}{kernels})"
        )
    return ", ".join(texts)


def _describe_driver(driver: DriverReport) -> str:
    if not driver.library:
        return ""
    cuda = f" for CUDA up to {driver.cuda_version}" if driver.cuda_version else ""
    return f"driver {driver.version}{cuda} ({driver.library})"


def _list_details(build: TensorFlowBuild | None, driver: DriverReport) -> dict[str, Any]:
    """The values in the message, for `--json`; `used` is the number of GPUs that a run uses."""
    capabilities = build.capabilities if build else ()
    return {
        "gpus": [
            {
                "name": gpu.name,
                "memory_bytes": gpu.memory_bytes,
                "compute_capability": gpu.capability,
                "kernels": find_kernel_support(capabilities, gpu.compute_capability),
            }
            for gpu in driver.devices
        ],
        "driver": {
            "library": driver.library,
            "version": driver.version,
            "cuda_version": driver.cuda_version,
            "error": driver.error,
        },
        "tensorflow": {
            "is_cuda": bool(build and build.is_cuda),
            "cuda_version": build.cuda_version if build else "",
            "compute_capabilities": list(capabilities),
            "has_nccl": bool(build and build.is_cuda),
        },
        "used": 0,
    }


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' if number > 1 else ''}"
