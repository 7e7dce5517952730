"""Reads and writes a training's state in object storage, below the state's URI:

    checkpoints/<generation>/step-<step>/   periodic checkpoints; `bad.txt` in one sets it aside
    best/<generation>/step-<step>/          weights of the best epoch at that step
    finished/<generation>/                  the finished checkpoint
    tensorboard/                            event files, whose names are unique
    jobs/                                   the job documents of the worker groups

The generation is the number of the chief that wrote it (see `lease`). Readers prefer the newest
generation, then the newest step. A chief never changes what another generation wrote, except by
deleting old checkpoints. Only artifacts with a manifest are read; it is uploaded last.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from components.artifacts import transfer
from components.artifacts.checkpoint import checkpoint_directory
from components.artifacts.manifest import MANIFEST_FILENAME, Manifest
from components.errors import DataError
from components.storage.store import open_store

_COMMITTED = re.compile(r"(?:checkpoints|best)/(\d{6})/step-(\d{9})/manifest\.json")
_BAD_MARKER = "bad.txt"


class CheckpointId(NamedTuple):
    """A periodic checkpoint: its chief's generation (0 in a shared directory), and its step."""

    generation: int
    step: int


class RemoteCheckpoints:
    """The checkpoints and event files below a state's URI; no lease is checked here."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.store = open_store(uri)

    def download_latest(self, directory: Path) -> tuple[CheckpointId | None, list[str]]:
        """Download the newest valid checkpoint below `directory`.

        Returns it, or None if there are none at all, and why newer ones were set aside. DataError
        if there are some but none is valid: to start from step 0 is for a person to decide.
        """
        damaged: list[str] = []
        deleted: set[CheckpointId] = set()
        while candidates := [found for found in self.list_checkpoints() if found not in deleted]:
            newest, prefix = candidates[0], _prefix("checkpoints", candidates[0])
            try:
                self.download_checkpoint(newest, directory)
                return newest, damaged
            except DataError as error:
                if not self.store.exists(f"{prefix}/{MANIFEST_FILENAME}"):
                    # Deleted by the retention of a previous chief; a newer checkpoint exists.
                    deleted.add(newest)
                    continue
                damaged.append(str(error))
                self.store.write(f"{prefix}/{_BAD_MARKER}", f"{error}\n".encode())
        if damaged or self._list_set_aside():
            example = damaged[0] if damaged else f"set aside: {max(self._list_set_aside())}"
            raise DataError(
                f"{self.uri}/checkpoints: none of the checkpoints is valid ({example}). "
                f"Remove everything below {self.uri} to train from the start"
            )
        return None, []

    def list_checkpoints(self) -> list[CheckpointId]:
        """All committed checkpoints that were not set aside, newest first."""
        set_aside = self._list_set_aside()
        return [
            checkpoint
            for checkpoint in self._list_committed("checkpoints")
            if _prefix("checkpoints", checkpoint) not in set_aside
        ]

    def download_checkpoint(self, checkpoint: CheckpointId, directory: Path) -> None:
        """Download a checkpoint below `directory`; DataError if it is gone or does not verify."""
        transfer.download_artifact(
            f"{self.uri}/{_prefix('checkpoints', checkpoint)}",
            checkpoint_directory(directory, checkpoint.step),
            "checkpoint",
        )

    def upload_checkpoint(self, directory: Path, checkpoint: CheckpointId) -> None:
        """Upload a committed checkpoint."""
        transfer.upload_artifact(directory, f"{self.uri}/{_prefix('checkpoints', checkpoint)}")

    def download_best(self, step: int, directory: Path) -> None:
        """Download the best weights of this step to `directory`, if some chief uploaded them."""
        for best in self._list_committed("best"):
            if best.step == step:
                uri = f"{self.uri}/{_prefix('best', best)}"
                transfer.download_artifact(uri, directory, "checkpoint")
                return

    def upload_best(self, directory: Path, best: CheckpointId) -> None:
        """Upload the best weights so far."""
        transfer.upload_artifact(directory, f"{self.uri}/{_prefix('best', best)}")

    def upload_finished(self, directory: Path, generation: int) -> None:
        """Upload the finished checkpoint: the training is over from here on."""
        transfer.upload_artifact(directory, f"{self.uri}/finished/{generation:06d}")

    def find_finished_uri(self) -> str | None:
        """The URI of the finished checkpoint, if there is one."""
        suffix = f"/{MANIFEST_FILENAME}"
        found = [key for key in self.store.list("finished") if key.endswith(suffix)]
        return f"{self.uri}/{found[-1].removesuffix(suffix)}" if found else None

    def upload_tensorboard(self, directory: Path) -> None:
        """Upload the event files as they are now."""
        for path in sorted(directory.glob("events.*")):
            self.store.upload(path, f"tensorboard/{path.name}")

    def download_tensorboard(self, directory: Path) -> None:
        """Download the event files of all chiefs."""
        for key in self.store.list("tensorboard"):
            self.store.download(key, directory / key.removeprefix("tensorboard/"))

    def delete_old_checkpoints(self, keep: int) -> None:
        """Delete all but the newest `keep` checkpoints, and best weights that none of those names.

        Call it only after a newer one was committed.
        """
        checkpoints = self.list_checkpoints()
        for checkpoint in checkpoints[keep:]:
            self._delete(_prefix("checkpoints", checkpoint))
        best = self._list_committed("best")
        if len(best) > 1:
            needed = {self._read_best_step(checkpoint) for checkpoint in checkpoints[:keep]}
            for unneeded in (found for found in best if found.step not in needed):
                self._delete(_prefix("best", unneeded))

    def _read_best_step(self, checkpoint: CheckpointId) -> int:
        manifest: Manifest = transfer.read_remote_manifest(
            self.store, _prefix("checkpoints", checkpoint), "checkpoint"
        )
        return int(manifest.content["position"]["best_step"])

    def _delete(self, prefix: str) -> None:
        self.store.delete(f"{prefix}/{MANIFEST_FILENAME}")  # first, so that nobody starts to read
        self.store.clear(prefix)

    def _list_committed(self, kind: str) -> list[CheckpointId]:
        matches = (_COMMITTED.fullmatch(key) for key in self.store.list(kind))
        found = (CheckpointId(int(match[1]), int(match[2])) for match in matches if match)
        return sorted(found, reverse=True)

    def _list_set_aside(self) -> set[str]:
        suffix = f"/{_BAD_MARKER}"
        keys = self.store.list("checkpoints")
        return {key.removesuffix(suffix) for key in keys if key.endswith(suffix)}


def _prefix(kind: str, checkpoint: CheckpointId) -> str:
    return f"{kind}/{checkpoint.generation:06d}/step-{checkpoint.step:09d}"
