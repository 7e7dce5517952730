"""Differences between two models that predicted the same rows, with 95% intervals.

Computed from counts of rows by class and both predictions, so that memory grows with the different
combinations and not with the rows. Equal counts give equal bits: the bootstrap has a fixed seed and
NumPy's frozen generator.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.artifacts.gate_decision import PairedDifference
from components.confidence.intervals import paired_interval

RESAMPLES = 2000
MIN_RESAMPLES = 200
MAX_DRAWN_COUNTS = 1 << 23
"""Counts of all draws together, beyond which there are fewer draws: a draw takes time per count."""
SEED = 20240229
BLOCK_COUNTS = 1 << 20
"""Counts of resamples that are held at a time."""

Indices = npt.NDArray[np.integer]
Counts = npt.NDArray[np.int64]


class PairedCounts:
    """Counts rows by their class and the classes that the candidate and the champion predicted."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._keys = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)

    def add(self, labels: Indices, candidate: Indices, champion: Indices) -> None:
        """Add rows: indices of classes, [rows] each."""
        part = (labels.astype(np.int64) * self._classes + candidate) * self._classes + champion
        found, counts = np.unique(part, return_counts=True)
        keys, positions = np.unique(np.concatenate([self._keys, found]), return_inverse=True)
        summed = np.zeros(len(keys), np.int64)
        np.add.at(summed, positions, np.concatenate([self._counts, counts]))
        self._keys, self._counts = keys, summed

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self._counts.sum())

    @property
    def candidate_correct(self) -> int:
        """Rows that the candidate classifies correctly."""
        labels, candidate, _ = self._decode()
        return int(self._counts[labels == candidate].sum())

    @property
    def champion_correct(self) -> int:
        """Rows that the champion classifies correctly."""
        labels, _, champion = self._decode()
        return int(self._counts[labels == champion].sum())

    def compare_accuracy(self) -> PairedDifference:
        """The candidate's accuracy minus the champion's, with its `paired_interval`."""
        labels, candidate, champion = self._decode()
        is_right, was_right = labels == candidate, labels == champion
        gained = int(self._counts[is_right & ~was_right].sum())
        lost = int(self._counts[~is_right & was_right].sum())
        low, high = paired_interval(gained, lost, self.rows)
        return PairedDifference(difference=(gained - lost) / self.rows, low=low, high=high)

    def compare_macro_f1(self) -> PairedDifference:
        """The candidate's macro-F1 minus the champion's.

        The interval is that of the percentiles of a paired bootstrap (P. Koehn, "Statistical
        significance tests for machine translation evaluation", EMNLP 2004, 388-395): rows are drawn
        with replacement, and both models are measured on the same draw. The counts of a draw are
        multinomial. A draw's macro-F1 is the mean over the classes that it has rows of.
        """
        generator = np.random.RandomState(SEED)
        shares = self._counts / self.rows
        block = max(1, BLOCK_COUNTS // len(shares))
        resamples = min(RESAMPLES, max(MIN_RESAMPLES, MAX_DRAWN_COUNTS // len(shares)))
        differences = np.concatenate(
            [
                self._macro_f1_differences(
                    generator.multinomial(self.rows, shares, min(block, resamples - start))
                )
                for start in range(0, resamples, block)
            ]
        )
        low, high = np.quantile(differences, [0.025, 0.975]).tolist()
        (difference,) = self._macro_f1_differences(self._counts[np.newaxis]).tolist()
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
        rest, champion = np.divmod(self._keys, self._classes)
        labels, candidate = np.divmod(rest, self._classes)
        return labels, candidate, champion
