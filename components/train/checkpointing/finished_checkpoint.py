"""A training that was finished is not done again: its checkpoint is found by what was to be learned, wherever it ran."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from components.artifacts import manifest, transfer
from components.artifacts.checkpoint import CheckpointContent, open_checkpoint
from components.storage.uri import has_scheme
from components.train.checkpointing.remote_checkpoints import RemoteCheckpoints
from components.train.job import StateLayout


def is_finished(state: str) -> bool:
    """Whether the training whose state lies there (a path or a URI) has a finished checkpoint."""
    if has_scheme(state):
        return RemoteCheckpoints(state).finished() is not None
    return (StateLayout(Path(state)).finished / manifest.MANIFEST_FILENAME).exists()


def export_finished_checkpoint(state: str, output: Path) -> CheckpointContent:
    """Seal the finished checkpoint, with the event files of TensorBoard, in `output`; DataError if it does not verify."""
    if not has_scheme(state):
        files = StateLayout(Path(state))
        return _seal(files.finished, files.tensorboard, output)
    remote = RemoteCheckpoints(state)
    uri = remote.finished()
    assert uri is not None
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".finished-", dir=output.parent) as work:
        files = StateLayout(Path(work))
        transfer.download_artifact(uri, files.finished, "checkpoint")
        remote.fetch_tensorboard(files.tensorboard)
        return _seal(files.finished, files.tensorboard, output)


def _seal(checkpoint: Path, tensorboard: Path, output: Path) -> CheckpointContent:
    opened = open_checkpoint(checkpoint)
    found = opened.manifest
    with manifest.staged_artifact(output) as directory:
        shutil.copytree(checkpoint, directory, dirs_exist_ok=True)
        (directory / manifest.MANIFEST_FILENAME).unlink()
        shutil.copytree(tensorboard, directory / "tensorboard", dirs_exist_ok=True)
        manifest.commit(
            directory, "checkpoint", content=found.content, inputs=found.inputs, config=found.config
        )
    return opened.content
