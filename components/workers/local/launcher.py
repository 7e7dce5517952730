"""Runs a worker group as processes of this machine, and starts those again that fail.

A group that lost a worker cannot continue, and a worker cannot rejoin it alone. So all workers end
and all start again, from the newest checkpoint; only independent workers are started again alone
(`components.workers.local.independent_workers`). No process outlives the launcher.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from components import progress
from components.config.environment import ENV_OWNER, ENV_THREADS, ENV_WORK_DIR
from components.storage.atomic_files import atomic_write
from components.workers import exit_codes
from components.workers.exit_codes import (
    WorkerGroupFailedError,
    WorkerGroupInterruptedError,
    describe_exit_code,
)
from components.workers.group import WorkerGroup, format_restart_limit
from components.workers.local.independent_workers import run_independent_workers
from components.workers.local.worker_process import (
    count_oom_kills,
    format_log_end,
    raise_user_error,
    worker_process,
)
from components.workers.process_control import count_usable_cores, graceful_stop_event
from components.workers.topology import find_local_topologies

POLL_INTERVAL_SECONDS = 0.1
STOP_GRACE_SECONDS = 30.0
USER_ERROR_GRACE_SECONDS = 5.0
PEER_LOSS_GRACE_SECONDS = 1.0
_LOGGER = logging.getLogger(__name__)


def run_local(
    group: WorkerGroup, home: Path, worker_variables: Sequence[Mapping[str, str]] = ()
) -> None:
    """Return when the group is finished; the job document, logs and scratch files go to `home`.

    `worker_variables` are further environment variables of each worker, by rank. Independent
    workers are finished when all of them have ended with success.

    Raises the error that a worker reported for the user, WorkerGroupInterruptedError, or
    WorkerGroupFailedError with the workers' last lines.
    """
    home.mkdir(parents=True, exist_ok=True)
    atomic_write(home / "job.json", group.format_job_document())
    with (
        graceful_stop_event() as stop,
        tempfile.TemporaryDirectory(prefix="work-", dir=home) as work,
    ):
        equal = {
            ENV_OWNER: f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
            ENV_WORK_DIR: work,
            ENV_THREADS: str(max(1, count_usable_cores() // group.workers)),
        }
        by_rank = [equal | dict(own) for own in worker_variables or [{}] * group.workers]
        if group.independent:
            run_independent_workers(group, home, by_rank, stop)
        else:
            _run_attempts(group, home, by_rank, stop)


def _run_attempts(
    group: WorkerGroup, home: Path, variables: Sequence[Mapping[str, str]], stop: threading.Event
) -> None:
    """Start all workers again until the group is finished, has failed or is stopped."""
    restarts = attempt = 0
    while not group.is_finished():
        attempt += 1
        codes = _run_attempt(group, home, variables, attempt, stop)
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
        for rank, code in enumerate(codes):
            raise_user_error(home, rank, code)
        restarts += 1
        if restarts > group.max_restarts:
            raise WorkerGroupFailedError(_format_failure(group, home, attempt, codes))
        progress.report(
            group.step,
            f"restart {restarts} of {group.max_restarts}: {_summarize_exit_codes(codes)}",
        )


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
    oom_kills_before = count_oom_kills()
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                worker_process(
                    group.module,
                    home,
                    topology.rank,
                    attempt,
                    {**variables[topology.rank], "TF_CONFIG": topology.to_tf_config()},
                )
            )
            for topology in find_local_topologies(group.workers)
        ]
        pids = [process.pid for process in processes]
        _LOGGER.debug("attempt %d: worker processes %s", attempt, pids)
        codes = _wait_for_processes(processes, stop)
    _LOGGER.debug("attempt %d: exit codes %s", attempt, codes)
    if count_oom_kills() > oom_kills_before and -signal.SIGKILL in codes:
        raise WorkerGroupFailedError(group.describe_out_of_memory(codes.index(-signal.SIGKILL)))
    return codes


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


def _summarize_exit_codes(codes: list[int]) -> str:
    return ", ".join(f"worker {rank} {describe_exit_code(code)}" for rank, code in enumerate(codes))


def _format_failure(group: WorkerGroup, home: Path, attempt: int, codes: list[int]) -> str:
    """Return the last message of a group that is not restarted: exit codes and last log lines."""
    parts = [
        f"the {group.step} step failed {attempt} times and is not restarted again "
        f"({format_restart_limit(group.restart_option, group.max_restarts)}): "
        f"{_summarize_exit_codes(codes)}"
    ]
    parts += [format_log_end(home, attempt, rank) for rank in range(len(codes))]
    return "\n".join(parts)
