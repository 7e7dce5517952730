"""Runs a worker group as processes of this machine, and restarts all of them when one fails.

A group that lost a worker cannot continue, and a worker cannot rejoin it alone. So all workers end
and all start again, from the newest checkpoint. No process outlives the launcher.
"""

from __future__ import annotations

import logging
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
from collections.abc import Iterator, Mapping, Sequence
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
from components.storage.atomic_files import atomic_write
from components.workers import exit_codes
from components.workers.exit_codes import (
    WorkerGroupFailedError,
    WorkerGroupInterruptedError,
    describe_exit_code,
    error_from_exit_code,
)
from components.workers.group import WorkerGroup
from components.workers.log_lines import unwrap_log_line
from components.workers.process_control import count_usable_cores, graceful_stop_event
from components.workers.topology import WorkerTopology

POLL_INTERVAL_SECONDS = 0.1
STOP_GRACE_SECONDS = 30.0
USER_ERROR_GRACE_SECONDS = 5.0
PEER_LOSS_GRACE_SECONDS = 1.0
MAX_LOG_LINES = 15
MAX_LOG_LINE_LENGTH = 200
_CGROUP_MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")
_LOGGER = logging.getLogger(__name__)


def run_local(
    group: WorkerGroup, home: Path, worker_variables: Sequence[Mapping[str, str]] = ()
) -> None:
    """Return when the group is finished; the job document, logs and scratch files go to `home`.

    `worker_variables` are further environment variables of each worker, by rank.

    Raises the error that a worker reported for the user, WorkerGroupInterruptedError, or
    WorkerGroupFailedError with the workers' last lines.
    """
    home.mkdir(parents=True, exist_ok=True)
    atomic_write(home / "job.json", group.format_job_document())
    owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    restarts = attempt = 0
    with (
        graceful_stop_event() as stop,
        tempfile.TemporaryDirectory(prefix="work-", dir=home) as work,
    ):
        while not group.is_finished():
            attempt += 1
            variables = {ENV_OWNER: owner, ENV_WORK_DIR: work}
            by_rank = [variables | dict(own) for own in worker_variables or [{}] * group.workers]
            codes = _run_attempt(group, home, by_rank, attempt, stop)
            if stop.is_set():
                raise WorkerGroupInterruptedError
            if all(code == exit_codes.SUCCESS for code in codes):
                continue
            if all(code in (exit_codes.SUCCESS, exit_codes.PREEMPTED) for code in codes):
                progress.report(
                    group.step,
                    "a worker was asked to stop and saved its checkpoint; restarting all workers",
                )
                continue
            _raise_user_error(home, codes)
            restarts += 1
            if restarts > group.max_restarts:
                raise WorkerGroupFailedError(_format_failure(group, home, attempt, codes))
            progress.report(
                group.step,
                f"restart {restarts} of {group.max_restarts}: {_summarize_exit_codes(codes)}",
            )


def worker_log_path(home: Path, attempt: int, rank: int) -> Path:
    """Return the file that a worker's output goes to."""
    return home / "logs" / f"attempt-{attempt:02d}-worker-{rank}.log"


def _run_attempt(
    group: WorkerGroup,
    home: Path,
    variables: Sequence[Mapping[str, str]],
    attempt: int,
    stop: threading.Event,
) -> list[int]:
    """Start all workers and wait until all have ended; exit codes by rank, as in `subprocess`.

    `variables` are the environment variables of each worker, by rank.
    """
    shutil.rmtree(home / "failures", ignore_errors=True)
    (home / "failures").mkdir()
    cores_per_worker = max(1, count_usable_cores() // group.workers)
    oom_kills_before = _count_oom_kills()
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                _worker_process(
                    group.module,
                    home / "job.json",
                    {
                        **variables[topology.rank],
                        ENV_THREADS: str(cores_per_worker),
                        ENV_FAILURE_FILE: str(_failure_path(home, topology.rank)),
                        "TF_CONFIG": topology.to_tf_config(),
                    },
                    worker_log_path(home, attempt, topology.rank),
                )
            )
            for topology in _local_topologies(group.workers)
        ]
        pids = [process.pid for process in processes]
        _LOGGER.debug("attempt %d: worker processes %s", attempt, pids)
        codes = _wait_for_processes(processes, stop)
    _LOGGER.debug("attempt %d: exit codes %s", attempt, codes)
    if _count_oom_kills() > oom_kills_before and -signal.SIGKILL in codes:
        raise WorkerGroupFailedError(
            f"worker {codes.index(-signal.SIGKILL)} was killed for lack of memory; "
            f"{group.memory_remedy}, or use fewer {group.step}.workers"
        )
    return codes


def _local_topologies(count: int) -> list[WorkerTopology]:
    """Return the topology of each worker, on ports of the loopback interface that were free."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        workers = tuple(f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners)
    return [WorkerTopology(workers=workers, rank=rank) for rank in range(count)]


@contextmanager
def _worker_process(
    module: str, document: Path, variables: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """One worker in a session of its own; it is dead when the block ends."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(document)],
            env={**os.environ, **variables, ENV_LAUNCHER_PID: str(os.getpid())},
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


def _wait_for_processes(
    processes: list[subprocess.Popen[bytes]], stop: threading.Event
) -> list[int]:
    """Wait for all; after a failure or a stop the others have a bounded time to end themselves."""
    deadline: float | None = None
    while any(process.poll() is None for process in processes):
        ended = [process.returncode for process in processes if process.returncode is not None]
        if stop.is_set() and deadline is None:
            for process in processes:
                process.terminate()
            deadline = time.monotonic() + STOP_GRACE_SECONDS
        elif any(code != exit_codes.SUCCESS for code in ended) and deadline is None:
            deadline = time.monotonic() + _grace_seconds(ended)
        if deadline is not None and time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(POLL_INTERVAL_SECONDS)
    return [process.returncode for process in processes]


def _grace_seconds(codes: list[int]) -> float:
    """Return how long the peers of workers that ended with these codes may still run."""
    if all(code in (exit_codes.SUCCESS, exit_codes.PREEMPTED) for code in codes):
        return STOP_GRACE_SECONDS  # they save at the same step
    if all(code in (exit_codes.SUCCESS, *exit_codes.PERMANENT) for code in codes):
        return USER_ERROR_GRACE_SECONDS  # most such errors hit all, and each log should have it
    return PEER_LOSS_GRACE_SECONDS  # peers of a dead worker can only be ended


def _raise_user_error(home: Path, codes: list[int]) -> None:
    """Raise the error of the first worker that ended with a code only the user can act on."""
    for rank, code in enumerate(codes):
        if code in exit_codes.PERMANENT:
            path = _failure_path(home, rank)
            message = path.read_text(encoding="utf-8") if path.exists() else ""
            raise error_from_exit_code(rank, code, message)


def _failure_path(home: Path, rank: int) -> Path:
    return home / "failures" / f"worker-{rank}.txt"


def _summarize_exit_codes(codes: list[int]) -> str:
    return ", ".join(f"worker {rank} {describe_exit_code(code)}" for rank, code in enumerate(codes))


def _format_failure(group: WorkerGroup, home: Path, attempt: int, codes: list[int]) -> str:
    """Return the last message of a group that is not restarted: exit codes and last log lines."""
    parts = [
        f"the {group.step} step failed {attempt} times and is not restarted again "
        f"({group.step}.max_restarts={group.max_restarts}): {_summarize_exit_codes(codes)}"
    ]
    for rank in range(len(codes)):
        path = worker_log_path(home, attempt, rank)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-MAX_LOG_LINES:]
        shown = (f"  {unwrap_log_line(line)[:MAX_LOG_LINE_LENGTH]}" for line in lines)
        parts.append("\n".join([f"worker {rank}, {path}:", *shown]))
    return "\n".join(parts)


def _count_oom_kills() -> int:
    """Return how often the kernel killed a process of this control group for lack of memory."""
    try:
        fields = dict(line.split() for line in _CGROUP_MEMORY_EVENTS.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields.get("oom_kill", 0))
