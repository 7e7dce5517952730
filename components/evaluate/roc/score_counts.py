"""Positive and negative rows by score, from which ROC curves are traced.

Up to EXACT_SCORES scores are held, and each distinct score is a threshold. Of more, only counts
are: the scores of a class are counted in bins of equal relative width of min(p, 1 - p) on either
side of 0.5, so that scores near 0 and near 1 are told apart. The bins are the leading bits of the
float32 number; the more classes, the fewer bits.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from components.evaluate.score_checks import Scores

EXACT_SCORES = 1 << 22
MAX_BINS = 1 << 21
"""Bins of all classes together; each has two counts of 8 bytes."""
MANTISSA_BITS = 23
OCTAVES_BELOW_HALF = 126
"""Powers of two that float32 has below 0.5."""
FINE_OCTAVES = 24
"""Those with bins of full resolution, on both sides: a float32 below 1 is at most 1 - 2^-24."""
COARSE_OCTAVES = OCTAVES_BELOW_HALF - FINE_OCTAVES
"""The smaller numbers down to 0, which only scores near 0 can be: their bins are COARSENESS times
as wide."""
COARSENESS = 8
OCTAVES = 2 * FINE_OCTAVES + COARSE_OCTAVES // COARSENESS + 1
BLOCK_SCORES = 1 << 20

AnyLabels = npt.NDArray[np.integer]
"""The class of each row, [rows], or whether it has each of the classes, 0 or 1: [rows, classes]."""


class ScoreCounts(NamedTuple):
    """Positive and negative rows by threshold, a score that all of them reach.

    thresholds: float64, falling; positives and negatives: int64. `exact` says whether the rows of
    a threshold have this very score, not one between it and the threshold before.
    """

    thresholds: npt.NDArray[np.float64]
    positives: npt.NDArray[np.int64]
    negatives: npt.NDArray[np.int64]
    exact: bool


class ScoreCounter(Protocol):
    """Counts rows by score, one class against the rest."""

    def add(self, labels: AnyLabels, scores: Scores) -> None:
        """Add a part of labels and of scores [rows, classes]."""

    def count_class(self, number: int) -> ScoreCounts:
        """The counts of one class."""

    def count_pairs(self) -> ScoreCounts:
        """The counts of all (row, class) pairs."""


def make_score_counter(rows: int, classes: int) -> ScoreCounter:
    """A counter for `rows` rows in all: exact, or binned for more than EXACT_SCORES scores."""
    return HeldScores(rows, classes) if rows * classes <= EXACT_SCORES else BinnedScores(classes)


class HeldScores:
    """Holds all scores: 4 bytes each, and some 40 more while the pairs are counted."""

    def __init__(self, rows: int, classes: int) -> None:
        self._is_positive = np.zeros((classes, rows), bool)
        self._scores = np.empty((classes, rows), np.float32)
        self._rows = 0

    def add(self, labels: AnyLabels, scores: Scores) -> None:
        """Add a part of labels and of scores [rows, classes]."""
        part = slice(self._rows, self._rows + len(labels))
        rows, classes = _find_positive_pairs(labels)
        self._is_positive[classes, self._rows + rows] = True
        self._scores[:, part] = scores.T
        self._rows = part.stop

    def count_class(self, number: int) -> ScoreCounts:
        """The counts of one class."""
        scores = self._scores[number]
        return _count_distinct(scores, scores[self._is_positive[number]])

    def count_pairs(self) -> ScoreCounts:
        """The counts of all (row, class) pairs."""
        return _count_distinct(self._scores.ravel(), self._scores[self._is_positive])


def _find_positive_pairs(
    labels: AnyLabels,
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
    """The rows and the classes of the pairs in which the row has the class."""
    if labels.ndim == 1:
        return np.arange(len(labels)), labels
    rows, classes = np.nonzero(labels)
    return rows, classes


def _count_distinct(
    scores: npt.NDArray[np.float32], positive: npt.NDArray[np.float32]
) -> ScoreCounts:
    """Counts of each distinct one of `scores`, of which `positive` are those of positive rows."""
    values, counts = np.unique(scores, return_counts=True)
    positives = np.bincount(np.searchsorted(values, positive), minlength=len(values))
    return ScoreCounts(
        values[::-1].astype(np.float64), positives[::-1], (counts - positives)[::-1], exact=True
    )


class BinnedScores:
    """Counts scores in bins: memory depends on MAX_BINS alone."""

    def __init__(self, classes: int, max_bins: int = MAX_BINS) -> None:
        bits = (max_bins // (classes * OCTAVES)).bit_length() - 1
        self._bits = min(max(bits, 0), MANTISSA_BITS)
        self._fine = FINE_OCTAVES << self._bits
        self._below = self._fine + -(-(COARSE_OCTAVES << self._bits) // COARSENESS)
        self._all = np.zeros((classes, self._below + self._fine), np.int64)
        self._positive = np.zeros_like(self._all)

    def add(self, labels: AnyLabels, scores: Scores) -> None:
        """Add a part of labels and of scores [rows, classes]."""
        classes, bins = self._all.shape
        rows, positive = _find_positive_pairs(labels)
        np.add.at(self._positive, (positive, self._find_bins(scores[rows, positive])), 1)
        step = max(1, BLOCK_SCORES // classes)
        for start in range(0, len(labels), step):
            flat_bins = self._find_bins(scores[start : start + step]) + np.arange(classes) * bins
            self._all += np.bincount(flat_bins.ravel(), minlength=self._all.size).reshape(
                self._all.shape
            )

    def count_bins(self) -> int:
        """Bins of all classes together."""
        return self._all.size

    def count_class(self, number: int) -> ScoreCounts:
        """The counts of one class."""
        return self._count(self._all[number], self._positive[number])

    def count_pairs(self) -> ScoreCounts:
        """The counts of all (row, class) pairs."""
        return self._count(self._all.sum(axis=0), self._positive.sum(axis=0))

    def _find_bins(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """The bin of each score; a larger score has an equal or a larger number."""
        scores = scores.astype(np.float32, copy=False)
        distance = np.minimum(scores, 1 - scores)
        # The leading bits of positive floats are in the order of their size.
        leading = distance.view(np.int32) >> (MANTISSA_BITS - self._bits)
        steps = np.maximum(self._largest_leading - leading, 0)
        coarse = self._fine + (steps - self._fine) // COARSENESS
        bins: npt.NDArray[np.int32] = np.where(
            scores < 0.5,
            self._below - 1 - np.where(steps < self._fine, steps, coarse),
            self._below + np.minimum(steps, self._fine - 1),
        )
        return bins

    @property
    def _largest_leading(self) -> int:
        """The leading bits of the largest number below 0.5."""
        return (OCTAVES_BELOW_HALF << self._bits) - 1

    def _count(
        self, counts: npt.NDArray[np.int64], positives: npt.NDArray[np.int64]
    ) -> ScoreCounts:
        used = np.flatnonzero(counts)[::-1]
        return ScoreCounts(
            self._lower_edges(used), positives[used], (counts - positives)[used], exact=False
        )

    def _lower_edges(self, bins: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """A score of each bin that all of its scores reach."""
        above = bins >= self._below
        number = np.where(above, bins - self._below, self._below - 1 - bins)
        coarse = self._fine + (number - self._fine + 1) * COARSENESS - 1
        steps = np.where(above | (number < self._fine), number, coarse)
        leading = np.maximum(self._largest_leading - steps, 0)
        # Above 0.5, the smallest score of a bin has the largest distance from 1.
        patterns = leading + above << (MANTISSA_BITS - self._bits)
        distances = patterns.astype(np.int32).view(np.float32).astype(np.float64)
        edges: npt.NDArray[np.float64] = np.where(above, 1 - distances, distances)
        return edges
