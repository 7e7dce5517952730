"""Explains why TensorFlow sees fewer GPUs than it should, and what to do about it.

Pure functions over what the driver reports and what TensorFlow was built for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from components.gpu.assignment import CUDA_VISIBLE_DEVICES
from components.gpu.driver import (
    GKE_DRIVER_DIRECTORY,
    LIBRARY,
    DriverReport,
    GpuDevice,
    count_gpus,
)
from components.gpu.tensorflow_build import TensorFlowBuild, find_kernel_support

MAX_LISTED_DIRECTORIES = 12
_NO_DEVICE = "CUDA_ERROR_NO_DEVICE"
_INSTALL_DRIVER = (
    "GKE: create the node pool with gpu-driver-version=default, and have "
    f"LD_LIBRARY_PATH={GKE_DRIVER_DIRECTORY} in the image or in cluster.environment; "
    "EKS: use an AMI for NVIDIA GPUs and its device plugin; other nodes: install the driver and "
    "the NVIDIA Container Toolkit, and make its runtime the container runtime's default"
)
_REPAIR_DRIVER = (
    "run nvidia-smi on the node: if it fails as well, reinstall the driver or replace the node; "
    "if it works, the container has no devices: GKE and EKS: check the device plugin; other nodes: "
    "check that the NVIDIA Container Toolkit's runtime starts the pods"
)
_USE_GPU_BUILD = (
    "use the GPU image (make images DEVICE=gpu) in cluster.train_image; outside of containers, "
    "install locks/train-gpu.txt in place of tensorflow-cpu"
)


class Cause(NamedTuple):
    """Why GPUs are missing, and the remedy, each as a clause."""

    reason: str
    remedy: str


def list_usable_gpus(build: TensorFlowBuild | None, driver: DriverReport) -> tuple[GpuDevice, ...]:
    """The GPUs that this TensorFlow can compute on; all of them if its build is not known."""
    if build is None:
        return driver.devices
    if not build.is_cuda or is_driver_too_old(build, driver):
        return ()
    return tuple(gpu for gpu in driver.devices if _has_kernels(build, gpu))


def is_driver_too_old(build: TensorFlowBuild, driver: DriverReport) -> bool:
    """Whether the driver is for an older major version of CUDA than TensorFlow's."""
    return _major(driver.cuda_version) < _major(build.cuda_version)


def find_cause(
    wanted: int,
    build: TensorFlowBuild | None,
    driver: DriverReport,
    environment: Mapping[str, str],
) -> Cause:
    """The first thing that keeps TensorFlow from seeing `wanted` GPUs."""
    if build is not None and not build.is_cuda:
        return Cause("this TensorFlow is built for CPUs only", _USE_GPU_BUILD)
    if not driver.library:
        return _find_loading_cause(driver, environment)
    if driver.error and _NO_DEVICE in driver.error and CUDA_VISIBLE_DEVICES in environment:
        return Cause(
            f"the driver shows none{_mask(environment)}",
            f"unset {CUDA_VISIBLE_DEVICES}, or name GPUs in it that nvidia-smi -L lists",
        )
    if driver.error:
        return Cause(
            f"the driver ({driver.library}) does not work: {driver.error}{_mask(environment)}",
            _REPAIR_DRIVER,
        )
    if len(driver.devices) < wanted:
        return Cause(
            f"the driver shows {len(driver.devices)}{_mask(environment)}",
            "lower cluster.gpus, or give the worker more GPUs; a process can use only one MIG "
            "device, so with those cluster.gpus is 1",
        )
    if build is not None and is_driver_too_old(build, driver):
        return Cause(
            f"the driver ({driver.version}) supports CUDA up to {driver.cuda_version}, TensorFlow "
            f"is built for {build.cuda_version}",
            "install a newer driver on the nodes; GKE: gpu-driver-version=latest",
        )
    if build is not None and len(list_usable_gpus(build, driver)) < wanted:
        names = sorted({gpu.title for gpu in driver.devices if not _has_kernels(build, gpu)})
        return Cause(
            f"this TensorFlow has no kernels for {', '.join(names)}; it was built for "
            f"{', '.join(build.capabilities)}",
            "use newer GPUs, or hide these with CUDA_VISIBLE_DEVICES",
        )
    return Cause(
        f"the driver shows {len(driver.devices)}, TensorFlow does not take them",
        "read TensorFlow's lines in the worker's log: a CUDA library is missing (install "
        "locks/train-gpu.txt)",
    )


def find_obstacle(
    needed: int,
    build: TensorFlowBuild | None,
    driver: DriverReport,
    environment: Mapping[str, str],
) -> Cause | None:
    """Why TensorFlow cannot compute on `needed` GPUs; None if it can."""
    if len(list_usable_gpus(build, driver)) >= needed:
        return None
    return find_cause(needed, build, driver, environment)


def format_missing_gpus(who_needs: str, wanted: int, seen: int, cause: Cause) -> str:
    """The message for the user: the numbers, the reason, and a line with the remedy.

    `who_needs` is its beginning, such as "a worker needs".
    """
    return (
        f"{who_needs} {count_gpus(wanted)} (cluster.gpus), TensorFlow sees {seen}: "
        f"{cause.reason}\n"
        f"what to do: {cause.remedy}"
    )


def _has_kernels(build: TensorFlowBuild, gpu: GpuDevice) -> bool:
    return find_kernel_support(build.capabilities, gpu.compute_capability) != "none"


def _find_loading_cause(driver: DriverReport, environment: Mapping[str, str]) -> Cause:
    if not driver.searched:
        return Cause(driver.error, _REPAIR_DRIVER)
    library_path = environment.get("LD_LIBRARY_PATH") or "not set"
    directories = ", ".join(driver.searched[:MAX_LISTED_DIRECTORIES])
    reason = (
        f"the driver's library {LIBRARY} was not found in {directories} "
        f"(LD_LIBRARY_PATH: {library_path})"
    )
    if "No such file" not in driver.error:
        reason = f"the driver's library cannot be loaded: {driver.error}"
    if driver.other_directories:
        other = driver.other_directories[0]
        return Cause(
            f"{reason}; it is in {other}, which is not searched",
            f"set LD_LIBRARY_PATH={other}, in a cluster by cluster.environment",
        )
    return Cause(reason, _INSTALL_DRIVER)


def _mask(environment: Mapping[str, str]) -> str:
    """What hides GPUs from this process, if anything does."""
    variables = (CUDA_VISIBLE_DEVICES, "NVIDIA_VISIBLE_DEVICES")
    found = [f"{name}={environment[name]!r}" for name in variables if name in environment]
    return f" ({', '.join(found)})" if found else ""


def _major(version: str) -> int:
    number = version.partition(".")[0]
    return int(number) if number.isdigit() else 0
