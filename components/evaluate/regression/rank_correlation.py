"""The correlation of ranks, from pairs of numbers that come in parts.

C. Spearman, "The proof and measurement of association between two things", American Journal of
Psychology 15 (1904), 72-101; equal numbers share the mean of their ranks. Up to EXACT_ROWS pairs
are held. With more, numbers are ranked in bins, whose edges are quantiles of the held ones, and
only the counts of pairs of bins are kept: within a bin, all count as equal.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

EXACT_ROWS = 1 << 20
BINS = 1 << 10
"""Bins of the numbers, and of the predicted ones, of more than EXACT_ROWS pairs."""

Values = npt.NDArray[np.float64]


class HeldNumbers:
    """The first EXACT_ROWS pairs of numbers, and counts in bins if there are more."""

    def __init__(self, rows: int, exact_rows: int = EXACT_ROWS, bins: int = BINS) -> None:
        self._held = np.empty((2, min(rows, exact_rows)))
        self._rows = 0
        self._bins = bins
        self._binned: _BinnedPairs | None = None

    def add(self, actual: Values, predicted: Values) -> None:
        """Add pairs: [rows] each."""
        free = self._held.shape[1] - self._rows
        part = np.stack([actual[:free], predicted[:free]])
        self._held[:, self._rows : self._rows + part.shape[1]] = part
        self._rows += part.shape[1]
        if len(actual) > free:
            if self._binned is None:
                self._binned = _BinnedPairs(self._held, self._bins)
            self._binned.add(np.stack([actual[free:], predicted[free:]]))

    @property
    def pairs(self) -> Values:
        """The held pairs: numbers and predicted ones, [2, rows]."""
        return self._held[:, : self._rows]

    @property
    def is_exact(self) -> bool:
        """Whether all pairs are held."""
        return self._binned is None

    def correlate_ranks(self) -> float | None:
        """The correlation of the ranks of all pairs; None if either number is always the same."""
        if self._binned is not None:
            return self._binned.correlate_ranks()
        actual, predicted = (_rank(values) for values in self.pairs)
        return _correlate(actual, predicted, np.ones(self._rows))


class _BinnedPairs:
    """Counts pairs by the bins of both numbers; the edges are quantiles of the first pairs."""

    def __init__(self, first: Values, bins: int) -> None:
        shares = np.linspace(0, 1, bins + 1)[1:-1]
        self._edges = [
            np.unique(np.quantile(values, shares, method="inverted_cdf")) for values in first
        ]
        self._counts = np.zeros([len(edges) + 1 for edges in self._edges], np.int64)
        self.add(first)

    def add(self, pairs: Values) -> None:
        """Add pairs [2, rows]."""
        columns = self._counts.shape[1]
        rows_of_bins, columns_of_bins = (
            np.searchsorted(edges, values) for edges, values in zip(self._edges, pairs, strict=True)
        )
        cells = rows_of_bins * columns + columns_of_bins
        self._counts += np.bincount(cells, minlength=self._counts.size).reshape(self._counts.shape)

    def correlate_ranks(self) -> float | None:
        """The correlation of the ranks, where those of a bin share the mean of their ranks."""
        rows, columns = np.nonzero(self._counts)
        first, second = (
            (np.cumsum(counts) - (counts - 1) / 2)[cells]
            for counts, cells in (
                (self._counts.sum(axis=1), rows),
                (self._counts.sum(axis=0), columns),
            )
        )
        return _correlate(first, second, self._counts[rows, columns].astype(np.float64))


def _rank(values: Values) -> Values:
    """Ranks from 1; equal values share the mean of theirs."""
    _, positions, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Values = (np.cumsum(counts) - (counts - 1) / 2)[positions]
    return ranks


def _correlate(first: Values, second: Values, weights: Values) -> float | None:
    """Pearson's correlation of weighted pairs; None if one of the two does not vary."""
    first, second = (each - np.average(each, weights=weights) for each in (first, second))
    variances = (weights * first**2).sum(), (weights * second**2).sum()
    if min(variances) == 0:
        return None
    covariance = (weights * first * second).sum()
    return float(np.clip(covariance / (variances[0] * variances[1]) ** 0.5, -1, 1))
