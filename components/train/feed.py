"""Feeds each replica its share of every batch of a plan, read ahead of the step that needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


def feed(strategy: tf.distribute.Strategy, rows: Rowset, plan: Plan, first: int = 0) -> Iterator[Any]:
    """Distributed batches (inputs, labels, position of the share's first row in the batch) from batch `first` to the plan's end."""
    replicas = strategy.num_replicas_in_sync

    def dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local = replicas // context.num_input_pipelines
        mine = range(context.input_pipeline_id * local, (context.input_pipeline_id + 1) * local)

        def generate() -> Iterator[Any]:
            for index in range(first, len(plan)):
                batch = plan.batch(index)
                for replica in mine:
                    start, share_of_batch = share(batch, replica, replicas)
                    yield rows.read(share_of_batch, int(plan.widths[index])), rows.labels[share_of_batch], start

        signature = (rows.spec, tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.int64))
        return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(READ_AHEAD)

    return iter(strategy.distribute_datasets_from_function(dataset))
