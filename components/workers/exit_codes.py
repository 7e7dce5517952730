"""Exit codes of a worker process, and the errors that a launcher makes of them (as in sysexits.h).

| code       | meaning                                             | what the launcher does    |
|------------|-----------------------------------------------------|---------------------------|
| 0          | finished                                            | nothing                   |
| 14         | TensorFlow's start did not end in time              | restarts all workers      |
| 64, 65, 78 | usage, data or configuration                        | fails with the same error |
| 69         | a peer's name did not resolve, or nothing answered  | restarts all workers      |
| 70         | a peer was lost, or this worker stalled             | restarts all workers      |
| 72         | fewer GPUs than asked for                           | fails with the same error |
| 74         | no space left on the disk                           | restarts all workers      |
| 75         | SIGTERM: saved a checkpoint, or had nothing to save | restarts all, not counted |
| 76         | no launcher has been there for half a minute        | nobody restarts them      |
| any other  | crash                                               | restarts all workers      |

Restarts count towards the group's maximum, except after code 75. Independent workers of this
machine share its disk, so code 74 ends their group.
"""

from __future__ import annotations

import signal

from components.errors import (
    USER_ERROR_CODES,
    ConfigError,
    DataError,
    ExitCode,
    HardwareError,
    KubertError,
    UsageError,
)

SUCCESS = 0
NOT_JOINED = int(signal.SIGALRM)
RENDEZVOUS_TIMEOUT = 69
PEER_LOST = 70
GPU_MISSING = HardwareError.exit_code
DISK_FULL = 74
PREEMPTED = 75
LAUNCHER_LOST = 76

SIGNAL_OFFSET = 128
"""Added to a signal's number in the exit code of a shell."""

PERMANENT = USER_ERROR_CODES
"""Usage, data, missing GPUs or configuration: would fail the same way again, so never retried."""
NEVER_RESTARTED = PERMANENT | {LAUNCHER_LOST}
"""Codes after which a JobSet ends: another attempt fails the same way, or serves no run."""

_ERROR_BY_CODE: dict[int, type[UsageError | DataError | HardwareError | ConfigError]] = {
    error.exit_code: error for error in (UsageError, DataError, HardwareError, ConfigError)
}
_PHRASES = {
    SUCCESS: "finished",
    RENDEZVOUS_TIMEOUT: "did not reach a peer in time",
    PEER_LOST: "lost a peer",
    GPU_MISSING: f"saw fewer GPUs than it needs (exit code {GPU_MISSING})",
    NOT_JOINED: "was not joined by its peers in time",
    DISK_FULL: "found no space left on the disk",
    PREEMPTED: "stopped after saving its work",
    LAUNCHER_LOST: "stopped because its launcher was gone",
    -9: "was killed (SIGKILL)",
    -15: "was terminated (SIGTERM)",
    -11: "crashed (SIGSEGV)",
    -6: "aborted (SIGABRT)",
}


class WorkerGroupInterruptedError(KubertError):
    """The launcher was asked to stop; the workers saved a checkpoint if they had one to save."""

    exit_code = PREEMPTED

    def __init__(self) -> None:
        super().__init__("stopped; the next run continues from what was saved")


class WorkerGroupFailedError(KubertError):
    """The workers failed more often than they may be restarted, or in a way no restart cures."""

    exit_code = ExitCode.WORKERS_FAILED


def to_shell_exit_code(code: int) -> int:
    """Return the code that a process ends with for a child that ended with `code`.

    Negative codes are signals, as in `subprocess`; a shell makes them 128 and the signal.
    """
    return code if code >= 0 else SIGNAL_OFFSET - code


def describe_exit_code(code: int) -> str:
    """Return one phrase for an exit code; negative codes are signals, as in `subprocess`."""
    if code in _PHRASES:
        return _PHRASES[code]
    if code in PERMANENT:
        return f"rejected its input (exit code {code})"
    return f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"


def error_from_exit_code(rank: int, code: int, message: str) -> KubertError:
    """Return the user error that a worker ended with (a code of PERMANENT), with its message."""
    return _ERROR_BY_CODE[code](message.strip() or f"worker {rank} {describe_exit_code(code)}")
