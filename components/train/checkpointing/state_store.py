"""Where a training's state lies, as its workers see it: a directory that all of them share, or object storage.

Files are always written and read below `files`. On a shared directory that is all. For object storage `files` is a
directory of each worker's own; the chief uploads what it sealed there, and every worker fetches what the chief chose.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from components.artifacts import checkpoint, manifest
from components.errors import KubertError
from components.train.checkpointing.remote_checkpoints import CheckpointId
from components.train.job import StateLayout

LOCK_PATIENCE = 30.0


class TrainingStateStore(Protocol):
    """What a worker does with the place of its state; only the chief calls what writes."""

    @property
    def files(self) -> StateLayout:
        """The local directories."""

    def hold(self) -> None:
        """Be the only chief that writes here; KubertError if another run does."""

    def release(self) -> None:
        """Let another chief in."""

    def choose(self) -> tuple[CheckpointId | None, list[str]]:
        """The newest valid checkpoint (None: there is none at all), and what was wrong with newer ones, which were set aside.

        DataError if there are some but none is valid.
        """

    def bring(self, choice: CheckpointId) -> None:
        """Have the chosen checkpoint below `files`."""

    def bring_best(self, step: int) -> None:
        """Have the weights that were the best at `step` below `files`, if they are there."""

    def is_finished(self) -> bool:
        """Whether the training was finished."""

    def best_saved(self, step: int) -> None:
        """The weights of this step were sealed below `files` as the best ones: keep them, with the next checkpoint."""

    def saved(self, step: int) -> None:
        """A periodic checkpoint was sealed below `files`: keep it."""

    def finished(self) -> None:
        """The finished checkpoint was sealed below `files`: keep it, and return when it is safe."""

    def settle(self, beat: Callable[[], None]) -> None:
        """Return when everything that was saved is safe."""

    def obtain(self, name: str) -> Path | None:
        """The complete feature file of this name, if some worker has shared it."""

    def share(self, path: Path) -> None:
        """Let the other workers obtain this feature file."""

    def forget(self, name: str) -> None:
        """Remove a feature file."""

    def feature_file(self, name: str) -> Path:
        """Where this worker writes the feature file of this name."""


class SharedDirectoryStore:
    """State in a directory: of this machine, or on a volume that every worker mounts."""

    def __init__(self, root: Path) -> None:
        self.files = StateLayout(root)
        self._lock: int | None = None

    def hold(self) -> None:
        self._lock = lock_directory(self.files.root)

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def choose(self) -> tuple[CheckpointId | None, list[str]]:
        found = checkpoint.find_newest_valid_checkpoint(self.files.checkpoints)
        return (None, []) if found is None else (CheckpointId(0, found[0]), found[3])

    def bring(self, choice: CheckpointId) -> None:
        pass

    def bring_best(self, step: int) -> None:
        pass

    def is_finished(self) -> bool:
        return (self.files.finished / manifest.MANIFEST_FILENAME).exists()

    def best_saved(self, step: int) -> None:
        pass

    def saved(self, step: int) -> None:
        pass

    def finished(self) -> None:
        pass

    def settle(self, beat: Callable[[], None]) -> None:
        pass

    def obtain(self, name: str) -> Path | None:
        path = self.feature_file(name)
        return path if path.exists() else None

    def share(self, path: Path) -> None:
        pass

    def forget(self, name: str) -> None:
        self.feature_file(name).unlink()

    def feature_file(self, name: str) -> Path:
        return self.files.root.parent / "features" / name


def lock_directory(directory: Path) -> int:
    """Be the only chief that writes into this directory, for as long as the returned descriptor is open."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise KubertError(
                    f"{directory}: another run is training here; wait for it, or stop it"
                ) from None
            time.sleep(0.5)
