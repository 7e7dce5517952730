"""The local runner's hold on its processes, with real ones: whatever happens, none is left and the person learns why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from components.errors import UsageError
from components.progress import ProgressEvent
from pipeline.local import runner
from pipeline.run_state import StepFailure

PRELUDE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from components.progress import report
from components.step_runtime import step_run
here = Path(sys.argv[1])
"""
GRANDCHILD = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[1] == 'deaf' else signal.SIG_DFL); time.sleep(120)"
SPAWN = f"""
child = subprocess.Popen([sys.executable, "-c", {GRANDCHILD!r}, os.environ.get("TEST_DEAF", "")], start_new_session=True)
report("train", kind="started")
time.sleep(0.3)
(here / "child").write_text(str(child.pid))
time.sleep(120)
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[runner.LocalRun]:
    with runner.create_run(tmp_path / "work dir") as this:
        yield this
        assert runner.find_processes(this) == []


def command(tmp_path: Path, body: str) -> tuple[str, ...]:
    script = tmp_path / "process.py"
    script.write_text(PRELUDE + body)
    return (sys.executable, str(script))


def wait_for(found: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def interrupt_when(path: Path, *signals: int) -> threading.Thread:
    def act() -> None:
        wait_for(lambda: path.exists() and path.read_text())
        for number in signals:
            os.kill(os.getpid(), number)
            time.sleep(0.3)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


FINISHED = "".join(f"""
with step_run("{step}", out="/x") as figures:
    figures.update(passed=True)
""" for step in ("tokenize", "train", "evaluate", "gate"))  # fmt: skip


def test_events_become_the_outcome_and_output_goes_to_the_log(
    run: runner.LocalRun, tmp_path: Path
) -> None:
    seen: list[ProgressEvent] = []
    body = (
        "print('from the step', flush=True)"
        + FINISHED
        + "\nwith step_run('export') as figures: figures.update(version=3)\n"
    )
    outcome = runner.execute_pipeline(run, {"a": 1}, seen.append, command(tmp_path, body))
    assert outcome.failure is None
    assert all(outcome.is_complete(step) for step in outcome.steps)
    assert outcome.steps["export"].figures == {"version": 3}
    assert len(seen) == 10
    assert run.log.read_text() == "from the step\n"


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        pytest.param(
            "report('train', kind='started'); os.kill(os.getpid(), 9)",
            ("train", "exit code -9", 1),
            id="killed",
        ),
        pytest.param(
            "report('train', kind='started')",
            ("train", "without a word", 1),
            id="started-but-never-finished",
        ),
        pytest.param(
            "raise RuntimeError('secret words')",
            ("pipeline", "exit code 1", 1),
            id="pipeline-failed",
        ),
        pytest.param("", ("gate", "ended before its gate", 1), id="nothing-ran"),
        pytest.param(
            FINISHED, ("export", "skipped the export", 1), id="export-skipped-without-a-word"
        ),
        pytest.param(
            "from components.errors import DataError\nwith step_run('tokenize'): raise DataError('row 3')",
            ("tokenize", "row 3", 65),
            id="data",
        ),
    ],
)
def test_every_bad_end_is_a_failure_with_a_message(
    run: runner.LocalRun, tmp_path: Path, body: str, failure: tuple[str, str, int]
) -> None:
    outcome = runner.execute_pipeline(run, {}, lambda _: None, command(tmp_path, body))
    assert isinstance(outcome.failure, StepFailure)
    assert (outcome.failure.step, outcome.failure.exit_code) == (failure[0], failure[2])
    assert failure[1] in outcome.failure.message
    assert "secret words" not in outcome.failure.message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["sigint", "sigterm"])
def test_an_interrupt_ends_grandchildren_in_sessions_of_their_own(
    run: runner.LocalRun, tmp_path: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    thread = interrupt_when(run.directory / "child", number)
    with pytest.raises(runner.RunInterruptedError, match="goes on from there"):
        runner.execute_pipeline(run, {}, lambda _: None, command(tmp_path, SPAWN))
    thread.join()
    assert not alive(int((run.directory / "child").read_text()))
    assert signal.getsignal(number) is before


def test_a_second_interrupt_does_not_wait(
    run: runner.LocalRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DEAF", "deaf")
    started = time.monotonic()
    thread = interrupt_when(run.directory / "child", signal.SIGINT, signal.SIGINT)
    with pytest.raises(runner.RunInterruptedError):
        runner.execute_pipeline(run, {}, lambda _: None, command(tmp_path, SPAWN))
    thread.join()
    assert time.monotonic() - started < runner.GRACE_SECONDS / 2
    assert not alive(int((run.directory / "child").read_text()))


def test_a_process_that_ignores_the_request_is_killed_after_the_grace(
    run: runner.LocalRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DEAF", "deaf")
    monkeypatch.setattr(runner, "GRACE_SECONDS", 1.0)
    thread = interrupt_when(run.directory / "child", signal.SIGINT)
    with pytest.raises(runner.RunInterruptedError):
        runner.execute_pipeline(run, {}, lambda _: None, command(tmp_path, SPAWN))
    thread.join()
    assert not alive(int((run.directory / "child").read_text()))


def test_when_the_starter_is_killed_the_pipeline_ends_too(tmp_path: Path) -> None:
    starter = tmp_path / "starter.py"
    inner = command(
        tmp_path,
        "from pipeline.local.kfp_process import _exit_with_parent\n_exit_with_parent()\n(here / 'pid').write_text(str(os.getpid()))\ntime.sleep(120)",
    )
    starter.write_text(
        "from pathlib import Path\nfrom pipeline.local import runner as local\n"
        f"with local.new_run(Path({str(tmp_path / 'work')!r})) as run: local.execute(run, {{}}, lambda _: None, {inner!r})\n"
    )
    process = subprocess.Popen([sys.executable, str(starter)])

    def written() -> list[int]:
        return [
            int(text)
            for path in (tmp_path / "work").glob("runs/*/pid")
            if (text := path.read_text())
        ]

    wait_for(written)
    (pid,) = written()
    process.kill()
    process.wait()
    wait_for(lambda: not alive(pid))


def test_a_second_run_in_the_same_work_directory_is_refused(tmp_path: Path) -> None:
    with (
        runner.create_run(tmp_path),
        pytest.raises(UsageError, match="another run is using it"),
        runner.create_run(tmp_path),
    ):
        pass
    with runner.create_run(tmp_path) as again:
        assert again.directory.is_dir()


def test_a_work_directory_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match="choose a directory you can write to"),
        runner.create_run(tmp_path / "file"),
    ):
        pass


def test_a_folder_called_components_in_the_current_directory_is_not_taken_for_ours(
    run: runner.LocalRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "components").mkdir()
    (tmp_path / "components" / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    monkeypatch.chdir(tmp_path)
    outcome = runner.execute_pipeline(
        run, {}, lambda _: None, (sys.executable, "-m", "components.progress")
    )
    assert outcome.failure is not None and "before its gate" in outcome.failure.message
    assert "the wrong one" not in run.log.read_text()
