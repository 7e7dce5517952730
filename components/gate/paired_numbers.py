"""Differences between two models that predicted numbers for the same rows, with 95% intervals.

From sums of the squared errors of each row, in units of the rows' standard deviation. The sums are
taken over chunks of the rows, so that they do not depend on how the rows are cut into parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.artifacts.gate_decision import PairedDifference
from components.confidence.chunked_sums import ChunkedSums
from components.confidence.intervals import NORMAL_QUANTILE

Numbers = npt.NDArray[np.float64]


class PairedNumberSums:
    """Adds up squared errors of both models; mean and std are those of the rows' numbers."""

    def __init__(self, mean: float, std: float) -> None:
        self._mean, self._std = mean, std
        self._rows = 0
        self._sums = ChunkedSums()

    def add(self, actual: Numbers, candidate: Numbers, champion: Numbers) -> None:
        """Add rows: numbers, and both predicted ones, [rows] each."""
        first, second = (
            ((predicted - actual) / self._std) ** 2 for predicted in (candidate, champion)
        )
        distance = ((actual - self._mean) / self._std) ** 2
        gain = second - first
        self._rows += len(actual)
        self._sums.add(
            [
                first,
                second,
                first**2,
                second**2,
                first * second,
                gain**2,
                gain * distance,
                distance,
                distance**2,
            ]
        )

    def summarize(self) -> PairedErrors:
        """The means of all rows; after it, no rows may be added."""
        return PairedErrors(
            self._rows, self._std, *(each / self._rows for each in self._sums.totals())
        )


@dataclass(frozen=True)
class PairedErrors:
    """Means over `rows` rows, in units of `std` and powers of it.

    first and second are the squared errors of candidate and champion, gain is second - first, and
    distance the squared distance from the rows' mean.
    """

    rows: int
    std: float
    first: float
    second: float
    first_squared: float
    second_squared: float
    first_second: float
    gain_squared: float
    gain_distance: float
    distance: float
    distance_squared: float

    @property
    def champion_rmse(self) -> float:
        """The champion's RMSE, in the units of the data."""
        return float(self.std * self.second**0.5)

    def compare_r2(self) -> PairedDifference:
        """The candidate's R2 minus the champion's: the gain over the distance.

        The interval of this ratio of means is that of the delta method (W. Cochran, "Sampling
        techniques", 3rd edition, 1977, section 6.5).
        """
        ratio = (self.second - self.first) / self.distance
        variance = (
            self.gain_squared - 2 * ratio * self.gain_distance + ratio**2 * self.distance_squared
        ) / self.distance**2
        return self._add_interval(ratio, variance, 1.0)

    def compare_rmse(self) -> PairedDifference:
        """The candidate's RMSE minus the champion's, below 0 if the candidate is better.

        The interval is that of the delta method: the derivative of the root of x is 1 / (2 root x).
        """
        roots = self.first**0.5, self.second**0.5
        slopes = [1 / (2 * root) if root > 0 else 0.0 for root in roots]
        center = slopes[0] * self.first - slopes[1] * self.second
        variance = (
            slopes[0] ** 2 * self.first_squared
            - 2 * slopes[0] * slopes[1] * self.first_second
            + slopes[1] ** 2 * self.second_squared
            - center**2
        )
        return self._add_interval(roots[0] - roots[1], variance, self.std)

    def _add_interval(self, difference: float, variance: float, unit: float) -> PairedDifference:
        """The difference in a unit, for the variance of what a row adds to it."""
        half = NORMAL_QUANTILE * (max(0.0, variance) / max(1, self.rows - 1)) ** 0.5
        return PairedDifference(
            difference=unit * difference,
            low=unit * (difference - half),
            high=unit * (difference + half),
        )
