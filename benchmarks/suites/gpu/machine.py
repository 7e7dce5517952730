"""What the machine has: driver, GPUs, and what TensorFlow's build can use of them."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass

from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.suites.gpu.page import Check, Section
from benchmarks.suites.gpu.utilisation import find_peak
from components.errors import HardwareError
from components.gpu.driver import DriverReport, GpuDevice, count_gpus, probe_driver
from components.gpu.missing_gpus import find_obstacle, list_usable_gpus
from components.gpu.tensorflow_build import (
    TensorFlowBuild,
    find_kernel_support,
    read_tensorflow_build,
)

_GIB = 2**30
_START_IN_GPU_IMAGE = (
    "on a machine with GPUs and NVIDIA's driver, run the suite in the GPU image (make images "
    "DEVICE=gpu), which has to be started with the GPUs (docker run --gpus all), or in an "
    "environment of locks/train-gpu.txt; see docs/developer-guide/performance.md"
)


@dataclass(frozen=True)
class Machine:
    """The driver's report, and TensorFlow's build; None if it is not known."""

    driver: DriverReport
    build: TensorFlowBuild | None

    def find_usable_gpus(self) -> tuple[GpuDevice, ...]:
        """The GPUs to measure; HardwareError with the reason and the remedy if there are none.

        All that the driver shows have to be usable, because they are measured against each other.
        """
        needed = max(1, len(self.driver.devices))
        cause = find_obstacle(needed, self.build, self.driver, os.environ)
        if cause is None:
            return self.driver.devices
        seen = len(list_usable_gpus(self.build, self.driver))
        raise HardwareError(
            f"{count_gpus(needed)} to measure, TensorFlow can use {seen}: {cause.reason}\n"
            f"what to do: {self._choose_remedy(cause.remedy)}"
        )

    def _choose_remedy(self, remedy: str) -> str:
        """The cause's own where the machine has GPUs and TensorFlow's build is the right one.

        Otherwise the cause speaks of a cluster's options, which the suite does not read.
        """
        is_cpu_build = self.build is not None and not self.build.is_cuda
        has_driver = bool(self.driver.devices) or self.driver.is_broken
        return remedy if has_driver and not is_cpu_build else _START_IN_GPU_IMAGE


def read_machine() -> Machine:
    """Ask the driver, and read what TensorFlow was built for."""
    return Machine(probe_driver(), read_tensorflow_build())


def describe_machine(machine: Machine, *, is_stand_in: bool) -> Section:
    """The section: driver and builds, one row per GPU, and the versions of NVIDIA's packages."""
    driver, build = machine.driver, machine.build or TensorFlowBuild(False)
    versions = {
        "driver": f"{driver.version} ({driver.library})" if driver.library else driver.error,
        "CUDA of the driver": driver.cuda_version or "-",
        "TensorFlow": _find_version("tensorflow") or _find_version("tensorflow-cpu"),
        "built for CUDA, cuDNN": f"{build.cuda_version}, {build.cudnn_version}"
        if build.is_cuda
        else "no: for CPUs only",
        "built for": ", ".join(build.capabilities) or "-",
        "NVIDIA's packages": ", ".join(_list_nvidia_packages()) or "-",
    }
    tables = [Table("Driver and builds", ("what", "version"), tuple(versions.items()))]
    if driver.devices:
        columns = ("GPU", "memory, GiB", "compute capability", "kernels", "peak from")
        rows = tuple(_format_gpu(gpu, build) for gpu in driver.devices)
        tables.append(Table("GPUs", columns, rows))
    return Section(
        BenchmarkReport(
            "Machine",
            {"gpus": float(len(driver.devices))},
            tuple(tables),
            ("kernels: whether TensorFlow has them for the GPU's compute capability.",),
        ),
        (_check_kernels(machine, build, is_stand_in=is_stand_in),),
    )


def _check_kernels(machine: Machine, build: TensorFlowBuild, *, is_stand_in: bool) -> Check:
    name = "TensorFlow has kernels for the GPUs"
    if is_stand_in:
        return Check(name, None, "--device cpu")
    missing = sorted(
        {
            f"{gpu.title}: {find_kernel_support(build.capabilities, gpu.compute_capability)}"
            for gpu in machine.driver.devices
            if find_kernel_support(build.capabilities, gpu.compute_capability) != "built in"
        }
    )
    return Check(name, not missing, ", ".join(missing) or "built in for all")


def _format_gpu(gpu: GpuDevice, build: TensorFlowBuild) -> tuple[str, ...]:
    peak = find_peak(gpu.name)
    return (
        gpu.name,
        f"{gpu.memory_bytes / _GIB:.1f}",
        gpu.capability,
        find_kernel_support(build.capabilities, gpu.compute_capability),
        peak.source if peak else "not in the table of peaks",
    )


def _list_nvidia_packages() -> list[str]:
    found = importlib.metadata.distributions()
    return sorted(f"{each.name} {each.version}" for each in found if "nvidia" in each.name.lower())


def _find_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
