"""The command, from its options to the page and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.suites.gpu import replicas
from benchmarks.suites.gpu.page import STAND_IN
from benchmarks.suites.gpu.processes import ROOT, Devices
from benchmarks.suites.gpu.replicas import TrainedLosses
from benchmarks.suites.gpu.settings import choose_settings
from components.errors import ExitCode

BROKEN_WORKER = "tests.support.training.broken_reduction"


def run_command(*options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.suites.gpu", *map(str, options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_LIBRARY_PATH": ""},
    )


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of one whole run on logical CPU devices."""
    home = tmp_path_factory.mktemp("gpu")
    done = run_command(
        "--device=cpu", "--quick", f"--output={home}/page.md", f"--workdir={home}/work"
    )
    assert done.returncode == 0, done.stdout + done.stderr + (home / "page.md").read_text()
    return home


def find_losses(value: dict[str, Any], column: int) -> tuple[float, ...]:
    (section,) = (each for each in value["sections"] if each["title"] == replicas.TITLE)
    return tuple(float(row[column]) for row in section["tables"][0]["rows"])


@pytest.mark.slow
def test_the_whole_command_runs_to_its_end_without_a_gpu(quick_run: Path) -> None:
    page = (quick_run / "page.md").read_text(encoding="utf-8")
    value = json.loads((quick_run / "page.json").read_text(encoding="utf-8"))
    assert page.splitlines()[2] == STAND_IN
    assert value["stand_in"]
    assert {check["passed"] for check in value["checks"]} == {True, None}
    assert [section["title"] for section in value["sections"]] == [
        "Machine",
        "Replicas against one",
        "All-reduce",
        "Throughput",
        "Hugging Face's Trainer",
        "The step's graph",
    ]
    figures = {key: number for each in value["sections"] for key, number in each["figures"].items()}
    assert 0 < figures["largest_difference_1x2"] < replicas.TOLERANCE / 10
    assert figures["tiny:float32_x1_examples_per_second"] > 0
    assert 0 < figures["scratch:float16_kernels"] < figures["scratch:float16_nodes"]
    assert figures["scratch:float16_traces"] == 1


@pytest.mark.slow
def test_replicas_that_do_not_add_up_their_gradients_fail_the_check(quick_run: Path) -> None:
    settings = choose_settings("cpu", quick=True)
    value = json.loads((quick_run / "page.json").read_text(encoding="utf-8"))
    one = TrainedLosses(1, 1, find_losses(value, 1), "")
    inputs = replicas.prepare_rows(settings, quick_run / "work")
    broken = replicas.train_group(
        inputs,
        settings.replica_learning_rate,
        Devices(),
        (1, 2),
        quick_run / "broken",
        BROKEN_WORKER,
    )
    check = replicas.check_losses(one, broken)
    assert check.passed is False
    assert replicas.compare_losses(one.losses, broken.losses) > 100 * replicas.TOLERANCE


def test_without_a_gpu_it_ends_with_the_reason_and_what_can_be_tried() -> None:
    done = run_command()
    assert done.returncode == ExitCode.HARDWARE
    assert "this TensorFlow is built for CPUs only" in done.stderr
    assert "--device cpu" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--config=minilm:int8"], "precisions: float32", id="training"),
        pytest.param(["--batch-size=0"], "of at least 1", id="batch"),
        pytest.param(["--length=1024"], "from 8 to 512", id="length"),
        pytest.param(["--peak-tflops=-1"], "above 0", id="peak"),
        pytest.param(["--device=cpu", "--output=/proc/none/page.md"], "cannot write", id="output"),
    ],
)
def test_options_that_cannot_be_are_refused(options: Sequence[str], message: str) -> None:
    done = run_command(*options)
    assert done.returncode == ExitCode.USER_ERROR
    assert message in done.stderr
    assert "Traceback" not in done.stderr
