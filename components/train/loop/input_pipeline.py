"""Feeds each replica its share of every batch of a plan, read ahead of the step that needs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.artifacts.token_shards import SplitReader
from components.train.loop.batch_plan import EpochPlan, RowIndices, replica_slice

PREFETCH_BATCHES = 4


class SplitInputs:
    """What the model reads of a split: padded token ids, or cached features of a frozen encoder, with the labels."""

    def __init__(
        self,
        lengths: npt.NDArray[np.int32],
        labels: npt.NDArray[np.int32],
        read: Callable[[RowIndices, int], Any],
        spec: tf.TensorSpec,
        *,
        is_ids: bool = False,
    ):
        self.lengths, self.labels, self.read, self.spec, self.is_ids = (
            lengths,
            labels,
            read,
            spec,
            is_ids,
        )

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of_tokens(cls, split: SplitReader) -> SplitInputs:
        """Rows of token ids, int32 [rows, width], padded with 0."""
        return cls(
            split.read_lengths(),
            split.read_labels(),
            split.read_padded,
            tf.TensorSpec((None, None), tf.int32),
            is_ids=True,
        )

    @classmethod
    def of_features(cls, split: SplitReader, features: npt.NDArray[np.float32]) -> SplitInputs:
        """Rows of features, float32 [rows, hidden]; they have no length, so all count as one token."""

        def read(rows: RowIndices, _: int) -> npt.NDArray[np.float32]:
            return features[rows]

        return cls(
            np.ones(len(features), np.int32),
            split.read_labels(),
            read,
            tf.TensorSpec((None, features.shape[1]), tf.float32),
        )

    def used(self, rows: RowIndices, width: int) -> npt.NDArray[np.int32]:
        """The different token ids among the rows, rising; none where the model reads features."""
        return np.unique(self.read(rows, width)) if self.is_ids else np.zeros(0, np.int32)

    def inputs(self, rows: RowIndices, width: int, used: npt.NDArray[np.int32]) -> Any:
        """What the model reads of the rows; token ids as their places in `used`."""
        values = self.read(rows, width)
        return np.searchsorted(used, values).astype(np.int32) if self.is_ids else values


def batch_spec(strategy: tf.distribute.Strategy, rows: SplitInputs) -> Any:
    """The type of what `feed` yields, of any number of rows and any width: a compiled step needs it, to be traced once.

    Workers whose shares differ in size would otherwise trace at different steps, and their collectives would no longer match.
    """
    many = tf.TensorSpec((None,), tf.int32)
    share_spec = (rows.spec, many, many, tf.TensorSpec((), tf.int64))
    if len(strategy.extended.worker_devices) == 1:
        return share_spec
    none: tf.data.Dataset = tf.data.Dataset.from_generator(
        lambda: iter(()), output_signature=share_spec
    )
    return strategy.distribute_datasets_from_function(lambda _: none).element_spec


def read_batches(
    strategy: tf.distribute.Strategy, rows: SplitInputs, plan: EpochPlan, first: int = 0
) -> Iterator[Any]:
    """Batches (inputs, used, labels, position of the share's first row in the batch) for `strategy.run`, from batch `first` to the plan's end.

    `used` holds the different token ids of the whole batch, the same on all replicas, and the inputs are places in it: so replicas
    can add up gradients of the used embeddings alone.

    Not a distributed tf.data iterator: all workers know the plan, so none has to ask the others at every step whether they have
    rows left, and dropping such an iterator at an epoch's end was seen to take up to 30 s.
    """

    def read(index: int) -> Any:
        batch, width = plan.batch(index), int(plan.widths[index])
        used = rows.used(batch, width)

        def share_of(context: tf.distribute.experimental.ValueContext) -> Any:
            start, mine = replica_slice(
                batch, context.replica_id_in_sync_group, context.num_replicas_in_sync
            )
            inputs = rows.inputs(mine, width, used)
            return (
                tf.constant(inputs),
                tf.constant(used),
                tf.constant(rows.labels[mine]),
                tf.constant(start, tf.int64),
            )

        values = strategy.experimental_distribute_values_from_function(share_of)
        if len(strategy.extended.worker_devices) > 1:
            return values
        return tuple(strategy.experimental_local_results(value)[0] for value in values)

    with ThreadPoolExecutor(1) as ahead:
        waiting = deque(
            ahead.submit(read, index)
            for index in range(first, min(first + PREFETCH_BATCHES, len(plan)))
        )
        for index in range(first, len(plan)):
            batch = waiting.popleft().result()
            if index + PREFETCH_BATCHES < len(plan):
                waiting.append(ahead.submit(read, index + PREFETCH_BATCHES))
            yield batch
