"""The batches of a training: the plan of each epoch, and the validation batches."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from components.config.schema import TrainConfig
from components.train.loop.batch_plan import (
    EpochPlan,
    SliceRows,
    count_batches,
    padding_efficiency,
    plan_by_length,
    plan_epoch,
    replica_slice,
    select_train_buckets,
    widen_short_batch,
)
from components.train.loop.input_pipeline import Batch, SplitInputs, read_batches

MIN_VALIDATION_BATCH_SIZE = 64


class TrainingData:
    """Training and validation rows, in batches that are equal for any number of workers."""

    def __init__(
        self,
        config: TrainConfig,
        strategy: tf.distribute.Strategy,
        train: SplitInputs,
        validation: SplitInputs,
        buckets: tuple[int, ...],
        slice_rows: SliceRows = replica_slice,
        max_length: int | None = None,
    ) -> None:
        """`buckets`: widths that batches are padded to; `slice_rows`: see `read_batches`;
        `max_length`: see `plan_by_length`."""
        self._config, self._strategy = config, strategy
        self._buckets = select_train_buckets(config, buckets)
        self.train, self.validation, self._slice_rows = train, validation, slice_rows
        self._validation_plan = plan_by_length(
            validation.lengths,
            batch_size=max(config.batch_size, MIN_VALIDATION_BATCH_SIZE),
            buckets=buckets,
            max_length=max_length,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return count_batches(len(self.train), self._config.batch_size)

    def plan_epoch(self, epoch: int) -> EpochPlan:
        """The batches of an epoch, which is counted from 0."""
        plan = plan_epoch(
            self.train.lengths,
            batch_size=self._config.batch_size,
            buckets=self._buckets,
            window=self._config.length_grouping_batches,
            seed=self._config.seed,
            epoch=epoch,
        )
        if self._config.xla:
            return widen_short_batch(plan, self._config.batch_size, self._buckets[-1])
        return plan

    def read_train_batches(self, plan: EpochPlan, first: int) -> Iterator[Batch]:
        """The plan's batches from batch `first` on."""
        return read_batches(self._strategy, self.train, plan, first, self._slice_rows)

    def read_validation_batches(self) -> Iterator[Batch]:
        """All validation rows, from the shortest to the longest."""
        plan, slice_rows = self._validation_plan, self._slice_rows
        return read_batches(self._strategy, self.validation, plan, 0, slice_rows)

    def padding_efficiency(self) -> float:
        """Real tokens of the first epoch as a share of all positions computed."""
        return padding_efficiency(self.plan_epoch(0), self.train.lengths)
