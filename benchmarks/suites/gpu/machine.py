"""What the machine has: driver, GPUs, and what TensorFlow's build can use of them."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass

from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.suites.gpu.page import Check, Section
from benchmarks.suites.gpu.utilisation import find_peak
from components.gpu.driver import DriverReport, GpuDevice, probe_driver
from components.gpu.local_gpus import choose_local_gpus
from components.gpu.tensorflow_build import (
    TensorFlowBuild,
    find_kernel_support,
    read_tensorflow_build,
)

_GIB = 2**30


@dataclass(frozen=True)
class Machine:
    """The driver's report, and TensorFlow's build; None if it is not known."""

    driver: DriverReport
    build: TensorFlowBuild | None

    def find_usable_gpus(self) -> tuple[GpuDevice, ...]:
        """The GPUs to measure; HardwareError with the reason and the remedy if there are none."""
        return choose_local_gpus(1, self.build, self.driver, os.environ).devices


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
