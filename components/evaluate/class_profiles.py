"""Length of the texts of each class, and confidence in right and wrong answers about them.

What is held does not grow with the rows. All sums are of integers, so that results do not depend on
how the rows are cut into parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.artifacts.report import ClassProfile
from components.evaluate.score_checks import Labels, Scores

MAX_CELLS = 1 << 20
"""Counts of texts by class and length, 8 bytes each; with more, neighbouring lengths share one."""
_UNITS = 1 << 24
"""Confidences are added up in units of 2^-24, the resolution of float32 below 1."""

Counts = npt.NDArray[np.int64]


class ClassProfiles:
    """Adds up lengths and confidences by true class; texts have at most `max_length` tokens."""

    def __init__(self, classes: Sequence[str], max_length: int) -> None:
        self._classes, self._max_length = tuple(classes), max_length
        bins = max(1, min(max_length + 1, MAX_CELLS // len(classes)))
        self._width = -(-(max_length + 1) // bins)
        self._lengths = np.zeros((len(classes), -(-(max_length + 1) // self._width)), np.int64)
        self._rows = np.zeros((2, len(classes)), np.int64)
        self._confidence = np.zeros((2, len(classes)), np.int64)

    def add(self, labels: Labels, scores: Scores, lengths: npt.NDArray[np.int32]) -> None:
        """Add a part: labels [rows], finite scores [rows, classes], lengths in tokens [rows]."""
        predicted = scores.argmax(axis=1)
        confidence = scores[np.arange(len(labels)), predicted].astype(np.float64)
        is_right = (predicted == labels).astype(np.intp)
        np.add.at(self._lengths, (labels, lengths // self._width), 1)
        np.add.at(self._rows, (is_right, labels), 1)
        np.add.at(
            self._confidence, (is_right, labels), np.rint(confidence * _UNITS).astype(np.int64)
        )

    def compute(self) -> dict[str, ClassProfile]:
        """The profile of each class, in their order; None for what has no rows."""
        wrong, right = (
            _divide(total, rows) for total, rows in zip(self._confidence, self._rows, strict=True)
        )
        low, median, high = (self._find_quantiles(share) for share in (0.05, 0.5, 0.95))
        return {
            name: ClassProfile(
                tokens_low=low[number],
                tokens_median=median[number],
                tokens_high=high[number],
                confidence_right=right[number],
                confidence_wrong=wrong[number],
            )
            for number, name in enumerate(self._classes)
        }

    def _find_quantiles(self, share: float) -> list[int | None]:
        """The smallest length that at least `share` of a class's texts do not exceed.

        Where several lengths share a count, the largest of them.
        """
        totals = self._lengths.sum(axis=1)
        reached = np.cumsum(self._lengths, axis=1) >= share * totals[:, np.newaxis]
        ends = np.minimum((reached.argmax(axis=1) + 1) * self._width - 1, self._max_length)
        return [
            int(end) if total else None for end, total in zip(ends, totals.tolist(), strict=True)
        ]


def _divide(total: Counts, rows: Counts) -> list[float | None]:
    return [
        value / (count * _UNITS) if count else None
        for value, count in zip(total.tolist(), rows.tolist(), strict=True)
    ]
