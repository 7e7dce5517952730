"""How a worker process ends, and what its launcher may do about it (codes as in sysexits.h)."""

from __future__ import annotations

from components.errors import USER_ERROR_CODES

DONE = 0
PEER_NEVER_CAME = 69
PEER_LOST = 70
DISK_FULL = 74
PREEMPTED = 75

PERMANENT = USER_ERROR_CODES
"""Usage, data or configuration: would fail the same way again, so never retried."""


def describe(code: int) -> str:
    """One phrase for an exit code; negative codes are signals, as in `subprocess`."""
    phrases = {
        DONE: "finished",
        PEER_NEVER_CAME: "a peer never appeared",
        PEER_LOST: "a peer was lost",
        DISK_FULL: "found no space left on the disk",
        PREEMPTED: "stopped after saving its checkpoint",
        -9: "killed (SIGKILL)",
        -14: "was not joined by its peers in time (SIGALRM)",
        -15: "terminated (SIGTERM)",
        -11: "crashed (SIGSEGV)",
        -6: "aborted (SIGABRT)",
    }
    if code in PERMANENT:
        return f"refused its input (exit code {code})"
    return phrases.get(
        code, f"killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
    )
