"""What a worker needs of its training's state: checkpoints, cached features, and the chief's lock.

Each has two implementations: `directory_state_store` for a directory that all workers share, and
`object_state_store` for object storage, of which each worker has a local copy.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, Self

from components.train.checkpointing.remote_checkpoints import CheckpointId
from components.train.job import StateLayout

SAVE_POLL_SECONDS = 1.0


class LatestCheckpoint(NamedTuple):
    """The newest valid checkpoint, or None without any; why newer ones were set aside."""

    checkpoint: CheckpointId | None
    damaged: list[str]


class PendingSave:
    """A save that may still be uploading while the training goes on."""

    def __init__(self, upload: Future[None]) -> None:
        self._upload = upload

    @classmethod
    def already_durable(cls) -> Self:
        """A save with nothing left to do."""
        upload: Future[None] = Future()
        upload.set_result(None)
        return cls(upload)

    def wait_until_finished(self, heartbeat: Callable[[], None]) -> None:
        """Return when the save is durable, sending heartbeats; raises what it failed with."""
        while not wait([self._upload], SAVE_POLL_SECONDS).done:
            heartbeat()
        self._upload.result()


class CheckpointStore(Protocol):
    """Checkpoints of one training. Only the chief calls what writes.

    Each `write` callback commits an artifact to the path that it is given. A save must be durable
    (`PendingSave`) before the next one starts.
    """

    @property
    def layout(self) -> StateLayout:
        """The local directories that the callbacks write to and restored checkpoints are in."""

    def latest(self) -> LatestCheckpoint:
        """Find the newest valid checkpoint. DataError if there are some, but none is valid."""

    def restore(self, checkpoint: CheckpointId, *, include_best: bool) -> Path:
        """Provide a checkpoint, and its best weights, locally; the checkpoint's directory."""

    def save_best(self, step: int, write: Callable[[Path], None]) -> None:
        """Write the best weights so far; they become durable with the next checkpoint."""

    def save_async(self, step: int, write: Callable[[Path], None]) -> PendingSave:
        """Write the checkpoint of a step below the given directory of all checkpoints."""

    def is_finished(self) -> bool:
        """Whether the training has a finished checkpoint."""

    def finish(self, write: Callable[[Path], None]) -> None:
        """Write the finished checkpoint, and return when it is durable."""


class FeatureCache(Protocol):
    """Files of a frozen encoder's features, which all trainings on the same data share."""

    def get(self, name: str) -> Path | None:
        """The complete file of this name, if some worker published it."""

    def publish(self, name: str, write: Callable[[BinaryIO], None]) -> None:
        """Write a file of which other workers see either nothing or all."""

    def delete(self, name: str) -> None:
        """Delete a file."""


class ChiefLock(Protocol):
    """Allows one chief at a time to write a training's state."""

    def acquire(self) -> None:
        """Become the chief; KubertError if another run trains here."""

    def release(self) -> None:
        """Let the next chief in at once."""


@dataclass(frozen=True)
class TrainingStateStore:
    """The state of one training as one worker sees it."""

    checkpoints: CheckpointStore
    features: FeatureCache
    lock: ChiefLock
