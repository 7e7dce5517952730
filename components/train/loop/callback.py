"""Hooks into a training, for progress reports and measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.artifacts.checkpoint import EpochMetrics
    from components.data.split_names import SplitName
    from components.train.checkpointing.train_state import TrainState
    from components.train.loop.batch_plan import EpochPlan
    from components.train.loop.train_step import StepMetrics


class TrainingCallback:
    """Called by the trainer in its own thread; an error ends the training."""

    def on_features_computed(self, split: SplitName, rows: int) -> None:
        """This worker has computed the features of one more batch, of a frozen encoder."""

    def on_epoch_begin(self, rows: int) -> None:
        """An epoch over this many rows begins; none of its batches was asked for."""

    def on_batch_begin(self) -> None:
        """The next batch is about to be read."""

    def on_step_begin(self) -> None:
        """The batch was read; its step begins."""

    def on_step_end(
        self, state: TrainState, metrics: StepMetrics, plan: EpochPlan, index: int
    ) -> None:
        """Batch `index` of the epoch's plan was trained on; the next step may have begun before."""

    def on_validation_begin(self) -> None:
        """The epoch's steps are done, and all weights are up to date."""

    def on_epoch_end(self, state: TrainState, epoch: EpochMetrics) -> None:
        """The epoch was validated, and its weights were saved if they are the best so far."""
