"""One worker as a process of this machine: its start, its log, its last message and its end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from components.config.environment import ENV_FAILURE_FILE, ENV_LAUNCHER_PID
from components.workers import exit_codes
from components.workers.exit_codes import error_from_exit_code
from components.workers.log_lines import unwrap_log_line

MAX_LOG_LINES = 15
MAX_LOG_LINE_LENGTH = 200
_CGROUP_MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")


def worker_log_path(home: Path, attempt: int, rank: int) -> Path:
    """Return the file that a worker's output goes to."""
    return home / "logs" / f"attempt-{attempt:02d}-worker-{rank}.log"


@contextmanager
def worker_process(
    module: str, home: Path, rank: int, attempt: int, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """One worker in a session of its own; it is dead when the block ends.

    It runs `module` with the job document in `home` as its argument.
    """
    failure = _failure_path(home, rank)
    failure.parent.mkdir(parents=True, exist_ok=True)
    failure.unlink(missing_ok=True)
    log = worker_log_path(home, attempt, rank)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(home / "job.json")],
            env={
                **os.environ,
                **variables,
                ENV_FAILURE_FILE: str(failure),
                ENV_LAUNCHER_PID: str(os.getpid()),
            },
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


def raise_user_error(home: Path, rank: int, code: int) -> None:
    """Raise the worker's own error if it ended with a code that only the user can act on."""
    if code in exit_codes.PERMANENT:
        path = _failure_path(home, rank)
        message = path.read_text(encoding="utf-8") if path.exists() else ""
        raise error_from_exit_code(rank, code, message)


def format_log_end(home: Path, attempt: int, rank: int) -> str:
    """Return the last lines of a worker's log below its path, for an error message."""
    path = worker_log_path(home, attempt, rank)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-MAX_LOG_LINES:]
    shown = (f"  {unwrap_log_line(line)[:MAX_LOG_LINE_LENGTH]}" for line in lines)
    return "\n".join([f"worker {rank}, {path}:", *shown])


def count_oom_kills() -> int:
    """Return how often the kernel killed a process of this control group for lack of memory."""
    try:
        fields = dict(line.split() for line in _CGROUP_MEMORY_EVENTS.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields.get("oom_kill", 0))


def _failure_path(home: Path, rank: int) -> Path:
    return home / "failures" / f"worker-{rank}.txt"
