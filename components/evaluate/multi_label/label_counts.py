"""Counts of labels that were given and missed: by class, by row, and by pairs of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.artifacts.report.multi_label import (
    MAX_COUNTED_PAIRS_CLASSES,
    LabelCount,
    LabelMetrics,
)
from components.confidence.bootstrap import Counts, RowCounts, bootstrap_interval
from components.evaluate.multi_label.thresholds import ChosenThreshold
from components.evaluate.score_checks import LabelSets

Given = npt.NDArray[np.bool_]


class LabelCounts:
    """Counts labels of rows that come in parts; what is held does not grow with the rows."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self.correct, self.support, self.given = np.zeros((3, classes), np.int64)
        """Rows by class: that have it and are given it, that have it, and that are given it."""
        self._exact_rows = 0
        self._by_row = RowCounts()
        self._label_counts = np.zeros((2, classes + 1), np.int64)
        is_counted = classes <= MAX_COUNTED_PAIRS_CLASSES
        self._pairs = np.zeros((2, classes, classes) if is_counted else (2, 0, 0), np.int64)

    def add(self, labels: LabelSets, predicted: Given) -> None:
        """Add rows: labels and predictions, 0 or 1, [rows, classes] each."""
        has, gets = labels.astype(bool), predicted
        correct = np.count_nonzero(has & gets, axis=1)
        own, given = np.count_nonzero(has, axis=1), np.count_nonzero(gets, axis=1)
        self.correct += np.count_nonzero(has & gets, axis=0)
        self.support += np.count_nonzero(has, axis=0)
        self.given += np.count_nonzero(gets, axis=0)
        self._exact_rows += int(np.count_nonzero((has == gets).all(axis=1)))
        self._by_row.add(encode_rows(correct, own + given, self._classes))
        for counts, labels_of_rows in zip(self._label_counts, (own, given), strict=True):
            counts += np.bincount(labels_of_rows, minlength=self._classes + 1)
        if self._pairs.size:
            for pairs, members in zip(self._pairs, (has, gets), strict=True):
                numbers = members.astype(np.float32)  # exact below 2^24 rows, and multiplied fast
                pairs += np.rint(numbers.T @ numbers).astype(np.int64)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self._by_row.rows

    @property
    def exact_rows(self) -> int:
        """Rows whose labels are all right."""
        return self._exact_rows

    @property
    def wrong_pairs(self) -> int:
        """Pairs of a row and a class that the row misses, or was given without having it."""
        return int((self.support + self.given - 2 * self.correct).sum())

    def compute_micro_f1(self) -> float | None:
        """F1 over all pairs of a row and a class; None if no row has, or is given, a label."""
        total = int((self.support + self.given).sum())
        return 2 * int(self.correct.sum()) / total if total else None

    def bound_micro_f1(self) -> tuple[float, float] | None:
        """The 95% interval of micro-F1, by drawing rows again."""
        if self.compute_micro_f1() is None:
            return None
        correct, total = decode_rows(self._by_row.keys, self._classes)
        return bootstrap_interval(
            self._by_row.counts, lambda counts: divide_f1(counts, correct, total)
        )

    def compute_macro_f1(self) -> float | None:
        """Mean F1 over the classes that rows have; None if there are none."""
        present = self.support > 0
        if not present.any():
            return None
        return float((2 * self.correct[present] / (self.support + self.given)[present]).mean())

    def find_baseline(self) -> tuple[float, tuple[int, ...]]:
        """The largest micro-F1 of giving all rows the same classes, and these, by their indices.

        They are the most frequent ones; of equally good ones, the fewest.
        """
        order = np.argsort(-self.support, kind="stable")
        sizes = np.arange(1, self._classes + 1)
        totals = self.rows * sizes + self.support.sum()
        scores = 2 * np.cumsum(self.support[order]) / totals
        best = int(scores.argmax())
        return float(scores[best]), tuple(sorted(order[: best + 1].tolist()))

    def describe_classes(
        self, classes: Sequence[str], thresholds: Sequence[ChosenThreshold]
    ) -> dict[str, LabelMetrics]:
        """Precision, recall, F1 and support by class name; None where undefined."""
        columns = (each.tolist() for each in (self.correct, self.support, self.given))
        return {
            name: LabelMetrics(
                precision=right / given if given else None,
                recall=right / rows if rows else None,
                f1=2 * right / (rows + given) if rows else None,
                support=rows,
                threshold=chosen.threshold,
                validation_rows=chosen.rows,
            )
            for name, chosen, right, rows, given in zip(classes, thresholds, *columns, strict=True)
        }

    def describe_label_counts(self) -> tuple[LabelCount, ...]:
        """Rows by number of labels, from none to the most that a row has or is given."""
        used = int(np.flatnonzero(self._label_counts.any(axis=0)).max())
        return tuple(
            LabelCount(labels=number, rows=own, predicted_rows=given)
            for number, (own, given) in enumerate(self._label_counts[:, : used + 1].T.tolist())
        )

    def count_pairs(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """Rows that have, and that are given, both of two classes: [classes][classes] each."""
        return tuple(tuple(map(tuple, pairs.tolist())) for pairs in self._pairs)


def encode_rows(
    correct: npt.NDArray[np.integer], total: npt.NDArray[np.integer], classes: int
) -> Counts:
    """A number for each row's labels that are right, and its labels that it has plus is given."""
    keys: Counts = correct.astype(np.int64) * (2 * classes + 1) + total
    return keys


def decode_rows(keys: Counts, classes: int) -> tuple[Counts, Counts]:
    """The right labels, and those that it has plus is given, of each of `encode_rows`' numbers."""
    correct, total = np.divmod(keys, 2 * classes + 1)
    return correct, total


def divide_f1(counts: Counts, correct: Counts, total: Counts) -> npt.NDArray[np.float64]:
    """Micro-F1 of draws with these counts of rows [draws, kinds of rows]: [draws].

    A draw without any label has 0.
    """
    values: npt.NDArray[np.float64] = 2 * (counts @ correct) / np.maximum(counts @ total, 1)
    return values
