"""Explains why TensorFlow sees fewer GPUs than it should, and what to do about it.

Pure functions over what the driver reports and what TensorFlow was built for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from components.gpu.assignment import CUDA_VISIBLE_DEVICES, describe_mask_fault
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
    if driver.is_broken:
        return _find_driver_fault(driver, environment)
    if build is not None and not build.is_cuda:
        return Cause("this TensorFlow is built for CPUs only", _USE_GPU_BUILD)
    if not driver.library:
        return _describe_missing_library(driver, environment)
    if len(driver.devices) < wanted:
        return Cause(
            f"the driver shows {len(driver.devices)}{_describe_masks(environment)}",
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
        "a CUDA library is missing, which TensorFlow's lines in the worker's log name: install "
        "locks/train-gpu.txt",
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


def describe_missing_gpus(
    who_needs: str, wanted: int, seen: int, reason: str, option: str = "cluster.gpus"
) -> str:
    """The numbers and the reason, in one line.

    `who_needs` is its beginning, such as "a worker needs"; `option` is what asks for them.
    """
    missing = f", {wanted - seen} missing" if 0 < seen < wanted else ""
    return f"{who_needs} {count_gpus(wanted)} ({option}), TensorFlow sees {seen}{missing}: {reason}"


def format_missing_gpus(who_needs: str, wanted: int, seen: int, cause: Cause) -> str:
    """The message for the user: `describe_missing_gpus`, and a line with the remedy."""
    return add_remedy(describe_missing_gpus(who_needs, wanted, seen, cause.reason), cause.remedy)


def add_remedy(reason: str, remedy: str) -> str:
    """The text of an error about GPUs: a line with the reason, and one with the remedy."""
    return f"{reason}\nwhat to do: {remedy}"


def _has_kernels(build: TensorFlowBuild, gpu: GpuDevice) -> bool:
    return find_kernel_support(build.capabilities, gpu.compute_capability) != "none"


def _find_driver_fault(driver: DriverReport, environment: Mapping[str, str]) -> Cause:
    """Why a driver that is there shows no GPU."""
    visible = environment.get(CUDA_VISIBLE_DEVICES)
    if _NO_DEVICE in driver.error and visible is not None:
        fault = describe_mask_fault(visible)
        return Cause(
            f"the driver shows none{_describe_masks(environment)}"
            + (f": {CUDA_VISIBLE_DEVICES} {fault}" if fault else ""),
            f"unset {CUDA_VISIBLE_DEVICES}, or name GPUs in it that nvidia-smi -L lists, each once",
        )
    if driver.library:
        reason = f"the driver ({driver.library}) does not work: {driver.error}"
        return Cause(f"{reason}{_describe_masks(environment)}", _REPAIR_DRIVER)
    if driver.searched:
        reason = f"the driver's library cannot be loaded: {driver.error}"
        return _describe_missing_library(driver, environment, reason)
    return Cause(driver.error, _REPAIR_DRIVER)


def _describe_missing_library(
    driver: DriverReport, environment: Mapping[str, str], reason: str = ""
) -> Cause:
    """Where the library was looked for, unless another reason is given, and where it may be."""
    library_path = environment.get("LD_LIBRARY_PATH") or "not set"
    directories = ", ".join(driver.searched[:MAX_LISTED_DIRECTORIES])
    reason = reason or (
        f"the driver's library {LIBRARY} was not found in {directories} "
        f"(LD_LIBRARY_PATH: {library_path})"
    )
    if driver.other_directories:
        other = driver.other_directories[0]
        return Cause(
            f"{reason}; it is in {other}, which is not searched",
            f"set LD_LIBRARY_PATH={other}, in a cluster by cluster.environment",
        )
    return Cause(reason, _INSTALL_DRIVER)


def _describe_masks(environment: Mapping[str, str]) -> str:
    """What hides GPUs from this process, if anything does."""
    variables = (CUDA_VISIBLE_DEVICES, "NVIDIA_VISIBLE_DEVICES")
    found = [f"{name}={environment[name]!r}" for name in variables if name in environment]
    return f" ({', '.join(found)})" if found else ""


def _major(version: str) -> int:
    number = version.partition(".")[0]
    return int(number) if number.isdigit() else 0
