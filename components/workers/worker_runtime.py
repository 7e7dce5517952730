"""The process of one worker: how it starts, and ends with a code for its launcher."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from components.config.environment import (
    ENV_FAILURE_FILE,
    ENV_LAUNCHER_PID,
    ENV_STOP_GRACE,
    ENV_WORK_DIR,
)
from components.errors import DataError
from components.logging_config import configure_logging
from components.storage.store import open_store
from components.storage.uri import has_scheme
from components.workers import exit_codes
from components.workers.process_control import PreemptionHandler, kill_on_parent_exit

DEFAULT_STOP_GRACE_SECONDS = 25.0
MAX_REASON_CHARACTERS = 600
T = TypeVar("T")
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerProcess:
    """This worker: its stop signals, and a directory of its own that is removed at its end."""

    stop: PreemptionHandler
    work: Path

    def exit(self, code: int, message: str) -> None:
        """Log the message, write it to the failure file, and end at once, whatever threads run."""
        is_failure = code not in (exit_codes.SUCCESS, exit_codes.PREEMPTED)
        try:
            if message:
                _LOGGER.log(logging.ERROR if is_failure else logging.INFO, "%s", message)
            if is_failure and (path := os.environ.get(ENV_FAILURE_FILE)):
                # Not by rename: in a pod this is one file that the kubelet mounted.
                Path(path).write_text(message + "\n", encoding="utf-8")
            shutil.rmtree(self.work, ignore_errors=True)
        finally:
            os._exit(code)  # also if the disk is full and the message cannot be written


def start_worker_process() -> WorkerProcess:
    """Set up this process as a worker; call it before TensorFlow is imported."""
    configure_logging()
    if launcher := os.environ.get(ENV_LAUNCHER_PID):
        kill_on_parent_exit(int(launcher))
    stop = PreemptionHandler(float(os.environ.get(ENV_STOP_GRACE, DEFAULT_STOP_GRACE_SECONDS)))
    work = Path(tempfile.mkdtemp(prefix="kubert-worker-", dir=os.environ.get(ENV_WORK_DIR)))
    return WorkerProcess(stop, work)


def read_job_document(uri: str, parse: Callable[[bytes], T]) -> T:
    """Parse the document in a local file or at a URI; DataError if it is not a job."""
    try:
        if not has_scheme(uri):
            return parse(Path(uri).read_bytes())
        directory, _, name = uri.rpartition("/")
        return parse(open_store(directory).read_bytes(name))
    except (OSError, ValueError) as error:
        raise DataError(f"{uri}: not a job ({error})") from None


def is_disk_full(error: BaseException) -> bool:
    """Whether the reason of an error is a full disk."""
    # TensorFlow's writers report it under several types, but always with the text of the system.
    return os.strerror(errno.ENOSPC) in str(error)


def is_peer_loss(error: BaseException) -> bool:
    """Whether TensorFlow reports with this error that a peer ended, or was started again.

    It is evidence only in a worker with peers: each of the types has other reasons, too.
    """
    import tensorflow as tf

    types: tuple[type[BaseException], ...] = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.InternalError,
        tf.errors.DeadlineExceededError,
        # A collective met a peer that was started again, or the coordination service refuses a
        # worker that it has given up.
        tf.errors.FailedPreconditionError,
    )
    return isinstance(error, types)


def describe_crash(error: BaseException) -> str:
    """The reason of a worker that fails for no foreseen one: type and message, shortened."""
    return f"{type(error).__name__}: {str(error)[:MAX_REASON_CHARACTERS]}"
