"""Finds and exports the finished checkpoint of a training, so that none is repeated."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from components.artifacts import transfer
from components.artifacts.checkpoint import CheckpointContent, open_checkpoint
from components.artifacts.manifest import MANIFEST_FILENAME, commit, staged_artifact
from components.storage.uri import has_scheme
from components.train.checkpointing.remote_checkpoints import RemoteCheckpoints
from components.train.job import StateLayout


def is_finished(state: str) -> bool:
    """Whether the training whose state is at this path or URI has a finished checkpoint."""
    if has_scheme(state):
        return RemoteCheckpoints(state).find_finished_uri() is not None
    return (StateLayout(Path(state)).finished_checkpoint / MANIFEST_FILENAME).exists()


def export_finished_checkpoint(state: str, output: Path) -> CheckpointContent:
    """Commit finished checkpoint and TensorBoard files to `output`; DataError if corrupt."""
    if not has_scheme(state):
        layout = StateLayout(Path(state))
        return _copy_checkpoint(layout.finished_checkpoint, layout.tensorboard, output)
    remote = RemoteCheckpoints(state)
    uri = remote.find_finished_uri()
    assert uri is not None
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".finished-", dir=output.parent) as work:
        layout = StateLayout(Path(work))
        transfer.download_artifact(uri, layout.finished_checkpoint, "checkpoint")
        remote.download_tensorboard(layout.tensorboard)
        return _copy_checkpoint(layout.finished_checkpoint, layout.tensorboard, output)


def _copy_checkpoint(checkpoint: Path, tensorboard: Path, output: Path) -> CheckpointContent:
    artifact = open_checkpoint(checkpoint)
    manifest = artifact.manifest
    with staged_artifact(output) as directory:
        shutil.copytree(checkpoint, directory, dirs_exist_ok=True)
        (directory / MANIFEST_FILENAME).unlink()
        shutil.copytree(tensorboard, directory / "tensorboard", dirs_exist_ok=True)
        commit(
            directory,
            "checkpoint",
            content=manifest.content,
            inputs=manifest.inputs,
            config=manifest.config,
        )
    return artifact.content
