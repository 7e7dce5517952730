"""Thresholds of confidence: which answers count, how many these are, and how many are right.

The confidence of an answer is its largest score. A model that abstains below a threshold trades the
share of texts that it answers (coverage) for precision on them: R. El-Yaniv and Y. Wiener, "On the
foundations of noise-free selective classification", JMLR 11 (2010), 1605-1641. Answers are counted
on a grid of thresholds, so that memory does not depend on the rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.artifacts.report import AnsweredRows
from components.config.evaluate import THRESHOLD_DECIMALS

STEPS = 10**THRESHOLD_DECIMALS
"""The grid has the thresholds 0, 1/STEPS, ... 1."""
MAX_CURVE_POINTS = 100
_GRID = (np.arange(STEPS + 1) / STEPS).astype(np.float32)

Scores = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]


def are_confident(scores: Scores, threshold: float) -> npt.NDArray[np.bool_]:
    """Whether the largest score of each row reaches the threshold; compared in float32.

    The served graph compares the same way, so that equal scores are answered alike.
    """
    reached: npt.NDArray[np.bool_] = scores.max(axis=1) >= np.float32(threshold)
    return reached


class AnswerCounter:
    """Counts rows and right answers by confidence, from parts in any order."""

    def __init__(self) -> None:
        self._rows = np.zeros(STEPS + 1, np.int64)
        self._correct = np.zeros(STEPS + 1, np.int64)

    def add(self, labels: npt.NDArray[np.int32], scores: Scores) -> None:
        """Add rows: labels [rows], class probabilities [rows, classes], all of them finite."""
        # The last threshold of the grid that the confidence reaches.
        bins = np.searchsorted(_GRID, scores.max(axis=1), side="right") - 1
        is_correct = scores.argmax(axis=1) == labels
        self._rows += np.bincount(bins, minlength=STEPS + 1)
        self._correct += np.bincount(bins[is_correct], minlength=STEPS + 1)

    def choose_threshold(self, precision: float) -> AnsweredRows | None:
        """The smallest threshold of the grid at which the answers reach the precision, or None.

        Of all that reach it, this one answers the most rows. At least one is answered.
        """
        answered, correct = self._count_reached()
        reaches = (answered > 0) & (correct >= precision * answered)
        return _describe(int(np.argmax(reaches)), answered, correct) if reaches.any() else None

    def find_most_precise(self) -> AnsweredRows:
        """The threshold with the largest precision; of equal ones, the smallest."""
        answered, correct = self._count_reached()
        step = int(np.argmax(correct / np.maximum(answered, 1)))
        return _describe(step, answered, correct)

    def measure(self, threshold: float) -> AnsweredRows:
        """The answers at a threshold of the grid."""
        return _describe(round(threshold * STEPS), *self._count_reached())

    def trace_curve(self) -> tuple[AnsweredRows, ...]:
        """At most MAX_CURVE_POINTS thresholds, rising, about evenly spaced by coverage."""
        answered, correct = self._count_reached()
        counts, steps = np.unique(answered, return_index=True)
        counts, steps = counts[counts > 0], steps[counts > 0]
        targets = np.linspace(counts[0], counts[-1], MAX_CURVE_POINTS)
        chosen = np.unique(np.searchsorted(counts, targets))
        return tuple(_describe(int(step), answered, correct) for step in steps[chosen][::-1])

    def _count_reached(self) -> tuple[Counts, Counts]:
        """Rows, and right answers, whose confidence reaches each threshold of the grid."""
        answered, correct = (np.cumsum(part[::-1])[::-1] for part in (self._rows, self._correct))
        return answered, correct


def _describe(step: int, answered: Counts, correct: Counts) -> AnsweredRows:
    return AnsweredRows(
        threshold=step / STEPS,
        rows=int(answered[0]),
        answered=int(answered[step]),
        correct=int(correct[step]),
    )
