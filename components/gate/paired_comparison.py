"""Differences between two models that predicted the same rows, with 95% intervals.

Computed from counts of rows by class and both predictions, so that memory grows with the different
combinations and not with the rows. Equal counts give equal bits: the bootstrap has a fixed seed and
NumPy's frozen generator.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.artifacts.gate_decision import PairedDifference
from components.confidence.bootstrap import Counts, RowCounts, bootstrap_interval
from components.confidence.intervals import paired_interval

Indices = npt.NDArray[np.integer]


class PairedCounts:
    """Counts rows by their class and the classes that the candidate and the champion predicted."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._counted = RowCounts()

    def add(self, labels: Indices, candidate: Indices, champion: Indices) -> None:
        """Add rows: indices of classes, [rows] each."""
        self._counted.add(
            (labels.astype(np.int64) * self._classes + candidate) * self._classes + champion
        )

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self._counted.rows

    @property
    def candidate_correct(self) -> int:
        """Rows that the candidate classifies correctly."""
        labels, candidate, _ = self._decode()
        return int(self._counted.counts[labels == candidate].sum())

    @property
    def champion_correct(self) -> int:
        """Rows that the champion classifies correctly."""
        labels, _, champion = self._decode()
        return int(self._counted.counts[labels == champion].sum())

    def compare_accuracy(self) -> PairedDifference:
        """The candidate's accuracy minus the champion's, with its `paired_interval`."""
        labels, candidate, champion = self._decode()
        is_right, was_right = labels == candidate, labels == champion
        gained = int(self._counted.counts[is_right & ~was_right].sum())
        lost = int(self._counted.counts[~is_right & was_right].sum())
        low, high = paired_interval(gained, lost, self.rows)
        return PairedDifference(difference=(gained - lost) / self.rows, low=low, high=high)

    def compare_macro_f1(self) -> PairedDifference:
        """The candidate's macro-F1 minus the champion's.

        The interval is that of the percentiles of a paired bootstrap (P. Koehn, "Statistical
        significance tests for machine translation evaluation", EMNLP 2004, 388-395): rows are drawn
        with replacement, and both models are measured on the same draw. The counts of a draw are
        multinomial. A draw's macro-F1 is the mean over the classes that it has rows of.
        """
        low, high = bootstrap_interval(self._counted.counts, self._macro_f1_differences)
        (difference,) = self._macro_f1_differences(self._counted.counts[np.newaxis]).tolist()
        return PairedDifference(difference=difference, low=low, high=high)

    def _macro_f1_differences(self, counts: Counts) -> npt.NDArray[np.float64]:
        """Candidate minus champion for counts [draws, combinations]: [draws]."""
        labels, candidate, champion = self._decode()
        support = self._sum_by_class(counts, labels)
        candidate_f1, champion_f1 = (
            2
            * self._sum_by_class(counts * (labels == predicted), labels)
            / np.maximum(support + self._sum_by_class(counts, predicted), 1)
            for predicted in (candidate, champion)
        )
        # A class without rows has no correct rows either, so that both its F1 scores are 0.
        sums = (candidate_f1 - champion_f1).sum(axis=1)
        differences: npt.NDArray[np.float64] = sums / (support > 0).sum(axis=1)
        return differences

    def _sum_by_class(self, counts: Counts, classes: Indices) -> Counts:
        """Counts [draws, combinations] summed by the combinations' classes: [draws, classes]."""
        order = np.argsort(classes, kind="stable")
        present, starts = np.unique(classes[order], return_index=True)
        sums = np.zeros((len(counts), self._classes), np.int64)
        sums[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
        return sums

    def _decode(self) -> tuple[Counts, Counts, Counts]:
        """Class, candidate's and champion's prediction of each combination."""
        rest, champion = np.divmod(self._counted.keys, self._classes)
        labels, candidate = np.divmod(rest, self._classes)
        return labels, candidate, champion
