"""Runs a step's command in its pod, and again when it dies of anything but the user's mistake.

python -m components.step_supervisor STEP COMMAND...

Kubeflow Pipelines cannot do this: a compiled pipeline names no retry policy, the controller's own
(OnError) repeats a pod that was lost but no command that failed, and whatever exit code a command
ends with, its pod ends with 1. So user's mistakes can be told from other ends only here.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from components import progress
from components.errors import USER_ERROR_CODES, ExitCode
from components.progress import StepName
from components.workers import exit_codes
from components.workers.process_control import STOP_SIGNALS

ENV_POD_RETRY = "KFP_RETRY_INDEX"
"""Set by Kubeflow Pipelines in a pod that replaces one that was lost."""
MAX_RETRIES = 2
RETRY_WAIT_SECONDS = 5.0
FINAL_CODES = USER_ERROR_CODES | {
    ExitCode.SUCCESS,
    ExitCode.WORKERS_FAILED,
    exit_codes.PREEMPTED,
    ExitCode.INTERRUPTED,
    ExitCode.TERMINATED,
}
"""Codes after which a step is not started again."""
_PR_SET_CHILD_SUBREAPER = 36


class StepSupervisor:
    """Runs one command at a time, in a process group of its own, and passes stop signals on."""

    def __init__(self, step: StepName, *, wait_seconds: float = RETRY_WAIT_SECONDS) -> None:
        self._step, self._wait_seconds = step, wait_seconds
        self._stop = threading.Event()
        self._group: int | None = None
        # What a killed shell leaves behind becomes a child of this process, which can wait for it.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        for number in STOP_SIGNALS:
            signal.signal(number, self._pass_on)

    def run(self, command: Sequence[str]) -> int:
        """Return the exit code of the last attempt; one of a signal is 128 and its number."""
        for retry in range(1, MAX_RETRIES + 1):
            code = self._run_once(command)
            if code in FINAL_CODES or self._stop.is_set():
                return code
            progress.report_note(
                self._step,
                f"the {self._step} step {_describe_end(code)}; "
                f"starting it again (retry {retry} of {MAX_RETRIES})",
            )
            if self._stop.wait(self._wait_seconds):
                return ExitCode.TERMINATED
        return self._run_once(command)

    def _run_once(self, command: Sequence[str]) -> int:
        process = subprocess.Popen(command, start_new_session=True)
        self._group = process.pid
        if self._stop.is_set():
            self._signal_group(signal.SIGTERM)
        code = process.wait()
        if not self._stop.is_set():
            self._signal_group(signal.SIGKILL)
        self._wait_for_group()
        self._group = None
        return exit_codes.to_shell_exit_code(code)

    def _wait_for_group(self) -> None:
        """Return when no process of the command is left: two attempts never run at once."""
        while True:
            try:
                os.waitpid(-(self._group or 0), 0)
            except ChildProcessError:
                return

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self._stop.set()
        self._signal_group(number)

    def _signal_group(self, number: int) -> None:
        if self._group is None:
            return
        try:
            os.killpg(self._group, number)
        except ProcessLookupError:
            return


def report_pod_retry(step: StepName) -> None:
    """Tell the user if this pod replaces one that was lost."""
    if (retry := os.environ.get(ENV_POD_RETRY, "")) not in ("", "0"):
        progress.report_note(
            step, f"the pod of the {step} step was lost; this is another one (retry {retry})"
        )


def _describe_end(code: int) -> str:
    if code <= exit_codes.SIGNAL_OFFSET:
        return f"failed with exit code {code}"
    try:
        return f"was killed ({signal.Signals(code - exit_codes.SIGNAL_OFFSET).name})"
    except ValueError:
        return f"failed with exit code {code}"


if __name__ == "__main__":
    _step = StepName(sys.argv[1])
    report_pod_retry(_step)
    sys.exit(StepSupervisor(_step).run(sys.argv[2:]))
