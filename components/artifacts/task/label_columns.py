"""How the labels of a split are stored in token shards, and read again, for each kind of task.

| kind | column `label` | read as |
|---|---|---|
| single_label | int32, the class index | int32 [rows] |
| multi_label | list<int32>, the indices of the row's classes, ascending | uint8 [rows, classes] |
| regression | float64, the number in the units of the data | float64 [rows] |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.config.task import TaskKind
from components.errors import DataError

RowNumbers = slice | npt.NDArray[Any]


class LabelArray(Protocol):
    """The labels of a split's rows; `labels[rows]` reads those of a slice or of row numbers."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


class LabelColumn(Protocol):
    """Converts the labels of one split to Arrow, and counts them."""

    type: pa.DataType

    def add(self, labels: Any) -> pa.Array:
        """Return the labels of more rows: Python labels, or what a `LabelArray` gives for rows."""

    def count_classes(self) -> dict[int, int]:
        """Return the rows of each class that has some."""

    def describe_task(self) -> TaskInfo:
        """Return the kind of task, with what the labels so far say about it."""


def create_label_column(kind: TaskKind) -> LabelColumn:
    """Return a new column for labels of a kind of task."""
    if kind == "regression":
        return _NumberColumn()
    return _LabelSetColumn() if kind == "multi_label" else _ClassColumn()


@dataclass
class _ClassColumn:
    type: pa.DataType = field(default_factory=pa.int32)
    counts: Counter[int] = field(default_factory=Counter)

    def add(self, labels: Sequence[int] | npt.NDArray[Any]) -> pa.Array:
        indices = np.asarray(labels, np.int32)
        _count(self.counts, indices)
        return pa.array(indices)

    def count_classes(self) -> dict[int, int]:
        return self.counts

    def describe_task(self) -> TaskInfo:
        return SINGLE_LABEL


@dataclass
class _LabelSetColumn:
    type: pa.DataType = field(
        default_factory=lambda: pa.list_(pa.field("item", pa.int32(), nullable=False))
    )
    counts: Counter[int] = field(default_factory=Counter)

    def add(self, labels: Sequence[tuple[int, ...]] | npt.NDArray[Any]) -> pa.Array:
        if isinstance(labels, np.ndarray):
            labels = [tuple(np.flatnonzero(row).tolist()) for row in labels]
        indices = np.fromiter((index for row in labels for index in row), np.int32)
        _count(self.counts, indices)
        offsets = np.cumsum([0, *map(len, labels)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(indices), type=self.type)

    def count_classes(self) -> dict[int, int]:
        return self.counts

    def describe_task(self) -> TaskInfo:
        return TaskInfo(kind="multi_label")


@dataclass
class _NumberColumn:
    """Mean and variance are updated batch by batch.

    T. F. Chan, G. H. Golub, R. J. LeVeque: Updating formulae and a pairwise algorithm for
    computing sample variances (1979): with n = n_a + n_b and d = mean_b - mean_a, mean = mean_a +
    d n_b / n, and the sum of squared deviations = M_a + M_b + d^2 n_a n_b / n.
    """

    type: pa.DataType = field(default_factory=pa.float64)
    rows: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, labels: Sequence[float] | npt.NDArray[Any]) -> pa.Array:
        numbers = np.asarray(labels, np.float64)
        if len(numbers):
            rows, mean = self.rows + len(numbers), float(numbers.mean())
            difference = mean - self.mean
            self.squares += float(((numbers - mean) ** 2).sum())
            self.squares += difference**2 * self.rows * len(numbers) / rows
            self.mean += difference * len(numbers) / rows
            self.rows = rows
        return pa.array(numbers)

    def count_classes(self) -> dict[int, int]:
        return {}

    def describe_task(self) -> TaskInfo:
        std = float(np.sqrt(self.squares / self.rows)) if self.rows else 0.0
        if not std > 0:
            raise DataError(
                f"all training rows have the number {self.mean:g}; there is nothing to learn: "
                "give more rows, or check data.label"
            )
        return TaskInfo(kind="regression", mean=self.mean, std=std)


def _count(counts: Counter[int], indices: npt.NDArray[np.int32]) -> None:
    counts.update(
        {value: count for value, count in enumerate(np.bincount(indices).tolist()) if count}
    )


class LabelSets:
    """The labels of rows with several each: `labels[rows]` is uint8 [rows, classes].

    Memory is that of the indices that are stored, 4 bytes per label, and of the rows that are read.
    """

    def __init__(self, columns: Sequence[pa.ListArray], classes: int) -> None:
        lengths = [np.diff(column.offsets.to_numpy()) for column in columns]
        self._starts = np.cumsum([0, *np.concatenate([np.zeros(0, np.int64), *lengths])])
        self._indices = np.concatenate(
            [np.zeros(0, np.int32), *(column.flatten().to_numpy() for column in columns)]
        )
        self._classes = classes

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, rows: RowNumbers, /) -> npt.NDArray[np.uint8]:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        numbers = np.asarray(rows, np.int64)
        counts = self._starts[numbers + 1] - self._starts[numbers]
        # Position of each label in `_indices`: its row's start, and its place among the row's.
        positions = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        found = self._indices[np.repeat(self._starts[numbers], counts) + positions]
        labels = np.zeros((len(numbers), self._classes), np.uint8)
        labels[np.repeat(np.arange(len(numbers)), counts), found] = 1
        return labels


def read_label_columns(columns: Sequence[pa.Array], kind: TaskKind, classes: int) -> LabelArray:
    """Return the labels in the columns of a split's record batches, in the order of the rows."""
    if kind == "multi_label":
        return LabelSets(columns, classes)
    dtype = np.float64 if kind == "regression" else np.int32
    parts = [np.zeros(0, dtype), *(column.to_numpy() for column in columns)]
    return np.concatenate(parts).astype(dtype)
