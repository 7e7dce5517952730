"""Runs the compiled pipeline on this machine, without Docker.

Each run has a directory below the work directory, with the output of KFP and the steps in a log
file. Steps are reused if their inputs, options and code are those of an earlier run in the same
work directory. Training continues from the last checkpoint of a run that was killed. No process and
no incomplete artifact is left behind.
"""

from __future__ import annotations

import fcntl
import json
import logging
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
from typing import IO, Any

import psutil

from components.config.environment import ENV_PROGRESS, ENV_RUN
from components.errors import USER_ERROR_CODES, ExitCode, KubertError, UsageError
from components.progress import ProgressEvent, ProgressFile
from components.storage.local import check_writable, find_nearest_existing
from components.workers.process_control import STOP_SIGNALS, signals_handled
from pipeline.run_state import RunState, StepFailure

LOG_FILENAME = "kubert.log"
KFP_COMMAND = (sys.executable, "-m", "pipeline.local.kfp_process")
GRACE_SECONDS = 45.0
POLL_SECONDS = 0.1
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalRun:
    """A run's directory, and what it shares with other runs in the same work directory."""

    workdir: Path
    directory: Path

    @property
    def log(self) -> Path:
        """The log file with the output of KFP and all steps."""
        return self.directory / LOG_FILENAME

    @property
    def events(self) -> Path:
        """The file of the steps' progress events."""
        return self.directory / "events.jsonl"

    @property
    def state_directory(self) -> Path:
        """Directory of the training state, shared by all runs."""
        return self.workdir / "state"


class StepFailedError(KubertError):
    """A step of the run failed with an error of its own.

    `step` and `log` say which one, and where the output of all steps is.
    """

    def __init__(self, step: str, message: str, exit_code: int, log: Path) -> None:
        super().__init__(f"{step}: {message}\nlog: {log}")
        self.step, self.log = step, log
        self.exit_code = exit_code if exit_code in USER_ERROR_CODES else ExitCode.FAILURE


class RunInterruptedError(KubertError):
    """A signal ended the run; every process it had started has ended."""

    exit_code = ExitCode.INTERRUPTED


def check_workdir(workdir: Path) -> None:
    """Raise UsageError for a work directory that cannot be written; nothing is created."""
    try:
        check_writable(find_nearest_existing(workdir))
    except OSError as error:
        raise _unwritable_error(workdir, error) from None


def _unwritable_error(workdir: Path, error: OSError) -> UsageError:
    return UsageError(
        f"--workdir {workdir}: {error.strerror or error}; choose a directory you can write to"
    )


@contextmanager
def create_run(workdir: Path) -> Iterator[LocalRun]:
    """A new run with a directory of its own; locks the work directory while the block runs.

    Raises UsageError if another run uses the work directory, or if it cannot be written.
    """
    try:
        (workdir / "runs").mkdir(parents=True, exist_ok=True)
        lock = (workdir / ".lock").open("w")
    except OSError as error:
        raise _unwritable_error(workdir, error) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"--workdir {workdir}: another run is using it; wait for it, or choose another "
                "directory"
            ) from None
        directory = Path(
            tempfile.mkdtemp(dir=workdir / "runs", prefix=time.strftime("%Y%m%d-%H%M%S-"))
        )
        yield LocalRun(workdir, directory)


class PipelineProcess:
    """The process that runs a compiled pipeline, and the state that its events add up to."""

    def __init__(self, run: LocalRun, process: subprocess.Popen[bytes], state: RunState) -> None:
        self.run, self.state = run, state
        self._process, self._events = process, ProgressFile(run.events)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def read_new_events(self) -> Iterator[ProgressEvent]:
        """The events that have arrived since the last call; `state` includes each of them."""
        for event in self._events.read_new_events():
            self.state = self.state.apply(event)
            yield event


@contextmanager
def pipeline_process(
    run: LocalRun,
    arguments: Mapping[str, Any],
    command: Sequence[str] = KFP_COMMAND,
    *,
    state: RunState | None = None,
    options: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
    should_kill: Callable[[], bool],
) -> Iterator[PipelineProcess]:
    """Start the pipeline with these arguments; when the block ends, all processes of the run do.

    `state` is the one before the first step. `options` are further settings of
    `pipeline.local.kfp_process`, `variables` environment variables of its own. Processes that still
    run receive SIGTERM (training saves its state), and SIGKILL after GRACE_SECONDS or if
    `should_kill`.
    """
    settings = {
        "arguments": dict(arguments),
        "artifacts": str(run.workdir / "artifacts"),
        "cache": str(run.workdir / "cache"),
        **(options or {}),
    }
    (run.directory / "run.json").write_text(json.dumps(settings), encoding="utf-8")
    with (
        tempfile.TemporaryDirectory(prefix="kubert-") as temporary,
        run.log.open("ab") as log,
    ):
        process = _start_process(run, command, log, {**(variables or {}), "TMPDIR": temporary})
        _LOGGER.debug("process %d runs the pipeline; log: %s", process.pid, run.log)
        try:
            yield PipelineProcess(run, process, state or RunState())
        finally:
            terminate_processes(run, should_kill)


def execute_pipeline(
    run: LocalRun,
    arguments: Mapping[str, Any],
    on_event: Callable[[ProgressEvent], None],
    command: Sequence[str] = KFP_COMMAND,
) -> RunState:
    """Run the pipeline with these arguments; `on_event` receives each progress event as it arrives.

    The state's failure is set if a step failed, or if the pipeline ended without the release that
    the gate allowed. Raises RunInterruptedError after SIGINT or SIGTERM, once every process of the
    run has ended, by `pipeline_process`; a second signal kills them.
    """
    with (
        catch_signals() as received,
        pipeline_process(run, arguments, command, should_kill=lambda: len(received) > 1) as process,
    ):
        while True:
            exit_code = process.exit_code
            for event in process.read_new_events():
                on_event(event)
            if exit_code is not None or received:
                break
            time.sleep(POLL_SECONDS)
    if received:
        raise interrupted_error(run)
    return _check_complete(process.state, exit_code or 0)


def interrupted_error(run: LocalRun) -> RunInterruptedError:
    """The error of a run that a signal has ended."""
    return RunInterruptedError(
        f"interrupted; finished steps and the training state are kept in {run.workdir}, and "
        "the same command continues from there"
    )


def find_processes(run: LocalRun) -> list[psutil.Process]:
    """The run's living processes: those whose environment names its event file."""
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


def terminate_processes(run: LocalRun, should_kill: Callable[[], bool]) -> None:
    """End the run's processes: SIGTERM, then SIGKILL after GRACE_SECONDS or if `should_kill`."""
    deadline = time.monotonic() + GRACE_SECONDS
    signalled: set[int] = set()
    while living := find_processes(run):
        kill = time.monotonic() > deadline or should_kill()
        for process in living:
            if kill or process.pid not in signalled:
                signalled.add(process.pid)
                _send_signal(process, signal.SIGKILL if kill else signal.SIGTERM)
        psutil.wait_procs(living, timeout=POLL_SECONDS)


def _send_signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _start_process(
    run: LocalRun, command: Sequence[str], log: IO[bytes], variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    # Without PYTHONSAFEPATH, `python -m` imports a folder called `components` in the current
    # directory instead of the package. KFP leaves a directory per step in TMPDIR.
    environment = {
        **os.environ,
        ENV_PROGRESS: str(run.events),
        ENV_RUN: run.directory.name,
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        **variables,
    }
    return subprocess.Popen(
        [*command, str(run.directory)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def find_failure(state: RunState, exit_code: int) -> StepFailure | None:
    """The failure that a step reported, or that of a pipeline which ended early without one."""
    if state.failure:
        return state.failure
    running = [step.name for step in state.steps.values() if step.status == "running"]
    if not exit_code and not running:
        return None
    step = running[0] if running else "pipeline"
    message = (
        f"ended without a message (exit code {exit_code}): out of memory, killed, or a defect; "
        "see the log"
    )
    return StepFailure(step, message, ExitCode.FAILURE)


def _check_complete(state: RunState, exit_code: int) -> RunState:
    """The state, with a failure if the pipeline ended early and no step reported one."""
    if failure := find_failure(state, exit_code):
        return RunState(state.steps, failure)
    if not state.is_complete("gate"):
        step, message = "gate", "the pipeline ended before its gate; see the log"
    elif state.steps["gate"].figures.get("passed") and not state.is_complete("export"):
        step, message = (
            "export",
            "the gate passed, but the pipeline skipped the export; see the log",
        )
    else:
        return state
    return RunState(state.steps, StepFailure(step, message, ExitCode.FAILURE))


@contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Catches SIGINT and SIGTERM while the block runs; the list has those received so far.

    Outside the main thread it stays empty.
    """
    received: list[int] = []
    with signals_handled(received.append, STOP_SIGNALS):
        yield received
