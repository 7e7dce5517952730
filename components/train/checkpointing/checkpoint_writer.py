"""Restores a training's state on every worker, and saves it on the chief."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf

from components import progress
from components.artifacts.artifact import verify_artifact
from components.artifacts.checkpoint import (
    VOCABULARY_FILENAME,
    WEIGHTS_PREFIX,
    CheckpointContent,
)
from components.artifacts.manifest import commit, staged_artifact
from components.artifacts.token_shards import TokenShards
from components.config.renamed_options import to_stored_names
from components.config.schema import TrainConfig
from components.progress import StepName
from components.train.checkpointing.remote_checkpoints import CheckpointId
from components.train.checkpointing.state_store import CheckpointStore, PendingSave
from components.train.checkpointing.train_state import (
    TrainState,
    load_train_state,
    save_train_state,
)
from components.train.loop.collectives import WorkerCollectives


class CheckpointWriter(Protocol):
    """What the trainer needs of checkpoints; every worker calls all of it, in the same order."""

    def restore_or_start(self) -> TrainState:
        """Restore the latest checkpoint; the state to go on from, which is new if there is none."""

    def save(self, state: TrainState) -> None:
        """Save a periodic checkpoint; it may still be uploading when this returns."""

    def save_best(self, state: TrainState) -> None:
        """Save the weights as the best ones so far."""

    def wait_until_finished(self) -> None:
        """Return when all saves are durable; raises what the last one failed with."""

    def finish(self, state: TrainState) -> None:
        """Write the finished checkpoint with the best weights, unless there is one already."""


@dataclass(frozen=True)
class TrainingVariables:
    """The variables of a training, and the identity of the training that their checkpoints name.

    Every variable is mirrored and none is aggregated on read, so one worker alone can write them.
    """

    strategy: tf.distribute.Strategy
    model: tf.keras.Model
    optimizer: tf.keras.optimizers.legacy.Optimizer
    identity: dict[str, object]

    @property
    def tensors(self) -> tf.train.Checkpoint:
        """All variables, as a periodic checkpoint holds them."""
        return tf.train.Checkpoint(model=self.model, optimizer=self.optimizer)

    def load_state(self, directory: Path) -> TrainState:
        """Restore all variables from a periodic checkpoint."""
        with self.strategy.scope():
            return load_train_state(directory, self.tensors, self.identity)

    def load_weights(self, directory: Path) -> None:
        """Restore the model alone."""
        with self.strategy.scope():
            weights = tf.train.Checkpoint(model=self.model)
            weights.read(str(directory / WEIGHTS_PREFIX)).assert_consumed()

    def write_weights(self, directory: Path) -> None:
        """Write the model below a directory of an artifact."""
        (directory / WEIGHTS_PREFIX).parent.mkdir()
        tf.train.Checkpoint(model=self.model).write(str(directory / WEIGHTS_PREFIX))


@dataclass(frozen=True)
class FinishedCheckpoint:
    """What a finished checkpoint holds besides the weights."""

    shards: TokenShards
    config: TrainConfig
    describe: Callable[[TrainState], CheckpointContent]

    def write(self, output: Path, variables: TrainingVariables, state: TrainState) -> None:
        """Commit the checkpoint artifact to `output`."""
        with staged_artifact(output) as directory:
            variables.write_weights(directory)
            self.shards.vocabulary.write(directory / VOCABULARY_FILENAME)
            commit(
                directory,
                "checkpoint",
                content=self.describe(state).model_dump(mode="json"),
                inputs={"shards": self.shards.manifest.digest},
                config=to_stored_names("train", self.config.model_dump(mode="json")),
            )


class NoOpCheckpointWriter:
    """The `CheckpointWriter` of all workers but the chief: it restores, and saves nothing."""

    def __init__(
        self, store: CheckpointStore, variables: TrainingVariables, collectives: WorkerCollectives
    ) -> None:
        self._store, self._variables, self._collectives = store, variables, collectives

    def restore_or_start(self) -> TrainState:
        return _restore_agreed(self._store, self._variables, self._collectives, None)

    def save(self, state: TrainState) -> None:
        """The chief saves."""

    def save_best(self, state: TrainState) -> None:
        """The chief saves."""

    def wait_until_finished(self) -> None:
        """Nothing was saved."""

    def finish(self, state: TrainState) -> None:
        """The chief writes the finished checkpoint."""


class ChiefCheckpointWriter:
    """The `CheckpointWriter` of the chief; saving needs no other worker."""

    def __init__(
        self,
        store: CheckpointStore,
        variables: TrainingVariables,
        collectives: WorkerCollectives,
        finished: FinishedCheckpoint,
        summary_writer: tf.summary.SummaryWriter,
        heartbeat: Callable[[], None],
    ) -> None:
        """`summary_writer` writes the TensorBoard files; each checkpoint uploads them."""
        self._store, self._variables, self._collectives = store, variables, collectives
        self._finished, self._keep = finished, finished.config.keep_checkpoints
        self._summary_writer, self._heartbeat = summary_writer, heartbeat
        self._pending = PendingSave.already_durable()

    def restore_or_start(self) -> TrainState:
        checkpoint, damaged = self._store.latest()
        for reason in damaged:
            progress.report(StepName.TRAIN, f"a damaged checkpoint was set aside: {reason}")
        if checkpoint is not None:
            progress.report(
                StepName.TRAIN,
                f"going on from step {checkpoint.step} (step-{checkpoint.step:09d})",
            )
        return _restore_agreed(self._store, self._variables, self._collectives, checkpoint)

    def save(self, state: TrainState) -> None:
        self.wait_until_finished()
        self._summary_writer.flush()
        write = partial(
            save_train_state,
            tensors=self._variables.tensors,
            state=state,
            identity=self._variables.identity,
            keep=self._keep,
        )
        self._pending = self._store.save_async(state.step, write)
        self._heartbeat()

    def save_best(self, state: TrainState) -> None:
        self.wait_until_finished()
        self._store.save_best(state.step, partial(self._write_best, state.step))
        self._heartbeat()

    def wait_until_finished(self) -> None:
        pending, self._pending = self._pending, PendingSave.already_durable()
        pending.wait_until_finished(self._heartbeat)

    def finish(self, state: TrainState) -> None:
        if self._store.is_finished():
            return
        best = self._store.layout.best
        verify_artifact(best, "checkpoint")
        self._variables.load_weights(best)
        write = partial(self._finished.write, variables=self._variables, state=state)
        self._store.finish(write)

    def _write_best(self, step: int, output: Path) -> None:
        content: dict[str, Any] = {"identity": self._variables.identity, "step": step}
        with staged_artifact(output) as directory:
            self._variables.write_weights(directory)
            commit(directory, "checkpoint", content=content)


def _restore_agreed(
    store: CheckpointStore,
    variables: TrainingVariables,
    collectives: WorkerCollectives,
    chosen: CheckpointId | None,
) -> TrainState:
    """Restore the checkpoint that the chief chose, on every worker; the others give None."""
    agreed = CheckpointId(*(collectives.sum(number) for number in chosen or CheckpointId(0, 0)))
    if not agreed.step:
        return TrainState()
    return variables.load_state(store.restore(agreed, include_best=collectives.is_chief))
