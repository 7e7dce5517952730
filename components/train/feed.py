"""Feeds each replica its share of every batch of a plan, read ahead of the step that needs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.artifacts.token_shards import Split
from components.train.batches import Plan, Rows, share

READ_AHEAD = 4


class Rowset:
    """What the model reads of a split: padded token ids, or cached features of a frozen encoder, with the labels."""

    def __init__(
        self, lengths: npt.NDArray[np.int32], labels: npt.NDArray[np.int32], read: Callable[[Rows, int], Any], spec: tf.TensorSpec
    ):
        self.lengths, self.labels, self.read, self.spec = lengths, labels, read, spec

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of_tokens(cls, split: Split) -> Rowset:
        """Rows of token ids, int32 [rows, width], padded with 0."""
        return cls(split.lengths(), split.labels(), split.padded, tf.TensorSpec((None, None), tf.int32))

    @classmethod
    def of_features(cls, split: Split, features: npt.NDArray[np.float32]) -> Rowset:
        """Rows of features, float32 [rows, hidden]; they have no length, so all count as one token."""

        def read(rows: Rows, _: int) -> npt.NDArray[np.float32]:
            return features[rows]

        return cls(np.ones(len(features), np.int32), split.labels(), read, tf.TensorSpec((None, features.shape[1]), tf.float32))


def batch_spec(strategy: tf.distribute.Strategy, rows: Rowset) -> Any:
    """The type of what `feed` yields, of any number of rows and any width: a compiled step needs it, to be traced once.

    Workers whose shares differ in size would otherwise trace at different steps, and their collectives would no longer match.
    """
    share_spec = (rows.spec, tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.int64))
    if len(strategy.extended.worker_devices) == 1:
        return share_spec
    none: tf.data.Dataset = tf.data.Dataset.from_generator(lambda: iter(()), output_signature=share_spec)
    return strategy.distribute_datasets_from_function(lambda _: none).element_spec


def feed(strategy: tf.distribute.Strategy, rows: Rowset, plan: Plan, first: int = 0) -> Iterator[Any]:
    """Batches (inputs, labels, position of the share's first row in the batch) for `strategy.run`, from batch `first` to the plan's end.

    Not a distributed tf.data iterator: all workers know the plan, so none has to ask the others at every step whether they have
    rows left, and dropping such an iterator at an epoch's end was seen to take up to 30 s.
    """

    def read(index: int) -> Any:
        batch, width = plan.batch(index), int(plan.widths[index])

        def share_of(context: tf.distribute.experimental.ValueContext) -> Any:
            start, mine = share(batch, context.replica_id_in_sync_group, context.num_replicas_in_sync)
            return tf.constant(rows.read(mine, width)), tf.constant(rows.labels[mine]), tf.constant(start, tf.int64)

        values = strategy.experimental_distribute_values_from_function(share_of)
        if len(strategy.extended.worker_devices) > 1:
            return values
        return tuple(strategy.experimental_local_results(value)[0] for value in values)

    with ThreadPoolExecutor(1) as ahead:
        waiting = deque(ahead.submit(read, index) for index in range(first, min(first + READ_AHEAD, len(plan))))
        for index in range(first, len(plan)):
            batch = waiting.popleft().result()
            if index + READ_AHEAD < len(plan):
                waiting.append(ahead.submit(read, index + READ_AHEAD))
            yield batch
