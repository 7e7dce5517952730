"""A training's state in a directory: of this machine, or on a volume that every worker mounts.

Checkpoints are written where they stay, so a save is durable when it is written.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from components.artifacts.checkpoint import checkpoint_directory, find_newest_valid_checkpoint
from components.artifacts.manifest import MANIFEST_FILENAME
from components.errors import KubertError
from components.storage.atomic_files import atomic_replace_file
from components.train.checkpointing.remote_checkpoints import CheckpointId
from components.train.checkpointing.state_store import (
    LatestCheckpoint,
    PendingSave,
    TrainingStateStore,
)
from components.train.job import StateLayout

LOCK_TIMEOUT_SECONDS = 30.0
LOCK_POLL_SECONDS = 0.5


def open_directory_store(root: Path) -> TrainingStateStore:
    """The state below `root`; features are shared with the trainings beside it."""
    return TrainingStateStore(
        checkpoints=DirectoryCheckpointStore(StateLayout(root)),
        features=DirectoryFeatureCache(root.parent / "features"),
        lock=DirectoryLock(root),
    )


class DirectoryCheckpointStore:
    """A `CheckpointStore` in a shared directory."""

    def __init__(self, layout: StateLayout) -> None:
        self.layout = layout

    def latest(self) -> LatestCheckpoint:
        found = find_newest_valid_checkpoint(self.layout.checkpoints)
        if found is None:
            return LatestCheckpoint(None, [])
        step, _, _, damaged = found
        return LatestCheckpoint(CheckpointId(0, step), damaged)

    def restore(self, checkpoint: CheckpointId, *, include_best: bool) -> Path:
        return checkpoint_directory(self.layout.checkpoints, checkpoint.step)

    def save_best(self, step: int, write: Callable[[Path], None]) -> None:
        write(self.layout.best)

    def save_async(self, step: int, write: Callable[[Path], None]) -> PendingSave:
        write(self.layout.checkpoints)
        return PendingSave.already_durable()

    def is_finished(self) -> bool:
        return (self.layout.finished_checkpoint / MANIFEST_FILENAME).exists()

    def finish(self, write: Callable[[Path], None]) -> None:
        write(self.layout.finished_checkpoint)


class DirectoryFeatureCache:
    """A `FeatureCache` in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, name: str) -> Path | None:
        path = self.path(name)
        return path if path.exists() else None

    def publish(self, name: str, write: Callable[[BinaryIO], None]) -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_replace_file(path) as temporary, open(temporary, "wb") as stream:
            write(stream)

    def delete(self, name: str) -> None:
        self.path(name).unlink()

    def path(self, name: str) -> Path:
        """Where the file of this name is, or would be."""
        return self._directory / name


class DirectoryLock:
    """A `ChiefLock` by flock: the kernel releases it when the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def acquire(self) -> None:
        self._descriptor = lock_directory(self._directory)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def lock_directory(directory: Path) -> int:
    """Lock the directory for as long as the returned descriptor is open.

    KubertError if another process still has the lock after LOCK_TIMEOUT_SECONDS.
    """
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise KubertError(
                    f"{directory}: another run is training here; wait for it, or stop it"
                ) from None
            time.sleep(LOCK_POLL_SECONDS)
