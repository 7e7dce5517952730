"""Runs a worker in its pod as a child process, and ends it when nobody follows it any more.

python -m components.workers.worker_supervisor DIRECTORY MODULE JOB: the module is run with the job
document as its argument; the directory is the one that holds the launcher's heartbeat.

The worker cannot do this itself. While TensorFlow starts, no Python thread runs, so a signal or a
launcher that is gone would go unseen for up to a minute. This process imports no TensorFlow.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from components.config.environment import ENV_FAILURE_FILE, ENV_LAUNCHER_PID, ENV_SAVING_FD
from components.errors import ExitCode, KubertError
from components.logging_config import configure_logging
from components.storage.store import open_store
from components.workers import exit_codes
from components.workers.launcher_heartbeat import LauncherWatch, WatchLimits
from components.workers.process_control import LAUNCHER_LOST_SIGNAL, STOP_SIGNALS

_FINAL_CODES = exit_codes.NEVER_RESTARTED | {exit_codes.SUCCESS}
_LOGGER = logging.getLogger("components.workers.worker_supervisor")


class WorkerSupervisor:
    """One worker process, and what this process tells it.

    Until the worker has something to save (`PreemptionHandler.allow_saving`), it is killed when it
    should stop. Later it is asked to save: by SIGTERM, after which it and the kubelet keep the
    time, or by LAUNCHER_LOST_SIGNAL, after which it is killed when `limits.save` has passed.
    """

    def __init__(self, command: Sequence[str], limits: WatchLimits) -> None:
        self._limits = limits
        self._stopped = threading.Event()
        self._is_killed_by_stop = False
        self._saving, saving_of_worker = os.pipe()
        variables = {ENV_LAUNCHER_PID: str(os.getpid()), ENV_SAVING_FD: str(saving_of_worker)}
        # No signal may arrive before there is a worker to pass it to.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        self._process = subprocess.Popen(
            command, env={**os.environ, **variables}, pass_fds=(saving_of_worker,)
        )
        os.close(saving_of_worker)
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def run(self, directory: str, jobset: str) -> int:
        """Return the exit code of the pod when the worker has ended; a signal's is 128 and it.

        A worker that fails leaves the group only when its launcher was seen afterwards: if both
        died in the same moment, the group would be started again for nobody.
        """
        watch = self._watch_launcher(directory, jobset)
        code = self._process.wait()
        if watch and code not in _FINAL_CODES:
            watch.wait_for_heartbeat(self._stopped)
        if watch and watch.is_launcher_lost() and code not in _FINAL_CODES:
            _write_failure("the launcher is gone")
            return exit_codes.LAUNCHER_LOST
        if code == -signal.SIGKILL and self._is_killed_by_stop:
            return exit_codes.PREEMPTED
        return exit_codes.to_shell_exit_code(code)

    def _watch_launcher(self, directory: str, jobset: str) -> LauncherWatch | None:
        try:
            store = open_store(directory)
        except KubertError as error:
            _LOGGER.warning("the launcher is not watched: %s", error)  # the worker fails by it
            return None
        return LauncherWatch(store, jobset, self._end_without_launcher, self._limits)

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._stopped.set()
        if self._has_something_to_save():
            self._process.send_signal(number)
        else:
            self._is_killed_by_stop = True
            self._process.kill()

    def _end_without_launcher(self) -> None:
        if self._has_something_to_save():
            self._process.send_signal(LAUNCHER_LOST_SIGNAL)
            time.sleep(self._limits.save)
        self._process.kill()

    def _has_something_to_save(self) -> bool:
        return bool(select.select([self._saving], [], [], 0)[0])


def _write_failure(message: str) -> None:
    """Write the last message for the launcher, unless the worker has left one."""
    _LOGGER.error("%s", message)
    path = os.environ.get(ENV_FAILURE_FILE)
    with suppress(OSError):  # a full disk changes no exit code
        if path and not (Path(path).exists() and Path(path).read_bytes()):
            Path(path).write_text(message + "\n", encoding="utf-8")


def main(arguments: Sequence[str], limits: WatchLimits | None = None) -> int:
    """Run the worker of this pod; the exit code."""
    configure_logging()
    jobset = os.environ.get("JOBSET_NAME", "")
    if len(arguments) != 3 or not jobset:
        _write_failure("this is the command of a JobSet's pod: DIRECTORY MODULE JOB")
        return ExitCode.USAGE
    directory, module, document = arguments
    supervisor = WorkerSupervisor([sys.executable, "-m", module, document], limits or WatchLimits())
    return supervisor.run(directory, jobset)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
