"""95% intervals by drawing rows again, from counts of rows that are alike.

Rows are drawn with replacement; the interval is that of the percentiles (B. Efron and
R. Tibshirani, "An introduction to the bootstrap", 1993, chapter 13). The counts of a draw are
multinomial, so that memory grows with the different rows and not with all of them. Equal counts
give equal bits: the bootstrap has a fixed seed and NumPy's frozen generator.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
MIN_RESAMPLES = 200
MAX_DRAWN_COUNTS = 1 << 23
"""Counts of all draws together, beyond which there are fewer draws: a draw takes time per count."""
SEED = 20240229
BLOCK_COUNTS = 1 << 20
"""Counts of resamples that are held at a time."""

Counts = npt.NDArray[np.int64]


class RowCounts:
    """Counts rows by a number that says everything about them, from parts in any order."""

    def __init__(self) -> None:
        self.keys = np.empty(0, np.int64)
        self.counts = np.empty(0, np.int64)

    def add(self, keys: npt.NDArray[np.int64]) -> None:
        """Add rows: their numbers [rows]."""
        found, counts = np.unique(keys, return_counts=True)
        merged, positions = np.unique(np.concatenate([self.keys, found]), return_inverse=True)
        summed = np.zeros(len(merged), np.int64)
        np.add.at(summed, positions, np.concatenate([self.counts, counts]))
        self.keys, self.counts = merged, summed

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.counts.sum())


def bootstrap_interval(
    counts: Counts, measure: Callable[[Counts], npt.NDArray[np.float64]]
) -> tuple[float, float]:
    """The interval of what `measure` gives for counts of draws [draws, counts]: [draws]."""
    generator = np.random.RandomState(SEED)
    rows = int(counts.sum())
    shares = counts / rows
    block = max(1, BLOCK_COUNTS // len(shares))
    resamples = min(RESAMPLES, max(MIN_RESAMPLES, MAX_DRAWN_COUNTS // len(shares)))
    values = np.concatenate(
        [
            measure(generator.multinomial(rows, shares, min(block, resamples - start)))
            for start in range(0, resamples, block)
        ]
    )
    low, high = np.quantile(values, [0.025, 0.975]).tolist()
    return low, high
