"""The check of GPUs: with a compiled stand-in for the driver, and for given drivers and builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.config.loading import load_config
from components.gpu.driver import DriverReport, GpuDevice
from components.gpu.tensorflow_build import TensorFlowBuild
from pipeline.doctor import Finding, gpu_checks, machine_checks
from tests.support.stand_in_driver.compile_driver import VERSION, compile_driver

CPU_BUILD = TensorFlowBuild(False)
CUDA_BUILD = TensorFlowBuild(True, "12.5.1", ("sm_80", "sm_89", "compute_90"))
L4 = GpuDevice("NVIDIA L4", 24 * 2**30, (8, 9))
B200 = GpuDevice("NVIDIA B200", 180 * 2**30, (10, 0))
NOT_FOUND = "libcuda.so.1: cannot open shared object file: No such file or directory"
ABSENT = DriverReport(error=NOT_FOUND, searched=("/lib",))


def show(*devices: GpuDevice, cuda: str = "12.4") -> DriverReport:
    return DriverReport("/lib/libcuda.so.1", "550.1", cuda, devices=devices)


def assess(
    build: TensorFlowBuild, driver: DriverReport, *options: str, mask: str | None = None
) -> Finding:
    environment = {} if mask is None else {"CUDA_VISIBLE_DEVICES": mask}
    config = load_config(None, list(options))
    return gpu_checks.assess_gpus(config, build, driver, environment, has_kernel_driver=False)


def test_a_machine_without_a_gpu_has_one_quiet_line() -> None:
    assert assess(CUDA_BUILD, ABSENT) == Finding.ok("none")
    assert assess(CUDA_BUILD, show(), mask="").message == "none, CUDA_VISIBLE_DEVICES hides them"


@pytest.mark.parametrize(
    ("options", "used"),
    [
        pytest.param([], "a run uses all 2: 1 worker with 2 replicas", id="one worker"),
        pytest.param(
            ["train.workers=2"],
            "a run uses all 2: 2 workers with 1 replica each",
            id="two workers",
        ),
        pytest.param(
            ["cluster.gpus=1"], "a run uses 1 of 2: 1 worker with 1 replica", id="one is asked for"
        ),
    ],
)
def test_gpus_that_a_run_uses_are_shown_with_driver_kernels_and_nccl(
    options: list[str], used: str
) -> None:
    found = assess(CUDA_BUILD, show(L4, L4), *options)
    assert (found.state, found.message) == (
        "ok",
        "2 x NVIDIA L4 (24.0 GiB, compute capability 8.9, kernels built in); driver 550.1 for CUDA "
        f"up to 12.4 (/lib/libcuda.so.1); TensorFlow for CUDA 12.5.1 with NCCL; {used}",
    )
    assert found.details is not None
    assert found.details["used"] == (1 if "1 of 2" in used else 2)
    assert found.details["tensorflow"]["has_nccl"]


@pytest.mark.parametrize(
    ("build", "driver", "options", "state", "message", "remedy"),
    [
        pytest.param(
            CUDA_BUILD,
            show(B200),
            [],
            "warning",
            "kernels compiled at start",
            "compute capability 9.0 or lower",
            id="Blackwell",
        ),
        pytest.param(
            CUDA_BUILD,
            show(L4, cuda="11.4"),
            [],
            "warning",
            "1 GPU not used: the driver (550.1) supports CUDA up to 11.4",
            "install a newer driver",
            id="old driver",
        ),
        pytest.param(
            CUDA_BUILD,
            show(L4, L4),
            ["train.workers=3"],
            "missing",
            "2 x NVIDIA L4",
            "set train.workers to 1, 2",
            id="cannot be divided",
        ),
        pytest.param(
            CUDA_BUILD,
            ABSENT,
            ["cluster.gpus=1"],
            "missing",
            "the training needs 1 GPU (cluster.gpus), TensorFlow sees 0: the driver's library",
            "GKE:",
            id="asked for",
        ),
        pytest.param(
            CUDA_BUILD,
            show(L4, L4),
            ["cluster.gpus=2", "train.workers=2"],
            "missing",
            "needs 4 GPUs (cluster.gpus=2, 2 workers), TensorFlow sees 2, 2 missing",
            "lower train.workers",
            id="fewer than each worker asks for",
        ),
        pytest.param(
            CUDA_BUILD,
            DriverReport("/lib/libcuda.so.1", "550.1", error="cuInit: CUDA_ERROR_X (error 803)"),
            [],
            "warning",
            "does not work: cuInit: CUDA_ERROR_X (error 803)",
            "run nvidia-smi",
            id="driver fails",
        ),
        pytest.param(
            CPU_BUILD,
            DriverReport(error="the driver's library ended the process (exit code -6)"),
            [],
            "warning",
            "GPUs not used: the driver's library ended the process (exit code -6)",
            "run nvidia-smi",
            id="driver crashes",
        ),
        pytest.param(
            CUDA_BUILD,
            show(L4),
            ["cluster.backend=jobset", "cluster.gpus=8"],
            "ok",
            "the workers run on the cluster",
            "",
            id="a cluster's GPUs are elsewhere",
        ),
    ],
)
def test_what_keeps_a_run_from_using_gpus_has_a_remedy(
    build: TensorFlowBuild,
    driver: DriverReport,
    options: list[str],
    state: str,
    message: str,
    remedy: str,
) -> None:
    found = assess(build, driver, *options)
    assert (found.state, message in found.message, remedy in found.remedy) == (
        state,
        True,
        True,
    ), found


def test_a_list_that_hides_all_gpus_by_mistake_is_named_with_its_remedy() -> None:
    driver = DriverReport("/lib/libcuda.so.1", "550.1", error="cuInit: CUDA_ERROR_NO_DEVICE")
    found = assess(CUDA_BUILD, driver, mask="a,b")
    assert (found.state, found.message) == (
        "warning",
        "driver 550.1 (/lib/libcuda.so.1); GPUs not used: the driver shows none "
        "(CUDA_VISIBLE_DEVICES='a,b')",
    )
    assert found.remedy.startswith("unset CUDA_VISIBLE_DEVICES, or name GPUs in it")


def test_the_kernel_driver_without_its_library_is_a_warning() -> None:
    found = gpu_checks.assess_gpus(
        load_config(None, []), CUDA_BUILD, ABSENT, {}, has_kernel_driver=True
    )
    assert (found.state, "was not found in /lib" in found.message) == ("warning", True)


def test_gpus_of_a_real_library_are_not_used_by_a_tensorflow_for_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = compile_driver(tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(directory))
    monkeypatch.setenv("STAND_IN_GPUS", "2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = gpu_checks.check_gpus(load_config(None, []))
    assert (found.state, found.message) == (
        "warning",
        "1 x Stand-in 0 (24.0 GiB, compute capability 8.9), 1 x Stand-in 1 (24.0 GiB, compute "
        f"capability 8.9); driver {VERSION} for CUDA up to 12.4 ({directory}/libcuda.so.{VERSION})"
        "; 2 GPUs not used: this TensorFlow is built for CPUs only",
    )
    assert "locks/train-gpu.txt" in found.remedy
    assert found.details is not None
    assert [gpu["compute_capability"] for gpu in found.details["gpus"]] == ["8.9", "8.9"]


def test_gpus_that_tensorflow_should_see_and_does_not_are_a_warning() -> None:
    found = machine_checks.assess_tensorflow_gpus("2.20.0", 0, CUDA_BUILD, show(L4, L4))
    assert (found.state, found.message) == (
        "warning",
        "2.20.0, sees 0 of 2 GPUs: the driver shows 2, TensorFlow does not take them",
    )
    for wanted, state in ((1, "missing"), (0, "warning")):
        found = machine_checks.assess_tensorflow_gpus("2.20.0", 0, CUDA_BUILD, show(L4), wanted)
        assert found.state == state
    for seen, build in ((2, CUDA_BUILD), (0, CPU_BUILD)):
        found = machine_checks.assess_tensorflow_gpus("2.20.0", seen, build, show(L4, L4))
        assert found == Finding.ok(f"2.20.0, {seen} GPUs")
