"""The command, from its options to the page and its exit code."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.suites.gpu import replicas
from benchmarks.suites.gpu.__main__ import main
from benchmarks.suites.gpu.page import STAND_IN
from benchmarks.suites.gpu.processes import Devices
from benchmarks.suites.gpu.settings import choose_settings
from components.errors import ExitCode

BROKEN_WORKER = "tests.support.training.broken_reduction"


@pytest.mark.slow
@pytest.mark.nightly
def test_the_whole_command_runs_to_its_end_without_a_gpu(tmp_path: Path) -> None:
    code = main(["--device=cpu", "--quick", f"--output={tmp_path}/page.md"])
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert code == ExitCode.SUCCESS, page
    value = json.loads((tmp_path / "page.json").read_text(encoding="utf-8"))
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
    assert 0 < figures["scratch:float32_kernels"] < figures["scratch:float32_nodes"]
    assert figures["scratch:float32_traces"] == 1


@pytest.mark.slow
@pytest.mark.nightly
def test_replicas_that_do_not_add_up_their_gradients_fail_the_check(tmp_path: Path) -> None:
    """`test_replicas.py` has the losses of such a run."""
    settings = choose_settings("cpu", quick=True)
    inputs = replicas.prepare_rows(settings, tmp_path)
    rate, devices = settings.replica_learning_rate, Devices()
    one = replicas.train_group(inputs, rate, devices, (1, 1), tmp_path / "one")
    broken = replicas.train_group(inputs, rate, devices, (1, 2), tmp_path / "broken", BROKEN_WORKER)
    assert replicas.check_losses(one, broken).passed is False
    assert replicas.compare_losses(one.losses, broken.losses) > 100 * replicas.TOLERANCE


def test_without_a_gpu_it_ends_with_the_reason_and_what_can_be_tried(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == ExitCode.HARDWARE
    message = capsys.readouterr().err
    assert "this TensorFlow is built for CPUs only" in message
    assert "run the suite in the GPU image" in message
    assert "cluster." not in message
    assert "--device cpu" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--config=minilm:int8"], "precisions: float32", id="training"),
        pytest.param(["--batch-size=0"], "of at least 1", id="batch"),
        pytest.param(["--batch-size=²"], "'²' is not a whole number of at least 1", id="digit"),
        pytest.param(["--length=1024"], "from 8 to 512", id="length"),
        pytest.param(["--peak-tflops=-1"], "above 0", id="peak"),
        pytest.param(["--device=cpu", "--output=/proc/none/page.md"], "cannot write", id="output"),
        pytest.param(["--output="], "argument --output: is empty", id="empty output"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(options)
    except SystemExit as end:
        code = end.code
    assert code == ExitCode.USER_ERROR
    assert message in capsys.readouterr().err


def test_an_output_that_cannot_be_written_ends_the_command_before_its_first_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "page.md"
    directory.mkdir()
    assert main(["--device=cpu", "--quick", f"--output={directory}"]) == 2
    assert f"cannot write {directory}: Is a directory; use --output" in capsys.readouterr().err


def test_a_work_directory_that_cannot_be_used_ends_the_command_before_its_first_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    options = ["--device=cpu", "--only=replicas", f"--output={tmp_path}/page.md"]
    assert main([*options, f"--workdir={tmp_path}/file"]) == ExitCode.USER_ERROR
    assert capsys.readouterr().err == (
        f"gpu: cannot write {tmp_path}/file: File exists; use --workdir DIR\n"
    )
    assert not (tmp_path / "page.md").exists()


def test_a_command_that_is_terminated_removes_its_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def terminate(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def fail(*_: object) -> None:
        raise AssertionError("SIGTERM was not handled")

    before = signal.signal(signal.SIGTERM, fail)
    monkeypatch.setattr("benchmarks.suites.gpu.machine.describe_machine", terminate)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    output = tmp_path / "output"
    try:
        code = main(["--device=cpu", "--quick", "--only=machine", f"--output={output}"])
        assert signal.getsignal(signal.SIGTERM) is fail
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (code, capsys.readouterr().err) == (143, "\ngpu: interrupted\n")
    assert list(tmp_path.rglob("*")) == [output]


def test_an_interrupted_command_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.suites.gpu.machine.describe_machine", interrupt)
    code = main(["--device=cpu", "--quick", "--only=machine", f"--output={tmp_path}"])
    assert (code, capsys.readouterr().err) == (130, "\ngpu: interrupted\n")
    assert not list(tmp_path.iterdir())
