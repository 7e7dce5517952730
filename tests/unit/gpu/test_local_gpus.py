"""GPUs of this machine for local workers, with a compiled stand-in for the driver."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from components.errors import HardwareError
from components.gpu.driver import DriverReport, GpuDevice, probe_driver
from components.gpu.local_gpus import build_gpu_variables, choose_local_gpus, find_local_gpus
from components.gpu.tensorflow_build import TensorFlowBuild
from components.progress import StepName
from components.workers.group import WorkerGroup
from components.workers.local import run_local
from tests.support.stand_in_driver.compile_driver import compile_driver

CPU_BUILD, CUDA_BUILD = TensorFlowBuild(False), TensorFlowBuild(True, "12.5.1", ("sm_80",))
GPU = GpuDevice("NVIDIA L4", 24 * 2**30, (8, 9))
TWO_GPUS = DriverReport("/lib/libcuda.so.1", "550.1", "12.4", devices=(GPU, GPU))


def test_gpus_are_used_if_tensorflow_is_built_for_them() -> None:
    assert choose_local_gpus(0, CUDA_BUILD, TWO_GPUS, {}) == ((GPU, GPU), "")
    assert choose_local_gpus(0, CUDA_BUILD, DriverReport(error="none"), {}) == ((), "")
    devices, note = choose_local_gpus(0, CPU_BUILD, TWO_GPUS, {})
    assert devices == ()
    assert note.startswith("2 GPUs not used: this TensorFlow is built for CPUs only; ")


def test_gpus_that_are_asked_for_must_be_there() -> None:
    with pytest.raises(HardwareError, match=r"needs 3 GPUs .* sees 2: the driver shows 2"):
        choose_local_gpus(3, CUDA_BUILD, TWO_GPUS, {})
    with pytest.raises(HardwareError, match=r"needs 1 GPU .* sees 0: .* built for CPUs only"):
        choose_local_gpus(1, CPU_BUILD, TWO_GPUS, {})
    old = GpuDevice("Tesla M60", 8 * 2**30, (5, 2))
    mixed = DriverReport("/lib/libcuda.so.1", "550.1", "12.4", devices=(GPU, old))
    with pytest.raises(HardwareError, match=r"needs 1 GPU .* sees 1: .* no kernels for Tesla M60"):
        choose_local_gpus(1, CUDA_BUILD, mixed, {})


def test_a_machine_without_a_gpu_needs_no_variables() -> None:
    assert build_gpu_variables(2, 0, 0, None) == [{}, {}]
    assert find_local_gpus(0).devices == ()  # the tests' TensorFlow is built for CPUs


def test_only_gpus_that_are_asked_for_are_required() -> None:
    optional = {"KUBERT_GPUS": "2", "KUBERT_GPUS_OPTIONAL": "1"}
    assert build_gpu_variables(1, 2, 0, None) == [optional]
    assert build_gpu_variables(2, 4, 4, None) == [
        {"KUBERT_GPUS": "2", "CUDA_VISIBLE_DEVICES": "0,1"},
        {"KUBERT_GPUS": "2", "CUDA_VISIBLE_DEVICES": "2,3"},
    ]


@pytest.mark.parametrize(
    ("workers", "wanted"),
    [
        pytest.param(1, [["Stand-in 3", "Stand-in 0"]], id="one worker"),
        pytest.param(2, [["Stand-in 3"], ["Stand-in 0"]], id="one GPU per worker"),
    ],
)
def test_each_worker_process_sees_its_gpus_only(
    workers: int, wanted: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(compile_driver(tmp_path / "driver")))
    monkeypatch.setenv("STAND_IN_GPUS", "4")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,0,7")
    gpus = choose_local_gpus(0, CUDA_BUILD, probe_driver(), os.environ).devices
    group = WorkerGroup(
        step=StepName.TRAIN,
        workers=workers,
        module="tests.support.stand_in_driver.record_gpus",
        job_document="{}",
        directory=str(tmp_path),
        max_restarts=0,
        is_finished=(tmp_path / f"gpus-{workers - 1}.json").exists,
        memory_remedy="",
    )
    visible = os.environ["CUDA_VISIBLE_DEVICES"]
    run_local(group, tmp_path, build_gpu_variables(workers, len(gpus), 0, visible))
    files = [tmp_path / f"gpus-{rank}.json" for rank in range(workers)]
    assert [json.loads(file.read_text()) for file in files] == wanted
