"""How the end of a gang reaches whoever started it: as the user's own error, as an interruption, or as a failure to read."""

from __future__ import annotations

from components.errors import ConfigError, DataError, KubertError, UsageError
from components.workers import exit_codes

_REFUSALS: dict[int, type[UsageError | DataError | ConfigError]] = {
    kind.exit_code: kind for kind in (UsageError, DataError, ConfigError)
}


class Interrupted(KubertError):
    """The launcher was asked to stop; the workers saved a checkpoint if they had begun to train."""

    exit_code = exit_codes.PREEMPTED

    def __init__(self) -> None:
        super().__init__("stopped; the next run goes on from the last checkpoint")


class GangFailed(KubertError):
    """The gang failed more often than it may be restarted, or for a reason that no restart cures."""


OUT_OF_MEMORY = "lower train.batch_size or model.max_length, or raise train.accumulate"


def refusal(rank: int, code: int, message: str) -> KubertError:
    """The error that a worker ended with because the user has to change something, with the worker's own words."""
    return _REFUSALS[code](message.strip() or f"worker {rank} {exit_codes.describe(code)}")
