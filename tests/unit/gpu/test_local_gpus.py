"""GPUs of this machine for local workers, with a compiled stand-in for the driver."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from components.errors import HardwareError
from components.gpu.driver import DriverReport, GpuDevice, probe_driver
from components.gpu.local_gpus import (
    LocalGpus,
    build_gpu_variables,
    choose_local_gpus,
    find_local_gpus,
)
from components.gpu.tensorflow_build import TensorFlowBuild
from components.progress import StepName
from components.workers.group import WorkerGroup
from components.workers.local.launcher import run_local
from tests.support.stand_in_driver.compile_driver import compile_driver

CPU_BUILD, CUDA_BUILD = TensorFlowBuild(False), TensorFlowBuild(True, "12.5.1", ("sm_80",))
GPU = GpuDevice("NVIDIA L4", 24 * 2**30, (8, 9))
NOT_FOUND = "libcuda.so.1: cannot open shared object file: No such"
ABSENT = DriverReport(error=f"{NOT_FOUND} file or directory", searched=("/lib",))
NO_DEVICE = "cuInit: CUDA_ERROR_NO_DEVICE"
TWO_GPUS = DriverReport("/lib/libcuda.so.1", "550.1", "12.4", devices=(GPU, GPU))


def read_note(gpus: LocalGpus) -> str:
    return gpus.unused.note if gpus.unused else ""


def choose(
    workers: int,
    per_worker: int,
    driver: DriverReport = TWO_GPUS,
    build: TensorFlowBuild = CUDA_BUILD,
    mask: str | None = None,
) -> LocalGpus:
    environment = {} if mask is None else {"CUDA_VISIBLE_DEVICES": mask}
    return choose_local_gpus(workers, per_worker, build, driver, environment)


def test_without_a_number_all_gpus_are_used_if_tensorflow_is_built_for_them() -> None:
    assert choose(1, 0) == LocalGpus((GPU, GPU), (None,))
    assert choose(2, 0) == LocalGpus((GPU, GPU), ("0", "1"))
    assert choose(1, 0, mask="3,1,x") == LocalGpus((GPU, GPU), ("3,1,x",))
    assert choose(1, 0, ABSENT) == LocalGpus()
    unused = choose(1, 0, build=CPU_BUILD)
    assert unused.devices == ()
    assert read_note(unused).startswith("2 GPUs not used: this TensorFlow is built for CPUs only; ")


@pytest.mark.parametrize(
    ("workers", "per_worker", "mask", "masks"),
    [
        pytest.param(1, 1, None, ("0",), id="one of four"),
        pytest.param(1, 4, None, (None,), id="all four"),
        pytest.param(2, 1, None, ("0", "1"), id="one each of four"),
        pytest.param(2, 2, "3,2,1,0", ("3,2", "1,0"), id="two each"),
        pytest.param(1, 2, "3,2,1,0", ("3,2",), id="the first of those that are visible"),
    ],
)
def test_each_worker_gets_exactly_as_many_gpus_as_it_asks_for(
    workers: int, per_worker: int, mask: str | None, masks: tuple[str | None, ...]
) -> None:
    four = dataclasses.replace(TWO_GPUS, devices=(GPU,) * 4)
    chosen = choose(workers, per_worker, four, mask=mask)
    assert (len(chosen.devices), chosen.masks, read_note(chosen)) == (
        workers * per_worker,
        masks,
        "",
    )


@pytest.mark.parametrize(
    ("workers", "per_worker", "build", "message"),
    [
        pytest.param(
            1,
            3,
            CUDA_BUILD,
            r"needs 3 GPUs \(cluster.gpus\), TensorFlow sees 2, 1 missing: the driver shows 2\n"
            "what to do: lower cluster.gpus, .*; cluster.gpus=0 trains with what is there",
            id="one worker",
        ),
        pytest.param(
            2,
            2,
            CUDA_BUILD,
            r"needs 4 GPUs \(cluster.gpus=2, 2 workers\), TensorFlow sees 2, 2 missing: the driver"
            r" shows 2\nwhat to do: .*; lower train.workers; cluster.gpus=0 trains",
            id="each of two workers",
        ),
        pytest.param(
            1, 1, CPU_BUILD, r"needs 1 GPU .* sees 0: .* built for CPUs only", id="no CUDA"
        ),
    ],
)
def test_gpus_that_are_asked_for_must_be_there_for_each_worker(
    workers: int, per_worker: int, build: TensorFlowBuild, message: str
) -> None:
    with pytest.raises(HardwareError, match=message):
        choose(workers, per_worker, build=build)


def test_gpus_without_kernels_are_left_out() -> None:
    old = GpuDevice("Tesla M60", 8 * 2**30, (5, 2))
    mixed = dataclasses.replace(TWO_GPUS, devices=(old, GPU))
    assert choose(1, 1, mixed) == LocalGpus((GPU,), ("1",))
    found = choose(1, 0, mixed)
    assert (found.devices, found.masks) == ((GPU,), ("1",))
    assert read_note(found).startswith(
        "1 GPU not used: this TensorFlow has no kernels for Tesla M60"
    )
    with pytest.raises(HardwareError, match=r"sees 1, 1 missing: .* no kernels for Tesla M60"):
        choose(2, 1, mixed)


@pytest.mark.parametrize(
    ("driver", "mask", "note"),
    [
        pytest.param(
            DriverReport("/lib/libcuda.so.1", "550.1", error="cuInit: CUDA_ERROR_X (error 803)"),
            None,
            "GPUs not used: the driver (/lib/libcuda.so.1) does not work: cuInit: CUDA_ERROR_X "
            "(error 803); run nvidia-smi",
            id="fails",
        ),
        pytest.param(
            DriverReport(error="the driver's library ended the process (exit code -6)"),
            None,
            "GPUs not used: the driver's library ended the process (exit code -6); run nvidia-smi",
            id="crashes",
        ),
        pytest.param(
            DriverReport(error=f"{NOT_FOUND} file", searched=("/lib",), other_directories=("/x",)),
            None,
            "GPUs not used: the driver's library libcuda.so.1 was not found in /lib "
            "(LD_LIBRARY_PATH: not set); it is in /x, which is not searched; set LD_LIBRARY_PATH",
            id="is elsewhere",
        ),
        pytest.param(
            DriverReport("/lib/libcuda.so.1", error=NO_DEVICE),
            "GPU-xyz",
            "GPUs not used: the driver shows none (CUDA_VISIBLE_DEVICES='GPU-xyz'); unset CUDA",
            id="shows nothing of the list",
        ),
        pytest.param(
            DriverReport("/lib/libcuda.so.1", error=NO_DEVICE),
            "0,0",
            "GPUs not used: the driver shows none (CUDA_VISIBLE_DEVICES='0,0'): "
            "CUDA_VISIBLE_DEVICES names 0 twice, which hides all GPUs; unset CUDA",
            id="is asked for a GPU twice",
        ),
        pytest.param(DriverReport("/x", error=NO_DEVICE), "", "", id="hidden on purpose"),
        pytest.param(DriverReport("/x", error=NO_DEVICE), "-1", "", id="hidden by -1"),
        pytest.param(ABSENT, None, "", id="is not there"),
    ],
)
def test_a_driver_that_shows_no_gpu_is_not_passed_over_in_silence(
    driver: DriverReport, mask: str | None, note: str
) -> None:
    found = choose(1, 0, driver, mask=mask)
    assert found.devices == ()
    assert read_note(found).startswith(note) and bool(read_note(found)) == bool(note)


def test_a_machine_without_a_gpu_needs_no_variables() -> None:
    assert build_gpu_variables(2, 0, LocalGpus()) == [{}, {}]
    assert find_local_gpus(1, 0).devices == ()  # the tests' TensorFlow is built for CPUs


def test_only_gpus_that_are_asked_for_are_required() -> None:
    optional = {"KUBERT_GPUS": "2", "KUBERT_GPUS_OPTIONAL": "1"}
    assert build_gpu_variables(1, 0, LocalGpus((GPU,) * 2, (None,))) == [optional]
    assert build_gpu_variables(2, 2, LocalGpus((GPU,) * 4, ("0,1", "2,3"))) == [
        {"KUBERT_GPUS": "2", "CUDA_VISIBLE_DEVICES": "0,1"},
        {"KUBERT_GPUS": "2", "CUDA_VISIBLE_DEVICES": "2,3"},
    ]


@pytest.mark.parametrize(
    ("workers", "per_worker", "wanted"),
    [
        pytest.param(1, 0, [["Stand-in 3", "Stand-in 0"]], id="one worker takes all"),
        pytest.param(2, 0, [["Stand-in 3"], ["Stand-in 0"]], id="two workers share all"),
        pytest.param(1, 1, [["Stand-in 3"]], id="one worker asks for one"),
    ],
)
def test_each_worker_process_sees_its_gpus_only(
    workers: int,
    per_worker: int,
    wanted: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(compile_driver(tmp_path / "driver")))
    monkeypatch.setenv("STAND_IN_GPUS", "4")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,0,7")
    gpus = choose_local_gpus(workers, per_worker, CUDA_BUILD, probe_driver(), os.environ)
    group = WorkerGroup(
        step=StepName.TRAIN,
        workers=workers,
        module="tests.support.stand_in_driver.record_gpus",
        job_document="{}",
        directory=str(tmp_path),
        max_restarts=0,
        is_finished=(tmp_path / f"gpus-{workers - 1}.json").exists,
        workers_option="train.workers",
    )
    run_local(group, tmp_path, build_gpu_variables(workers, per_worker, gpus))
    files = [tmp_path / f"gpus-{rank}.json" for rank in range(workers)]
    assert [json.loads(file.read_text()) for file in files] == wanted
