"""Starts a gang of workers, restarts it as a whole when one fails, and leaves no process behind.

The local back end: N processes on loopback. A gang that lost a member cannot go on, and a member alone cannot come
back, so all of them end and all of them start again, from the newest checkpoint.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from components import progress
from components.config.environment import (
    ENV_FAILURE_FILE,
    ENV_LAUNCHER_PID,
    ENV_OWNER,
    ENV_THREADS,
    ENV_WORK_DIR,
)
from components.progress import StepName
from components.storage.atomic_files import atomic_write
from components.train.checkpointing.finished_checkpoint import is_finished
from components.train.job import Job
from components.workers import exit_codes
from components.workers.exit_codes import (
    OUT_OF_MEMORY_REMEDY,
    WorkerGroupFailedError,
    WorkerGroupInterruptedError,
    error_from_exit_code,
)
from components.workers.process_control import count_usable_cores, graceful_stop_event
from components.workers.topology import WorkerTopology

POLL = 0.1
STOP_GRACE = 30.0
REFUSAL_GRACE = 5.0
LOSS_GRACE = 1.0
LAST_LINES = 15
_OOM_EVENTS = Path("/sys/fs/cgroup/memory.events")


def run_local(job: Job, home: Path) -> None:
    """Return when `job` has a finished checkpoint; raises what its workers reported, Interrupted, or GangFailed.

    `home` gets the job's file, the workers' logs and what they work on.
    """
    home.mkdir(parents=True, exist_ok=True)
    path = home / "job.json"
    atomic_write(path, job.model_dump_json(indent=2) + "\n")
    owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    restarts = attempt = 0
    with (
        graceful_stop_event() as stop,
        tempfile.TemporaryDirectory(prefix="work-", dir=home) as work,
    ):
        while not is_finished(job.state):
            attempt += 1
            codes = _one_attempt(job, home, {ENV_OWNER: owner, ENV_WORK_DIR: work}, attempt, stop)
            if stop.is_set():
                raise WorkerGroupInterruptedError
            if all(code == exit_codes.SUCCESS for code in codes):
                continue
            if all(code in (exit_codes.SUCCESS, exit_codes.PREEMPTED) for code in codes):
                progress.report(
                    StepName.TRAIN,
                    "a worker was asked to stop and saved its checkpoint; starting again",
                )
                continue
            _refuse_permanent(home, codes)
            restarts += 1
            if restarts > job.train.max_restarts:
                raise WorkerGroupFailedError(_last_words(job, home, attempt, codes))
            progress.report(
                StepName.TRAIN, f"restart {restarts} of {job.train.max_restarts}: {_summary(codes)}"
            )


def _one_attempt(
    job: Job, home: Path, variables: dict[str, str], attempt: int, stop: threading.Event
) -> list[int]:
    """Start every worker, wait until all have ended; exit codes by rank, as in `subprocess`."""
    failures = home / "failures"
    shutil.rmtree(failures, ignore_errors=True)
    failures.mkdir()
    members = _members(job.train.workers)
    variables = {**variables, ENV_THREADS: str(max(1, count_usable_cores() // len(members)))}
    oom_before = _oom_kills()
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                _worker(
                    home / "job.json",
                    {
                        **variables,
                        "TF_CONFIG": member.to_tf_config(),
                        ENV_FAILURE_FILE: str(_failure_path(home, member.rank)),
                    },
                    log_path(home, attempt, member.rank),
                )
            )
            for member in members
        ]
        codes = _watch(processes, stop)
    if _oom_kills() > oom_before and -signal.SIGKILL in codes:
        raise WorkerGroupFailedError(
            f"worker {codes.index(-signal.SIGKILL)} was killed for lack of memory; {OUT_OF_MEMORY_REMEDY}, or use fewer train.workers"
        )
    return codes


def log_path(home: Path, attempt: int, rank: int) -> Path:
    """The file that a worker's output goes to."""
    return home / "logs" / f"attempt-{attempt:02d}-worker-{rank}.log"


def _failure_path(home: Path, rank: int) -> Path:
    return home / "failures" / f"worker-{rank}.txt"


def _members(count: int) -> list[WorkerTopology]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        workers = tuple(f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners)
    return [WorkerTopology(workers=workers, rank=rank) for rank in range(count)]


@contextmanager
def _worker(path: Path, variables: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One worker process in a session of its own; it is dead when the block ends."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **variables, ENV_LAUNCHER_PID: str(os.getpid())}
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "components.train.worker", str(path)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _watch(processes: list[subprocess.Popen[bytes]], stop: threading.Event) -> list[int]:
    """Wait for all to end; once one fails, or a stop is asked for, the rest have a bounded time to end by themselves."""
    deadline: float | None = None
    while any(process.poll() is None for process in processes):
        ended = [process.returncode for process in processes if process.returncode is not None]
        if stop.is_set() and deadline is None:
            for process in processes:
                process.terminate()
            deadline = time.monotonic() + STOP_GRACE
        elif any(code != exit_codes.SUCCESS for code in ended) and deadline is None:
            deadline = time.monotonic() + _grace(ended)
        if deadline is not None and time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(POLL)
    return [process.returncode for process in processes]


def _grace(codes: list[int]) -> float:
    """Seconds that the peers of workers which ended with these codes have left."""
    if all(code in (exit_codes.SUCCESS, exit_codes.PREEMPTED) for code in codes):
        return STOP_GRACE  # they save at the same step
    if all(code in (exit_codes.SUCCESS, *exit_codes.PERMANENT) for code in codes):
        return REFUSAL_GRACE  # most refusals come to all of them, and each should be in its log
    return LOSS_GRACE  # peers of a dead worker can only be ended


def _refuse_permanent(home: Path, codes: list[int]) -> None:
    """Raise the error that a worker reported as the user's to solve."""
    for rank, code in enumerate(codes):
        if code in exit_codes.PERMANENT:
            raise error_from_exit_code(rank, code, _message(home, rank))


def _message(home: Path, rank: int) -> str:
    path = _failure_path(home, rank)
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _summary(codes: list[int]) -> str:
    return ", ".join(
        f"worker {rank} {exit_codes.describe_exit_code(code)}" for rank, code in enumerate(codes)
    )


def _last_words(job: Job, home: Path, attempt: int, codes: list[int]) -> str:
    parts = [
        f"training failed {attempt} times and is given up (train.max_restarts={job.train.max_restarts}): {_summary(codes)}"
    ]
    for rank in range(len(codes)):
        path = log_path(home, attempt, rank)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        parts.append("\n".join([f"worker {rank}, {path}:", *(f"  {line[:200]}" for line in lines)]))
    return "\n".join(parts)


def _oom_kills() -> int:
    """How often the kernel has killed a process of this control group for lack of memory."""
    try:
        fields = dict(line.split() for line in _OOM_EVENTS.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields.get("oom_kill", 0))
