"""The columns of predictions by kind of task: their types, and arrays of a part of the rows.

| kind         | label       | predicted   | scores                          |
|--------------|-------------|-------------|---------------------------------|
| single_label | int32       | int32       | list<float32>, one per class    |
| multi_label  | list<int32> | list<int32> | list<float32>, one per class    |
| regression   | double      | float       | none: `predicted` is the number |

Classes are indices. The lists of multi_label are sorted, and empty for a text without labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

ROW = pa.field("row", pa.int64(), nullable=False)
TEXT, TEXT_PAIR = "text", "text_pair"
_LABELS = pa.list_(pa.field("item", pa.int32(), nullable=False))
_SCORES = pa.field(
    "scores", pa.list_(pa.field("item", pa.float32(), nullable=False)), nullable=False
)


def select_labels(
    scores: npt.NDArray[np.float32], thresholds: Sequence[float]
) -> npt.NDArray[np.bool_]:
    """Whether each score [rows, classes] reaches the threshold of its class; compared in float32.

    The served graph compares the same way, so that equal scores are answered alike.
    """
    selected: npt.NDArray[np.bool_] = scores >= np.asarray(thresholds, np.float32)
    return selected


@dataclass(frozen=True)
class Predictions:
    """Labels, predictions and scores of consecutive test rows.

    single_label: labels and predicted int32 [rows]; multi_label: labels uint8 [rows, classes],
    predicted bool [rows, classes]; scores float32 [rows, classes] of both. regression: labels
    float64 [rows], predicted float32 [rows], scores the same as [rows, 1].
    The texts of the first rows are read by `read_first_texts`.
    """

    labels: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)


class PredictionColumns(Protocol):
    """The columns between the row's number and the text."""

    @property
    def fields(self) -> tuple[pa.Field, ...]:
        """Names and types of the columns."""

    def build_arrays(
        self, labels: npt.NDArray[Any], scores: npt.NDArray[np.float32]
    ) -> list[pa.Array]:
        """The columns of rows with these labels and scores."""

    def read_rows(self, batch: pa.RecordBatch) -> Predictions | None:
        """The rows of a part; None if they differ in their number of scores."""


class SingleLabelColumns:
    """One class per text, the first one with the largest score."""

    fields = (
        pa.field("label", pa.int32(), nullable=False),
        pa.field("predicted", pa.int32(), nullable=False),
        _SCORES,
    )

    def build_arrays(
        self, labels: npt.NDArray[Any], scores: npt.NDArray[np.float32]
    ) -> list[pa.Array]:
        """labels: int32 [rows]; scores: float32 [rows, classes]."""
        return [
            pa.array(labels, pa.int32()),
            pa.array(scores.argmax(axis=1), pa.int32()),
            _build_score_lists(scores),
        ]

    def read_rows(self, batch: pa.RecordBatch) -> Predictions | None:
        """The rows of a part; None if they differ in their number of scores."""
        scores = _read_scores(batch)
        if scores is None:
            return None
        return Predictions(batch["label"].to_numpy(), batch["predicted"].to_numpy(), scores)


@dataclass(frozen=True)
class MultiLabelColumns:
    """Any number of classes per text: those whose score reaches their threshold.

    Thresholds, one per class, are needed to write rows only.
    """

    thresholds: tuple[float, ...] = ()

    @property
    def fields(self) -> tuple[pa.Field, ...]:
        """Names and types of the columns."""
        return (
            pa.field("label", _LABELS, nullable=False),
            pa.field("predicted", _LABELS, nullable=False),
            _SCORES,
        )

    def build_arrays(
        self, labels: npt.NDArray[Any], scores: npt.NDArray[np.float32]
    ) -> list[pa.Array]:
        """labels: uint8 [rows, classes]; scores: float32 [rows, classes]."""
        predicted = select_labels(scores, self.thresholds)
        return [
            _build_label_lists(labels),
            _build_label_lists(predicted),
            _build_score_lists(scores),
        ]

    def read_rows(self, batch: pa.RecordBatch) -> Predictions | None:
        """The rows of a part; None if they differ in their number of scores."""
        scores = _read_scores(batch)
        if scores is None:
            return None
        labels, predicted = (
            _read_labels(batch[name], scores.shape[1]) for name in ("label", "predicted")
        )
        if labels is None or predicted is None:
            return None
        return Predictions(labels, predicted.astype(bool), scores)


class RegressionColumns:
    """A number per text."""

    fields = (
        pa.field("label", pa.float64(), nullable=False),
        pa.field("predicted", pa.float32(), nullable=False),
    )

    def build_arrays(
        self, labels: npt.NDArray[Any], scores: npt.NDArray[np.float32]
    ) -> list[pa.Array]:
        """labels: float64 [rows]; scores: float32 [rows, 1], in the units of the data."""
        return [pa.array(labels, pa.float64()), pa.array(scores[:, 0], pa.float32())]

    def read_rows(self, batch: pa.RecordBatch) -> Predictions | None:
        """The rows of a part."""
        predicted = batch["predicted"].to_numpy()
        return Predictions(batch["label"].to_numpy(), predicted, predicted[:, np.newaxis])


def build_schema(columns: PredictionColumns, *, has_pairs: bool) -> pa.Schema:
    """All columns of the file, the row's number first, the texts last."""
    names = (TEXT, TEXT_PAIR) if has_pairs else (TEXT,)
    return pa.schema([ROW, *columns.fields, *(pa.field(name, pa.string()) for name in names)])


def has_columns(schema: pa.Schema, columns: PredictionColumns) -> bool:
    """Whether a file's schema is the one of these columns."""
    return schema in (
        build_schema(columns, has_pairs=False),
        build_schema(columns, has_pairs=True),
    )


def _build_score_lists(scores: npt.NDArray[np.float32]) -> pa.Array:
    count, classes = scores.shape
    values = np.ascontiguousarray(scores, dtype=np.float32).ravel()
    return pa.ListArray.from_arrays(
        pa.array(np.arange(count + 1, dtype=np.int32) * classes, pa.int32()),
        pa.array(values, pa.float32()),
        type=_SCORES.type,
    )


def _build_label_lists(labels: npt.NDArray[Any]) -> pa.Array:
    """The indices of what is not zero, as a list per row."""
    counts = np.count_nonzero(labels, axis=1)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()),
        pa.array(np.nonzero(labels)[1].astype(np.int32), pa.int32()),
        type=_LABELS,
    )


def _read_scores(batch: pa.RecordBatch) -> npt.NDArray[np.float32] | None:
    widths = np.unique(batch["scores"].value_lengths().to_numpy(zero_copy_only=False))
    if len(widths) != 1:
        return None
    scores: npt.NDArray[np.float32] = batch["scores"].flatten().to_numpy()
    return scores.reshape(len(batch), int(widths[0]))


def _read_labels(lists: pa.Array, classes: int) -> npt.NDArray[np.uint8] | None:
    """Zeros and ones [rows, classes]; None for an index that is out of range."""
    indices = lists.flatten().to_numpy()
    if len(indices) and not 0 <= indices.min() <= indices.max() < classes:
        return None
    counts = lists.value_lengths().to_numpy(zero_copy_only=False)
    labels = np.zeros((len(lists), classes), np.uint8)
    labels[np.repeat(np.arange(len(lists)), counts), indices] = 1
    return labels
