"""Reads the batches of an epoch plan ahead of the step that needs them, one slice per replica."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.artifacts.task.label_columns import LabelArray
from components.artifacts.token_shards import SplitReader
from components.train.loop.batch_plan import EpochPlan, RowIndices, SliceRows, replica_slice

PREFETCH_BATCHES = 4
HOST_DEVICE = "/cpu:0"
"""Tensors made without a device would be made on the first GPU, whichever replica they are for."""


class Batch(NamedTuple):
    """One replica's slice of a batch: NumPy arrays on the host, tensors in a step."""

    inputs: Any
    """One of: token positions, int32 [rows, width], the index of each token in `unique_token_ids`;
    token ids, int32 [rows, width]; a frozen encoder's features, float32 [rows, hidden]."""
    unique_token_ids: Any
    """int32 [unique]: the batch's different token ids, ascending, equal on all replicas;
    empty unless `inputs` are token positions."""
    mask: Any
    """int32 [rows, width]: 1 for a token, 0 for padding; [rows, 0] for features."""
    labels: Any
    """int32 [rows]; uint8 [rows, classes] for several labels; standardized numbers, float32 [rows].
    """
    first_row: Any
    """int64 scalar: the position of the slice's first row in the batch."""


@dataclass(frozen=True)
class SplitInputs:
    """A split's labels, and its padded token ids or a frozen encoder's features.

    `read` maps row numbers and a width to the rows' values, whose type is `spec`. With
    `has_unique_token_ids` a batch names its tokens by their positions among the different ones, so
    that replicas can add up the gradients of these embeddings alone.
    """

    lengths: npt.NDArray[np.int32]
    labels: LabelArray
    read: Callable[[RowIndices, int], npt.NDArray[Any]]
    spec: tf.TensorSpec
    has_token_ids: bool = False
    has_unique_token_ids: bool = False
    pad_id: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def label_spec(self) -> tf.TensorSpec:
        """The type of the labels of any number of rows."""
        some = self.labels[:0]
        return tf.TensorSpec((None, *some.shape[1:]), tf.as_dtype(some.dtype))

    @classmethod
    def from_tokens(
        cls,
        split: SplitReader,
        pad_id: int,
        *,
        has_unique_token_ids: bool,
        task: TaskInfo = SINGLE_LABEL,
    ) -> SplitInputs:
        """Rows of token ids, int32 [rows, width], padded with 0."""
        return cls(
            split.read_lengths(),
            _read_targets(split, task),
            split.read_padded,
            tf.TensorSpec((None, None), tf.int32),
            has_token_ids=True,
            has_unique_token_ids=has_unique_token_ids,
            pad_id=pad_id,
        )

    @classmethod
    def from_features(
        cls,
        split: SplitReader,
        features: npt.NDArray[np.float32],
        task: TaskInfo = SINGLE_LABEL,
    ) -> SplitInputs:
        """Rows of features, float32 [rows, hidden]; all rows have the length of one token."""

        def read_features(rows: RowIndices, _: int) -> npt.NDArray[np.float32]:
            return features[rows]

        return cls(
            np.ones(len(features), np.int32),
            _read_targets(split, task),
            read_features,
            tf.TensorSpec((None, features.shape[1]), tf.float32),
        )

    def read_batch(self, rows: RowIndices, width: int) -> Batch:
        """The entire batch of these rows, padded to `width`: the only time that they are read."""
        values = self.read(rows, width)
        unique_token_ids = np.zeros(0, np.int32)
        mask = np.zeros((len(rows), 0), np.int32)
        if self.has_token_ids:
            mask = (values != self.pad_id).astype(np.int32)
        if self.has_unique_token_ids:
            unique_token_ids = np.unique(values)
            values = np.searchsorted(unique_token_ids, values).astype(np.int32)
        return Batch(values, unique_token_ids, mask, self.labels[rows], 0)


def _read_targets(split: SplitReader, task: TaskInfo) -> LabelArray:
    """What the model is to compute of each row: its labels, or its number, standardized."""
    labels = split.read_labels()
    if task.kind != "regression":
        return labels
    mean, std = task.scale
    numbers: npt.NDArray[np.float64] = labels[:]
    return ((numbers - mean) / std).astype(np.float32)


def slice_batch(batch: Batch, rows: slice, device: str = HOST_DEVICE) -> Batch:
    """The slice's rows of an entire batch, as tensors on the replica's device."""
    with tf.device(HOST_DEVICE):
        tensors = Batch(
            tf.constant(batch.inputs[rows]),
            tf.constant(batch.unique_token_ids),
            tf.constant(batch.mask[rows]),
            tf.constant(batch.labels[rows]),
            tf.constant(rows.start, tf.int64),
        )
    if _is_host_device(device):
        return tensors
    with tf.device(device):
        return Batch(*(tf.identity(tensor) for tensor in tensors))


def _is_host_device(device: str) -> bool:
    spec = tf.DeviceSpec.from_string(device)
    return (spec.device_type, spec.device_index) == ("CPU", 0)


def build_batch_spec(strategy: tf.distribute.Strategy, inputs: SplitInputs) -> Any:
    """The type of what `read_batches` yields, for any number of rows and any width.

    A compiled step needs it, to be traced once: workers whose slices differ in size would otherwise
    trace at different steps, and their collectives would no longer match.
    """
    vector = tf.TensorSpec((None,), tf.int32)
    mask = tf.TensorSpec((None, None), tf.int32)
    spec = Batch(inputs.spec, vector, mask, inputs.label_spec, tf.TensorSpec((), tf.int64))
    return build_local_spec(strategy, spec)


def build_local_spec(strategy: tf.distribute.Strategy, spec: Any) -> Any:
    """The type of `make_local_values` of this type."""
    if len(strategy.extended.worker_devices) == 1:
        return spec
    empty: tf.data.Dataset = tf.data.Dataset.from_generator(lambda: iter(()), output_signature=spec)
    return strategy.distribute_datasets_from_function(lambda _: empty).element_spec


def make_local_values(
    strategy: tf.distribute.Strategy,
    make: Callable[[tf.distribute.experimental.ValueContext], Any],
) -> Any:
    """What `make` returns for each replica of this worker, as an argument of `strategy.run`."""
    values = strategy.experimental_distribute_values_from_function(make)
    if len(strategy.extended.worker_devices) > 1:
        return values
    return tf.nest.map_structure(
        lambda value: strategy.experimental_local_results(value)[0], values
    )


def read_batches(
    strategy: tf.distribute.Strategy,
    inputs: SplitInputs,
    plan: EpochPlan,
    first: int = 0,
    slice_rows: SliceRows = replica_slice,
) -> Iterator[Batch]:
    """The batches for `strategy.run`, from batch `first` to the plan's end; each is read once.

    They are copied to the replicas' devices while the steps before run.

    Not a distributed tf.data iterator: all workers know the plan, so none has to ask the others at
    every step whether they have rows left, and dropping such an iterator at an epoch's end took up
    to 30 s.
    """

    devices = strategy.extended.worker_devices

    def read(index: int) -> Batch:
        batch = inputs.read_batch(plan.batch(index), int(plan.widths[index]))

        def read_slice(context: tf.distribute.experimental.ValueContext) -> Batch:
            replica, replicas = context.replica_id_in_sync_group, context.num_replicas_in_sync
            rows = slice_rows(len(batch.labels), replica, replicas)
            return slice_batch(batch, rows, devices[replica % len(devices)])

        return Batch(*make_local_values(strategy, read_slice))

    with ThreadPoolExecutor(1) as reader:
        pending = deque(
            reader.submit(read, index)
            for index in range(first, min(first + PREFETCH_BATCHES, len(plan)))
        )
        for index in range(first, len(plan)):
            batch = pending.popleft().result()
            if index + PREFETCH_BATCHES < len(plan):
                pending.append(reader.submit(read, index + PREFETCH_BATCHES))
            yield batch
