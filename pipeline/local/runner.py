"""Runs the compiled pipeline on this machine, without Docker, and leaves no process and no half artifact behind.

The run has a directory of its own below the work directory; KFP's and the steps' output goes to a log file there. Steps
whose inputs, options and code are those of an earlier run in the same work directory are reused. What a killed run
had trained is kept as well, and training goes on from there.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

import psutil

from components.config.environment import ENV_PROGRESS, ENV_RUN
from components.errors import ExitCode, KubertError, UsageError
from components.progress import ProgressEvent
from pipeline.run_state import EventFile, RunState, StepFailure

LOG_FILENAME = "kubert.log"
KFP_COMMAND = (sys.executable, "-m", "pipeline.local.kfp_process")
GRACE_SECONDS = 45.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class LocalRun:
    """One run's places: its own directory, and what it shares with other runs in the same work directory."""

    workdir: Path
    directory: Path

    @property
    def log(self) -> Path:
        """The file that KFP's and all steps' output goes to."""
        return self.directory / LOG_FILENAME

    @property
    def events(self) -> Path:
        """The file that the steps' progress events go to."""
        return self.directory / "events.jsonl"

    @property
    def state_directory(self) -> Path:
        """Where training keeps its state between runs."""
        return self.workdir / "state"


class RunInterruptedError(KubertError):
    """The run was ended by a signal; every process it had started is gone."""

    exit_code = ExitCode.INTERRUPTED


@contextmanager
def create_run(workdir: Path) -> Iterator[LocalRun]:
    """A new run's directory; UsageError if another run is using the work directory or it cannot be written."""
    try:
        (workdir / "runs").mkdir(parents=True, exist_ok=True)
        lock = (workdir / ".lock").open("w")
    except OSError as error:
        raise UsageError(
            f"--workdir {workdir}: {error.strerror or error}; choose a directory you can write to"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"--workdir {workdir}: another run is using it; wait for it, or choose another directory"
            ) from None
        directory = Path(
            tempfile.mkdtemp(dir=workdir / "runs", prefix=time.strftime("%Y%m%d-%H%M%S-"))
        )
        yield LocalRun(workdir, directory)


def execute_pipeline(
    run: LocalRun,
    arguments: Mapping[str, Any],
    watch: Callable[[ProgressEvent], None],
    command: Sequence[str] = KFP_COMMAND,
) -> RunState:
    """Run the pipeline with these arguments; `watch` sees each progress event as it comes.

    The outcome's failure is set when a step failed or the pipeline ended without the release that the gate allowed.
    Raises Interrupted after SIGINT or SIGTERM, once every process of the run has ended: first they are asked to (training
    saves its state), after GRACE_SECONDS or at a second signal they are killed.
    """
    order = {
        "arguments": dict(arguments),
        "artifacts": str(run.workdir / "artifacts"),
        "cache": str(run.workdir / "cache"),
    }
    (run.directory / "run.json").write_text(json.dumps(order), encoding="utf-8")
    events, outcome = EventFile(run.events), RunState()
    with (
        tempfile.TemporaryDirectory(prefix="kubert-") as temporary,
        run.log.open("ab") as log,
        _catch_signals() as received,
    ):
        process = _start_process(run, command, log, temporary)
        try:
            while True:
                ended = process.poll() is not None
                for event in events.read_new_events():
                    outcome = outcome.apply(event)
                    watch(event)
                if ended or received:
                    break
                time.sleep(_POLL_SECONDS)
        finally:
            terminate_processes(run, patience=lambda: len(received) < 2)
    if received:
        raise RunInterruptedError(
            f"interrupted; finished steps and training's state are kept in {run.workdir}, so the same command goes on from there"
        )
    return _check_complete(outcome, process.returncode, run)


def find_processes(run: LocalRun) -> list[psutil.Process]:
    """Every living process that belongs to the run: those that inherited the name of its event file, whatever their parent."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get(ENV_PROGRESS) == str(run.events)
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return [process for process in found if process.pid != os.getpid()]


def terminate_processes(run: LocalRun, patience: Callable[[], bool]) -> None:
    """End what still runs: SIGTERM first, SIGKILL after GRACE_SECONDS or as soon as patience is gone."""
    deadline = time.monotonic() + GRACE_SECONDS
    asked: set[int] = set()
    while living := find_processes(run):
        kill = time.monotonic() > deadline or not patience()
        for process in living:
            if kill or process.pid not in asked:
                asked.add(process.pid)
                _send_signal(process, signal.SIGKILL if kill else signal.SIGTERM)
        psutil.wait_procs(living, timeout=_POLL_SECONDS)


def _send_signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _start_process(
    run: LocalRun, command: Sequence[str], log: IO[bytes], temporary: str
) -> subprocess.Popen[bytes]:
    # The steps are run by name and `python -m` would look in the current directory first: a folder called
    # `components` there must not be taken for ours. KFP leaves a directory per step in TMPDIR.
    environment = {
        **os.environ,
        ENV_PROGRESS: str(run.events),
        ENV_RUN: run.directory.name,
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": temporary,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    return subprocess.Popen(
        [*command, str(run.directory)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def _check_complete(outcome: RunState, exit_code: int, run: LocalRun) -> RunState:
    if outcome.failure:
        return outcome
    running = [step.name for step in outcome.steps.values() if step.status == "running"]
    if exit_code or running:
        where = running[0] if running else "pipeline"
        message = f"ended without a word (exit code {exit_code}): out of memory, killed, or a defect; the log has the rest"
        return RunState(outcome.steps, StepFailure(where, message, ExitCode.FAILURE))
    if not outcome.is_complete("gate"):
        return RunState(
            outcome.steps,
            StepFailure(
                "gate", "the pipeline ended before its gate; the log has the rest", ExitCode.FAILURE
            ),
        )
    if outcome.steps["gate"].figures.get("passed") and not outcome.is_complete("export"):
        return RunState(
            outcome.steps,
            StepFailure(
                "export",
                "the gate passed, but the pipeline skipped the export; the log has the rest",
                ExitCode.FAILURE,
            ),
        )
    return outcome


@contextmanager
def _catch_signals() -> Iterator[list[int]]:
    """The signals that asked this process to end while the block runs, in a list that grows."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
