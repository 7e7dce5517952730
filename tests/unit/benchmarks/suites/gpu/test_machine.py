"""What the page says of GPUs that the driver shows."""

from __future__ import annotations

import pytest

from benchmarks.harness.report import format_table
from benchmarks.suites.gpu.machine import Machine, describe_machine
from components.errors import HardwareError
from components.gpu.driver import DriverReport, GpuDevice
from components.gpu.tensorflow_build import TensorFlowBuild

BUILD = TensorFlowBuild(True, "12.5.1", ("sm_80", "sm_89", "compute_90"), "9")
L4 = GpuDevice("NVIDIA L4", 24 << 30, (8, 9))
B200 = GpuDevice("NVIDIA B200", 180 << 30, (10, 0))


def make(*devices: GpuDevice) -> Machine:
    driver = DriverReport("/usr/lib/libcuda.so.550.54.15", "550.54.15", "12.4", devices=devices)
    return Machine(driver, BUILD)


def test_every_gpu_has_a_row_with_kernels_and_the_source_of_its_peak() -> None:
    section = describe_machine(make(L4, B200), is_stand_in=False)
    text = "\n".join(map(format_table, section.report.tables))
    assert "| built for CUDA, cuDNN | 12.5.1, 9 |" in text
    assert "| NVIDIA L4 | 24.0 | 8.9 | built in | NVIDIA L4 datasheet" in text
    assert "| NVIDIA B200 | 180.0 | 10.0 | compiled at start | not in the table" in text


@pytest.mark.parametrize(
    ("gpu", "is_stand_in", "passed"),
    [
        pytest.param(L4, False, True, id="built-in"),
        pytest.param(B200, False, False, id="compiled"),
        pytest.param(L4, True, None, id="stand-in"),
    ],
)
def test_gpus_without_kernels_fail_the_check(
    gpu: GpuDevice, is_stand_in: bool, passed: bool | None
) -> None:
    (check,) = describe_machine(make(gpu), is_stand_in=is_stand_in).checks
    assert check.passed is passed


def test_a_machine_without_gpus_is_refused_with_the_reason() -> None:
    assert make(L4).find_usable_gpus() == (L4,)
    with pytest.raises(HardwareError, match="the driver shows 0"):
        make().find_usable_gpus()
