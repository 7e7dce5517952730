"""Differences between two models that gave labels to the same rows, with 95% intervals.

Computed from counts of rows by the numbers of their labels and of those that each model got right,
so that memory grows with the different combinations and not with the rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.artifacts.gate_decision import PairedDifference
from components.confidence.bootstrap import Counts, RowCounts, bootstrap_interval
from components.confidence.intervals import paired_interval

Given = npt.NDArray[np.bool_]


class PairedLabelCounts:
    """Counts rows by the labels that they have, and that the candidate and the champion gave."""

    def __init__(self, classes: int) -> None:
        self._sizes = (classes + 1, 2 * classes + 1, classes + 1, 2 * classes + 1)
        self._counted = RowCounts()
        self._gained = self._lost = 0

    def add(self, labels: Given, candidate: Given, champion: Given) -> None:
        """Add rows: whether they have, and are given, each class, [rows, classes] each."""
        own = np.count_nonzero(labels, axis=1)
        figures = []
        for given in (candidate, champion):
            figures += [
                np.count_nonzero(labels & given, axis=1),
                own + np.count_nonzero(given, axis=1),
            ]
        self._counted.add(np.ravel_multi_index(figures, self._sizes).astype(np.int64))
        is_right, was_right = ((labels == given).all(axis=1) for given in (candidate, champion))
        self._gained += int(np.count_nonzero(is_right & ~was_right))
        self._lost += int(np.count_nonzero(~is_right & was_right))

    @property
    def champion_micro_f1(self) -> float:
        """The champion's micro-F1; 0 if no row has, or is given, a label."""
        _, champion = self._micro_f1(self._counted.counts[np.newaxis])
        return float(champion[0])

    def compare_micro_f1(self) -> PairedDifference:
        """The candidate's micro-F1 minus the champion's, with a bootstrap of the rows."""
        low, high = bootstrap_interval(self._counted.counts, self._differences)
        (difference,) = self._differences(self._counted.counts[np.newaxis]).tolist()
        return PairedDifference(difference=difference, low=low, high=high)

    def compare_subset_accuracy(self) -> PairedDifference:
        """The difference of the shares of rows whose labels are all right (`paired_interval`)."""
        rows = self._counted.rows
        low, high = paired_interval(self._gained, self._lost, rows)
        return PairedDifference(difference=(self._gained - self._lost) / rows, low=low, high=high)

    def _differences(self, counts: Counts) -> npt.NDArray[np.float64]:
        candidate, champion = self._micro_f1(counts)
        return candidate - champion

    def _micro_f1(self, counts: Counts) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Candidate's and champion's micro-F1 for counts [draws, combinations]: [draws] each."""
        figures = np.unravel_index(self._counted.keys, self._sizes)
        first, second = (
            2 * (counts @ right) / np.maximum(counts @ total, 1)
            for right, total in (figures[:2], figures[2:])
        )
        return first, second
