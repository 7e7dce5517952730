"""A training's state whose place is object storage: the chief works on a local copy and uploads what it seals."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from components.artifacts import checkpoint
from components.storage.store import open_store
from components.train.checkpointing.lease import Lease
from components.train.checkpointing.remote_checkpoints import CheckpointId, RemoteCheckpoints
from components.train.job import StateLayout


class ObjectStateStore:
    """A `StatePlace`: `files` lie in a directory of this worker's own, what counts lies below `uri`."""

    def __init__(self, uri: str, work: Path, owner: str, keep: int) -> None:
        """`owner` names the gang, the same in all its attempts; `keep` is the number of periodic checkpoints."""
        self.files = StateLayout(work / "state")
        self._remote = RemoteCheckpoints(uri)
        self._features = open_store(uri.rstrip("/").rpartition("/")[0])
        self._lease = Lease(self._remote.store, owner)
        self._uploads = CheckpointUploader()
        self._keep = keep
        self._unsaved_best: int | None = None

    def hold(self) -> None:
        self._lease.take()

    def release(self) -> None:
        self._lease.release()

    def choose(self) -> tuple[CheckpointId | None, list[str]]:
        return self._remote.fetch_newest(self.files.checkpoints)

    def bring(self, choice: CheckpointId) -> None:
        if not checkpoint.checkpoint_directory(self.files.checkpoints, choice.step).exists():
            self._remote.fetch_checkpoint(choice, self.files.checkpoints)

    def bring_best(self, step: int) -> None:
        self._remote.fetch_best(step, self.files.best)

    def is_finished(self) -> bool:
        return self._remote.finished() is not None

    def best_saved(self, step: int) -> None:
        self._unsaved_best = step

    def saved(self, step: int) -> None:
        best, self._unsaved_best = self._unsaved_best, None
        self._uploads.start(lambda: self._upload(step, best))

    def _upload(self, step: int, best: int | None) -> None:
        generation = self._lease.generation
        with self._lease.held():
            if best is not None:
                self._remote.push_best(self.files.best, CheckpointId(generation, best))
            self._remote.push_checkpoint(
                checkpoint.checkpoint_directory(self.files.checkpoints, step),
                CheckpointId(generation, step),
            )
            self._remote.push_tensorboard(self.files.tensorboard)
        with self._lease.held():
            self._remote.retain(self._keep)

    def finished(self) -> None:
        with self._lease.held():
            self._remote.push_tensorboard(self.files.tensorboard)
            self._remote.push_finished(self.files.finished, self._lease.generation)

    def settle(self, beat: Callable[[], None]) -> None:
        self._uploads.settle(beat)

    def obtain(self, name: str) -> Path | None:
        path, stored = self.feature_file(name), f"features/{name}"
        if not path.exists():
            if not self._features.exists(stored):
                return None
            self._features.download(stored, path)
        return path

    def share(self, path: Path) -> None:
        self._features.upload(path, path.relative_to(self.files.root.parent).as_posix())

    def forget(self, name: str) -> None:
        self.feature_file(name).unlink()
        self._features.delete(f"features/{name}")

    def feature_file(self, name: str) -> Path:
        return self.files.root.parent / "features" / name


POLL_SECONDS = 1.0


class CheckpointUploader:
    """One upload at a time: the next one waits for the one before, so at most one checkpoint is not in the store yet."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._running: Future[None] | None = None

    def start(self, upload: Callable[[], None]) -> None:
        """Begin an upload; the one before must have been settled."""
        assert self._running is None
        self._running = self._pool.submit(upload)

    def settle(self, beat: Callable[[], None]) -> None:
        """Return when nothing is being uploaded, calling `beat` all the while; raises what the last upload failed with."""
        if self._running is None:
            return
        while not wait([self._running], POLL_SECONDS).done:
            beat()
        running, self._running = self._running, None
        running.result()
