"""What a run needs to go on exactly where it was: weights, optimizer and figures, saved by the chief as sealed directories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from pydantic import BaseModel, ConfigDict

from components.artifacts import checkpoint, manifest
from components.artifacts.checkpoint import EpochMetrics

TENSORS = "tensors"
LOSSES = "losses.npy"


class TrainState(BaseModel):
    """Where a run is: optimizer steps done, figures so far.

    `epoch_loss` and `epoch_correct` are sums over the running epoch's rows; `seconds` and `rows_timed` are the wall time of steps and the
    rows they took, without the first step of each process, which compiles.
    """

    model_config = ConfigDict(frozen=True)
    step: int = 0
    history: tuple[EpochMetrics, ...] = ()
    best_step: int = 0
    epoch_loss: float = 0.0
    epoch_correct: float = 0.0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    rows_timed: int = 0


def save(
    root: Path,
    tensors: tf.train.Checkpoint,
    position: TrainState,
    losses: list[float],
    identity: dict[str, object],
    keep: int,
) -> None:
    """Seal the checkpoint of `position.step`, then remove old ones beyond `keep`."""
    with manifest.staged_artifact(
        checkpoint.checkpoint_directory(root, position.step)
    ) as directory:
        tensors.write(str(directory / TENSORS))
        np.save(directory / LOSSES, np.asarray(losses, np.float64))
        manifest.commit(
            directory,
            "checkpoint",
            content={"identity": identity, "position": position.model_dump(mode="json")},
        )
    checkpoint.delete_old_checkpoints(root, keep)


def load(
    directory: Path, tensors: tf.train.Checkpoint, identity: dict[str, object]
) -> tuple[TrainState, list[float]]:
    """Restore every variable from a sealed periodic checkpoint; ConfigError if it was made for something else."""
    content = manifest.read_manifest(directory, "checkpoint").content
    checkpoint.check_same_training(content["identity"], identity, directory)
    tensors.read(str(directory / TENSORS)).assert_consumed()
    return TrainState.model_validate(content["position"]), np.load(directory / LOSSES).tolist()
