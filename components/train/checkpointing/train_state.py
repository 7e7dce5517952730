"""The state of a training that a periodic checkpoint holds: variables, step and metrics so far."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from components.artifacts.checkpoint import (
    EpochMetrics,
    check_same_training,
    checkpoint_directory,
    delete_old_checkpoints,
)
from components.artifacts.manifest import commit, read_manifest, staged_artifact

if TYPE_CHECKING:
    import tensorflow as tf

TENSORS_FILE = "tensors"
LOSSES_FILE = "losses.npy"


class TrainState(BaseModel):
    """Progress of a training.

    `step` is the number of optimizer steps done, `step_losses` their mean losses (stored in a file
    of its own, and only as new as the last `with_losses`). `epoch_loss` and `epoch_correct` are
    sums over the rows of the running epoch. `seconds` and `rows_timed` are the wall time of steps
    and their rows, without the first step of each process, which compiles.
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
    step_losses: tuple[float, ...] = Field(default=(), exclude=True)

    @property
    def rows_per_second(self) -> float:
        """Throughput of the timed steps; 0 before there is one."""
        return self.rows_timed / self.seconds if self.seconds else 0.0

    def with_losses(self, step_losses: Sequence[float]) -> Self:
        """This state with the losses of all its steps."""
        return self.model_copy(update={"step_losses": tuple(step_losses)})

    def after_step(
        self, *, loss_sum: float, correct: float, rows: float, seconds: float, is_timed: bool
    ) -> Self:
        """The state after one more step with these totals."""
        return self.model_copy(
            update={
                "step": self.step + 1,
                "epoch_loss": self.epoch_loss + loss_sum,
                "epoch_correct": self.epoch_correct + correct,
                "epoch_seconds": self.epoch_seconds + seconds,
                "seconds": self.seconds + seconds * is_timed,
                "rows_timed": self.rows_timed + int(rows) * is_timed,
            }
        )

    def after_epoch(self, epoch: EpochMetrics, *, is_best: bool) -> Self:
        """The state after the validation of an epoch."""
        update: dict[str, Any] = {
            "history": (*self.history, epoch),
            "epoch_loss": 0.0,
            "epoch_correct": 0.0,
            "epoch_seconds": 0.0,
        }
        if is_best:
            update["best_step"] = self.step
        return self.model_copy(update=update)


def save_train_state(
    root: Path,
    tensors: tf.train.Checkpoint,
    state: TrainState,
    identity: dict[str, object],
    keep: int,
) -> None:
    """Commit the checkpoint of `state.step` below `root`, then delete old ones beyond `keep`."""
    with staged_artifact(checkpoint_directory(root, state.step)) as directory:
        tensors.write(str(directory / TENSORS_FILE))
        np.save(directory / LOSSES_FILE, np.asarray(state.step_losses, np.float64))
        commit(
            directory,
            "checkpoint",
            content={"identity": identity, "position": state.model_dump(mode="json")},
        )
    delete_old_checkpoints(root, keep)


def load_train_state(
    directory: Path, tensors: tf.train.Checkpoint, identity: dict[str, object]
) -> TrainState:
    """Restore all variables from a verified checkpoint; ConfigError for another training's."""
    content = read_manifest(directory, "checkpoint").content
    check_same_training(content["identity"], identity, directory)
    tensors.read(str(directory / TENSORS_FILE)).assert_consumed()
    losses = np.load(directory / LOSSES_FILE).tolist()
    return TrainState.model_validate(content["position"]).with_losses(losses)
