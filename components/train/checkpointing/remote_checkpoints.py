"""A training's state in object storage: what is sealed there is never touched by an older chief, and never read in part.

Layout below the state's URI, a generation being the number of a chief (see `lease`):

    checkpoints/<generation>/step-<step>/   periodic checkpoints; a `bad.txt` beside the files sets one aside
    best/<generation>/step-<step>/          weights of the best epoch at that step
    finished/<generation>/                  the finished checkpoint
    tensorboard/                            event files, whose names are unique
    jobs/                                   what the gangs were told

Readers prefer the newest generation, then the newest step.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from components.artifacts import checkpoint as checkpoints
from components.artifacts import manifest, transfer
from components.artifacts.manifest import Manifest
from components.errors import DataError
from components.storage.store import open_store

_SEALED = re.compile(r"(?:checkpoints|best)/(\d{6})/step-(\d{9})/manifest\.json")
_BAD = "bad.txt"


class CheckpointId(NamedTuple):
    """A periodic checkpoint: the generation of the chief that wrote it (0 on a shared directory), and its step."""

    generation: int
    step: int


class RemoteCheckpoints:
    """Reads and writes below a state's URI; no lease is checked here."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.store = open_store(uri)

    def fetch_newest(self, directory: Path) -> tuple[CheckpointId | None, list[str]]:
        """Bring the newest checkpoint that verifies below `directory`; it, and what was wrong with newer ones, which are set aside.

        DataError if there are some but none is valid: starting afresh is for a person to decide.
        """
        complaints: list[str] = []
        gone: set[CheckpointId] = set()
        while candidates := [choice for choice in self.checkpoints() if choice not in gone]:
            newest, folder = candidates[0], _folder("checkpoints", candidates[0])
            try:
                self.fetch_checkpoint(newest, directory)
                return newest, complaints
            except DataError as error:
                if not self.store.exists(f"{folder}/{manifest.MANIFEST_FILENAME}"):
                    gone.add(
                        newest
                    )  # an older chief's retention was quicker; what it kept instead is newer
                    continue
                complaints.append(str(error))
                self.store.write(f"{folder}/{_BAD}", f"{error}\n".encode())
        if complaints or self._set_aside():
            found = complaints[0] if complaints else f"set aside: {sorted(self._set_aside())[-1]}"
            raise DataError(
                f"{self.uri}/checkpoints: none of the checkpoints is valid ({found}). Remove everything below {self.uri} to train from the start"
            )
        return None, []

    def checkpoints(self) -> list[CheckpointId]:
        """All sealed checkpoints that were not set aside, newest first."""
        bad = self._set_aside()
        return [
            choice
            for choice in self._sealed("checkpoints")
            if _folder("checkpoints", choice) not in bad
        ]

    def fetch_checkpoint(self, choice: CheckpointId, directory: Path) -> None:
        """Bring a checkpoint to its place below `directory`; DataError if it is gone or does not verify."""
        transfer.download_artifact(
            f"{self.uri}/{_folder('checkpoints', choice)}",
            checkpoints.checkpoint_directory(directory, choice.step),
            "checkpoint",
        )

    def push_checkpoint(self, directory: Path, choice: CheckpointId) -> None:
        """Upload a sealed checkpoint."""
        transfer.upload_artifact(directory, f"{self.uri}/{_folder('checkpoints', choice)}")

    def fetch_best(self, step: int, directory: Path) -> None:
        """Make `directory` the weights that were the best at `step`, if some chief saved them."""
        for choice in self._sealed("best"):
            if choice.step == step:
                transfer.download_artifact(
                    f"{self.uri}/{_folder('best', choice)}", directory, "checkpoint"
                )
                return

    def push_best(self, directory: Path, choice: CheckpointId) -> None:
        """Upload the weights that are the best so far."""
        transfer.upload_artifact(directory, f"{self.uri}/{_folder('best', choice)}")

    def push_finished(self, directory: Path, generation: int) -> None:
        """Upload the finished checkpoint: from here on the training is over."""
        transfer.upload_artifact(directory, f"{self.uri}/finished/{generation:06d}")

    def finished(self) -> str | None:
        """The URI of the finished checkpoint, if there is one."""
        found = [
            key
            for key in self.store.list("finished")
            if key.endswith(f"/{manifest.MANIFEST_FILENAME}")
        ]
        return (
            f"{self.uri}/{found[-1].removesuffix(f'/{manifest.MANIFEST_FILENAME}')}"
            if found
            else None
        )

    def push_tensorboard(self, directory: Path) -> None:
        """Upload the event files as they are now."""
        for path in sorted(directory.glob("events.*")):
            self.store.upload(path, f"tensorboard/{path.name}")

    def fetch_tensorboard(self, directory: Path) -> None:
        """Bring the event files of all chiefs."""
        for key in self.store.list("tensorboard"):
            self.store.download(key, directory / key.removeprefix("tensorboard/"))

    def retain(self, keep: int) -> None:
        """Remove all but the newest `keep` checkpoints, and best weights that none of those names; call it after a newer one was sealed."""
        sealed = self.checkpoints()
        for choice in sealed[keep:]:
            self._remove(_folder("checkpoints", choice))
        best = self._sealed("best")
        if len(best) > 1:
            needed = {self._best_step_of(choice) for choice in sealed[:keep]}
            for choice in (choice for choice in best if choice.step not in needed):
                self._remove(_folder("best", choice))

    def _best_step_of(self, choice: CheckpointId) -> int:
        found: Manifest = transfer.read_remote_manifest(
            self.store, _folder("checkpoints", choice), "checkpoint"
        )
        return int(found.content["position"]["best_step"])

    def _remove(self, folder: str) -> None:
        self.store.delete(
            f"{folder}/{manifest.MANIFEST_FILENAME}"
        )  # first, so that nobody begins to read
        self.store.clear(folder)

    def _sealed(self, kind: str) -> list[CheckpointId]:
        found = (_SEALED.fullmatch(key) for key in self.store.list(kind))
        return sorted(
            (CheckpointId(int(match[1]), int(match[2])) for match in found if match), reverse=True
        )

    def _set_aside(self) -> set[str]:
        return {
            key.removesuffix(f"/{_BAD}")
            for key in self.store.list("checkpoints")
            if key.endswith(f"/{_BAD}")
        }


def _folder(kind: str, choice: CheckpointId) -> str:
    return f"{kind}/{choice.generation:06d}/step-{choice.step:09d}"
