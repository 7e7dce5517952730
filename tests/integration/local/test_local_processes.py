"""Real processes of the local runner: however a run ends, none is left and the cause is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
GRANDCHILD = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[1] == 'ignore' else signal.SIG_DFL)
time.sleep(120)
"""
SPAWN = f"""
command = [sys.executable, "-c", {GRANDCHILD!r}, os.environ.get("TEST_SIGTERM", "")]
child = subprocess.Popen(command, start_new_session=True)
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


def write_script(tmp_path: Path, body: str) -> tuple[str, ...]:
    script = tmp_path / "process.py"
    script.write_text(PRELUDE + body)
    return (sys.executable, str(script))


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def send_signals_when(path: Path, *signals: int) -> threading.Thread:
    def send() -> None:
        wait_for(lambda: path.exists() and path.read_text())
        for number in signals:
            os.kill(os.getpid(), number)
            time.sleep(0.3)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


FINISHED = "".join(f"""
with step_run("{step}", out="/x") as figures:
    figures.update(passed=True)
""" for step in ("tokenize", "train", "evaluate", "gate"))  # fmt: skip


def test_events_become_the_state_and_output_goes_to_the_log(
    run: runner.LocalRun, tmp_path: Path
) -> None:
    events: list[ProgressEvent] = []
    body = (
        "print('from the step', flush=True)"
        + FINISHED
        + "\nwith step_run('export') as figures: figures.update(version=3)\n"
    )
    state = runner.execute_pipeline(run, {"a": 1}, events.append, write_script(tmp_path, body))
    assert state.failure is None
    assert all(state.is_complete(step) for step in state.steps)
    assert state.steps["export"].figures == {"version": 3}
    assert len(events) == 10
    assert run.log.read_text() == "from the step\n"


def test_a_pipeline_runs_in_a_thread(run: runner.LocalRun, tmp_path: Path) -> None:
    body = FINISHED + "\nwith step_run('export'): pass\n"
    with ThreadPoolExecutor(1) as pool:
        command = write_script(tmp_path, body)
        state = pool.submit(runner.execute_pipeline, run, {}, lambda _: None, command).result()
    assert state.failure is None and state.is_complete("export")


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
            ("train", "without a message", 1),
            id="started-but-never-finished",
        ),
        pytest.param(
            "raise RuntimeError('secret words')",
            ("pipeline", "exit code 1", 1),
            id="pipeline-failed",
        ),
        pytest.param("", ("gate", "ended before its gate", 1), id="nothing-ran"),
        pytest.param(FINISHED, ("export", "skipped the export", 1), id="export-skipped-silently"),
        pytest.param(
            "from components.errors import DataError\n"
            "with step_run('tokenize'): raise DataError('row 3')",
            ("tokenize", "row 3", 65),
            id="data",
        ),
    ],
)
def test_every_early_end_is_a_failure_with_a_message(
    run: runner.LocalRun, tmp_path: Path, body: str, failure: tuple[str, str, int]
) -> None:
    state = runner.execute_pipeline(run, {}, lambda _: None, write_script(tmp_path, body))
    assert isinstance(state.failure, StepFailure)
    assert (state.failure.step, state.failure.exit_code) == (failure[0], failure[2])
    assert failure[1] in state.failure.message
    assert "secret words" not in state.failure.message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["sigint", "sigterm"])
def test_an_interrupt_ends_grandchildren_in_sessions_of_their_own(
    run: runner.LocalRun, tmp_path: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    thread = send_signals_when(run.directory / "child", number)
    with pytest.raises(runner.RunInterruptedError, match="continues from there"):
        runner.execute_pipeline(run, {}, lambda _: None, write_script(tmp_path, SPAWN))
    thread.join()
    assert not is_alive(int((run.directory / "child").read_text()))
    assert signal.getsignal(number) is before


def test_a_second_interrupt_does_not_wait(
    run: runner.LocalRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SIGTERM", "ignore")
    started = time.monotonic()
    thread = send_signals_when(run.directory / "child", signal.SIGINT, signal.SIGINT)
    with pytest.raises(runner.RunInterruptedError):
        runner.execute_pipeline(run, {}, lambda _: None, write_script(tmp_path, SPAWN))
    thread.join()
    assert time.monotonic() - started < runner.GRACE_SECONDS / 2
    assert not is_alive(int((run.directory / "child").read_text()))


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_period(
    run: runner.LocalRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SIGTERM", "ignore")
    monkeypatch.setattr(runner, "GRACE_SECONDS", 1.0)
    thread = send_signals_when(run.directory / "child", signal.SIGINT)
    with pytest.raises(runner.RunInterruptedError):
        runner.execute_pipeline(run, {}, lambda _: None, write_script(tmp_path, SPAWN))
    thread.join()
    assert not is_alive(int((run.directory / "child").read_text()))


def test_the_pipeline_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = tmp_path / "parent.py"
    inner = write_script(
        tmp_path,
        "from pipeline.local.kfp_process import _exit_with_parent\n"
        "_exit_with_parent()\n"
        "(here / 'pid').write_text(str(os.getpid()))\n"
        "time.sleep(120)",
    )
    parent.write_text(
        "from pathlib import Path\n"
        "from pipeline.local import runner\n"
        f"with runner.create_run(Path({str(tmp_path / 'work')!r})) as run:\n"
        f"    runner.execute_pipeline(run, {{}}, lambda _: None, {inner!r})\n"
    )
    process = subprocess.Popen([sys.executable, str(parent)])

    def read_pids() -> list[int]:
        return [
            int(text)
            for path in (tmp_path / "work").glob("runs/*/pid")
            if (text := path.read_text())
        ]

    wait_for(read_pids)
    (pid,) = read_pids()
    process.kill()
    process.wait()
    wait_for(lambda: not is_alive(pid))


def test_a_second_run_in_the_same_work_directory_is_refused(tmp_path: Path) -> None:
    with (
        runner.create_run(tmp_path),
        pytest.raises(UsageError, match="another run is using it"),
        runner.create_run(tmp_path),
    ):
        pass
    with runner.create_run(tmp_path) as again:
        assert again.directory.is_dir()


def test_an_impossible_work_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match="choose a directory you can write to"),
        runner.create_run(tmp_path / "file"),
    ):
        pass


def test_a_folder_called_components_in_the_current_directory_is_not_imported(
    run: runner.LocalRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "components").mkdir()
    (tmp_path / "components" / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    monkeypatch.chdir(tmp_path)
    state = runner.execute_pipeline(
        run, {}, lambda _: None, (sys.executable, "-m", "components.progress")
    )
    assert state.failure is not None and "before its gate" in state.failure.message
    assert "the wrong one" not in run.log.read_text()
