"""Runs independent workers as processes of this machine: one that dies is started again alone.

They share nothing but the directory of their results, in which a new process finds what the one
before it has finished. So a failure of one is no reason to disturb the others.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from components import progress
from components.config.environment import ENV_PROGRESS
from components.progress import ProgressFile
from components.workers import exit_codes
from components.workers.exit_codes import (
    WorkerGroupFailedError,
    WorkerGroupInterruptedError,
    describe_exit_code,
)
from components.workers.group import WorkerGroup
from components.workers.local.worker_process import (
    count_oom_kills,
    format_log_end,
    raise_user_error,
    worker_process,
)
from components.workers.progress_sum import ProgressSum
from components.workers.topology import find_local_topologies

POLL_INTERVAL_SECONDS = 0.1
STOP_GRACE_SECONDS = 30.0
FAILURE_GRACE_SECONDS = 5.0
_LOGGER = logging.getLogger(__name__)


@dataclass
class _Worker:
    """One worker: its present process, which is the `attempt`-th, and where its progress goes."""

    rank: int
    process: subprocess.Popen[bytes]
    events: ProgressFile
    attempt: int = 1
    restarts: int = 0


def run_independent_workers(
    group: WorkerGroup, home: Path, variables: Sequence[Mapping[str, str]], stop: threading.Event
) -> None:
    """Return when every worker has ended with success; raises what `run_local` does.

    `variables` are the environment variables of each worker, by rank.
    """
    if group.is_finished():
        return
    with ExitStack() as stack:
        launcher = _IndependentLauncher(group, home, variables, stack)
        try:
            while launcher.has_running_workers():
                if stop.wait(POLL_INTERVAL_SECONDS):
                    raise WorkerGroupInterruptedError
                launcher.report_progress()
                launcher.restart_failed_workers()
            launcher.report_progress()
        finally:
            grace = STOP_GRACE_SECONDS if stop.is_set() else FAILURE_GRACE_SECONDS
            _terminate([worker.process for worker in launcher.workers], grace)


class _IndependentLauncher:
    """The workers of a group, which are dead when `stack` is closed."""

    def __init__(
        self,
        group: WorkerGroup,
        home: Path,
        variables: Sequence[Mapping[str, str]],
        stack: ExitStack,
    ) -> None:
        self._group, self._home, self._stack = group, home, stack
        self._progress = ProgressSum(group.workers)
        self._oom_kills = count_oom_kills()
        (home / "progress").mkdir(exist_ok=True)
        self._variables = [
            {
                **variables[topology.rank],
                "TF_CONFIG": topology.to_tf_config(),
                ENV_PROGRESS: str(self._progress_path(topology.rank)),
            }
            for topology in find_local_topologies(group.workers)
        ]
        self.workers: list[_Worker] = []
        for rank in range(group.workers):
            path = self._progress_path(rank)
            path.unlink(missing_ok=True)
            self.workers.append(_Worker(rank, self._start(rank, 1), ProgressFile(path)))

    def has_running_workers(self) -> bool:
        """Whether a worker has not ended with success yet."""
        return any(worker.process.poll() != exit_codes.SUCCESS for worker in self.workers)

    def report_progress(self) -> None:
        """Report the workers' new progress as that of their group."""
        for worker in self.workers:
            for event in worker.events.read_new_events():
                progress.write_progress_event(self._progress.add(worker.rank, event))

    def restart_failed_workers(self) -> None:
        """Start those again that have failed; raises when that is not allowed or no remedy."""
        for worker in self.workers:
            code = worker.process.poll()
            if code is not None and code != exit_codes.SUCCESS:
                self._report_failure(worker, code)
                worker.attempt += 1
                worker.process = self._start(worker.rank, worker.attempt)

    def _report_failure(self, worker: _Worker, code: int) -> None:
        """Report why a worker is started again, or raise if it is not."""
        group, name = self._group, f"worker {worker.rank}"
        raise_user_error(self._home, worker.rank, code)
        if code == -signal.SIGKILL and count_oom_kills() > self._oom_kills:
            raise WorkerGroupFailedError(group.describe_out_of_memory(worker.rank))
        if code == exit_codes.DISK_FULL:
            raise WorkerGroupFailedError(
                f"the {group.step} step failed: {name} found no space left on the disk; make room "
                f"in {self._home} and for temporary files, and run the same command again: what "
                "was finished stays"
            )
        if code == exit_codes.PREEMPTED:
            progress.report(group.step, f"{name} was asked to stop; starting it again")
            return
        worker.restarts += 1
        if worker.restarts > group.max_restarts:
            raise WorkerGroupFailedError(
                f"the {group.step} step failed: {name} is not started again after "
                f"{group.max_restarts} restarts: "
                f"it {describe_exit_code(code)}\n"
                f"{format_log_end(self._home, worker.attempt, worker.rank)}"
            )
        progress.report(
            group.step,
            f"restart {worker.restarts} of {group.max_restarts} of {name}: "
            f"it {describe_exit_code(code)}",
        )

    def _start(self, rank: int, attempt: int) -> subprocess.Popen[bytes]:
        process = self._stack.enter_context(
            worker_process(self._group.module, self._home, rank, attempt, self._variables[rank])
        )
        _LOGGER.debug("worker %d, attempt %d: process %d", rank, attempt, process.pid)
        return process

    def _progress_path(self, rank: int) -> Path:
        return self._home / "progress" / f"worker-{rank}.jsonl"


def _terminate(processes: Sequence[subprocess.Popen[bytes]], grace_seconds: float) -> None:
    """Ask the processes to stop, and return when they have ended or the time is over."""
    deadline = time.monotonic() + grace_seconds
    for process in processes:
        process.terminate()  # does nothing to one that has ended
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return
