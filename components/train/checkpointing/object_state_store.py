"""A training's state in object storage: the chief writes a local copy and uploads it.

Training goes on during the upload of a checkpoint; a failed upload is raised by the next save.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from components.artifacts.checkpoint import checkpoint_directory
from components.artifacts.manifest import read_manifest
from components.storage.store import Store, open_store
from components.train.checkpointing.directory_state_store import DirectoryFeatureCache
from components.train.checkpointing.lease import Lease
from components.train.checkpointing.remote_checkpoints import CheckpointId, RemoteCheckpoints
from components.train.checkpointing.state_store import (
    LatestCheckpoint,
    PendingSave,
    TrainingStateStore,
)
from components.train.job import StateLayout


def open_object_store(uri: str, work: Path, owner: str, keep: int) -> TrainingStateStore:
    """The state below `uri`, with local copies in `work`.

    `owner` names the worker group, the same in all its attempts; `keep` is the number of periodic
    checkpoints that are kept. Features are shared with the trainings beside this one.
    """
    remote = RemoteCheckpoints(uri)
    lease = Lease(remote.store, owner)
    shared = open_store(uri.rstrip("/").rpartition("/")[0])
    return TrainingStateStore(
        checkpoints=ObjectCheckpointStore(remote, StateLayout(work / "state"), lease, keep),
        features=ObjectFeatureCache(shared, work / "features"),
        lock=lease,
    )


class ObjectCheckpointStore:
    """A `CheckpointStore` in object storage, with `layout` in a directory of this worker's own."""

    def __init__(
        self, remote: RemoteCheckpoints, layout: StateLayout, lease: Lease, keep: int
    ) -> None:
        self.layout = layout
        self._remote, self._lease, self._keep = remote, lease, keep
        self._uploader = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._unsaved_best_step: int | None = None

    def latest(self) -> LatestCheckpoint:
        return LatestCheckpoint(*self._remote.download_latest(self.layout.checkpoints))

    def restore(self, checkpoint: CheckpointId, *, include_best: bool) -> Path:
        directory = checkpoint_directory(self.layout.checkpoints, checkpoint.step)
        if not directory.exists():
            self._remote.download_checkpoint(checkpoint, self.layout.checkpoints)
        if include_best:
            content = read_manifest(directory, "checkpoint").content
            if best_step := int(content["position"]["best_step"]):
                self._remote.download_best(best_step, self.layout.best)
        return directory

    def save_best(self, step: int, write: Callable[[Path], None]) -> None:
        write(self.layout.best)
        self._unsaved_best_step = step

    def save_async(self, step: int, write: Callable[[Path], None]) -> PendingSave:
        write(self.layout.checkpoints)
        best_step, self._unsaved_best_step = self._unsaved_best_step, None
        return PendingSave(self._uploader.submit(self._upload, step, best_step))

    def _upload(self, step: int, best_step: int | None) -> None:
        generation = self._lease.generation
        with self._lease.require_ownership_throughout():
            if best_step is not None:
                self._remote.upload_best(self.layout.best, CheckpointId(generation, best_step))
            self._remote.upload_checkpoint(
                checkpoint_directory(self.layout.checkpoints, step), CheckpointId(generation, step)
            )
            self._remote.upload_tensorboard(self.layout.tensorboard)
        with self._lease.require_ownership_throughout():
            self._remote.delete_old_checkpoints(self._keep)

    def is_finished(self) -> bool:
        return self._remote.find_finished_uri() is not None

    def finish(self, write: Callable[[Path], None]) -> None:
        write(self.layout.finished_checkpoint)
        with self._lease.require_ownership_throughout():
            self._remote.upload_tensorboard(self.layout.tensorboard)
            self._remote.upload_finished(self.layout.finished_checkpoint, self._lease.generation)


class ObjectFeatureCache:
    """A `FeatureCache` in object storage, with copies of the used files in a local directory."""

    def __init__(self, store: Store, directory: Path) -> None:
        self._store, self._local = store, DirectoryFeatureCache(directory)

    def get(self, name: str) -> Path | None:
        path = self._local.path(name)
        if not path.exists():
            if not self._store.exists(_feature_key(name)):
                return None
            self._store.download(_feature_key(name), path)
        return path

    def publish(self, name: str, write: Callable[[BinaryIO], None]) -> None:
        self._local.publish(name, write)
        self._store.upload(self._local.path(name), _feature_key(name))

    def delete(self, name: str) -> None:
        self._local.delete(name)
        self._store.delete(_feature_key(name))


def _feature_key(name: str) -> str:
    return f"features/{name}"
