"""Metrics of predicted numbers, from numbers that come in parts.

The actual numbers of the test rows are known beforehand: their mean and standard deviation center
and scale all sums, so that these lose no digits and cannot overflow. Sums are taken over chunks of
the rows, so that results do not depend on how the rows are cut into parts. What is held does not
grow with the rows beyond `rank_correlation.EXACT_ROWS` pairs of numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.artifacts.report.regression import NumberSummary, RegressionMetrics
from components.confidence.chunked_sums import ChunkedSums
from components.confidence.intervals import NORMAL_QUANTILE, spearman_interval
from components.evaluate.regression.error_profiles import (
    LargestErrors,
    LengthProfile,
    NumberError,
    count_errors,
    find_error_quantiles,
    select_points,
)
from components.evaluate.regression.rank_correlation import HeldNumbers
from components.evaluate.score_checks import NumberChecks, Numbers, Scores

MIN_ROWS_OF_INTERVAL = 4
"""Fewer rows have no interval."""


class TrainingNumbers(NamedTuple):
    """Mean and standard deviation of the training rows' numbers."""

    mean: float
    std: float


class NumberAccumulator:
    """Metrics of the test rows, whose predicted numbers are added in parts, in their order.

    actual: the numbers of all test rows, [rows]. max_length: of a text, in tokens.
    """

    def __init__(
        self, actual: Numbers, training: TrainingNumbers, max_length: int, max_errors: int = 0
    ) -> None:
        self._training = training
        self._summary = summarize_numbers(actual)
        self._scale = self._summary.std or training.std or 1.0
        self._checks = NumberChecks()
        self._sums = ChunkedSums()
        self._predicted = ChunkedSums()
        self._range = [np.inf, -np.inf]
        self._held = HeldNumbers(len(actual))
        self._lengths = LengthProfile(max_length)
        self._errors = LargestErrors(max_errors)

    def add(self, actual: Numbers, scores: Scores, lengths: npt.NDArray[np.int32]) -> bool:
        """Add the next rows: numbers [rows], predicted ones [rows, 1], lengths in tokens [rows].

        Returns whether the predictions are finite; if they are not, `compute` raises. Raises
        DataError for predictions of another size.
        """
        first_row = self._checks.rows
        if not self._checks.check(actual, scores):
            return False
        predicted = scores[:, 0].astype(np.float64)
        error = (predicted - actual) / self._scale
        distance = (actual - self._summary.mean) / self._scale
        shift = (actual - self._training.mean) / self._scale
        squared = error**2
        self._sums.add(
            [
                error,
                np.abs(error),
                squared,
                squared**2,
                distance**2,
                distance**4,
                squared * distance**2,
                np.abs(shift),
                shift**2,
            ]
        )
        centered = (predicted - self._summary.mean) / self._scale
        self._predicted.add([centered, centered**2])
        self._range = [
            min(self._range[0], float(predicted.min(initial=np.inf))),
            max(self._range[1], float(predicted.max(initial=-np.inf))),
        ]
        self._held.add(actual, predicted)
        self._lengths.add(lengths, error)
        self._errors.add(first_row, actual, predicted)
        return True

    def list_largest_errors(self) -> list[NumberError]:
        """At most `max_errors` rows, by falling size of error, then by row."""
        return self._errors.list_errors()

    def compute(self) -> RegressionMetrics:
        """The metrics of all rows that were added.

        Raises DataError for no rows, and for predictions that are not finite.
        """
        self._checks.raise_first_error()
        rows, scale = self._checks.rows, self._scale
        means = [total / rows for total in self._sums.totals()]
        error, absolute, squared, fourth, distance, distance4, both, shift, shift2 = means
        rmse_low, rmse_high = _bound_mean(squared, fourth, rows)
        mae_low, mae_high = _bound_mean(absolute, squared, rows)
        r2 = 1 - squared / distance if distance > 0 else None
        r2_low, r2_high = _bound_r2(squared, fourth, distance, distance4, both, rows)
        spearman = self._held.correlate_ranks()
        spearman_low, spearman_high = spearman_interval(spearman, rows)
        pairs = self._held.pairs
        held_errors = pairs[1] - pairs[0]
        return RegressionMetrics(
            test_rows=rows,
            rmse=scale * squared**0.5,
            rmse_low=None if rmse_low is None else scale * max(0.0, rmse_low) ** 0.5,
            rmse_high=None if rmse_high is None else scale * rmse_high**0.5,
            mae=scale * absolute,
            mae_low=None if mae_low is None else scale * max(0.0, mae_low),
            mae_high=None if mae_high is None else scale * mae_high,
            r2=r2,
            r2_low=r2_low,
            r2_high=r2_high,
            spearman=spearman,
            spearman_low=spearman_low,
            spearman_high=spearman_high,
            spearman_is_exact=self._held.is_exact,
            mean_error=scale * error,
            baseline_rmse=scale * shift2**0.5,
            baseline_mae=scale * shift,
            loss=squared * (scale / self._training.std) ** 2,
            actual=self._summary,
            predicted=self._summarize_predictions(rows),
            error_quantiles=find_error_quantiles(held_errors),
            error_bins=count_errors(held_errors),
            points=select_points(pairs),
            length_errors=self._lengths.describe(scale),
        )

    def _summarize_predictions(self, rows: int) -> NumberSummary:
        mean, squared = (total / rows for total in self._predicted.totals())
        return NumberSummary(
            mean=self._summary.mean + self._scale * mean,
            std=self._scale * max(0.0, squared - mean**2) ** 0.5,
            low=self._range[0],
            high=self._range[1],
        )


def summarize_numbers(numbers: Numbers) -> NumberSummary:
    """Mean, standard deviation and range of numbers; all 0 for none."""
    if not len(numbers):
        return NumberSummary(mean=0, std=0, low=0, high=0)
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:  # exactly: the mean of equal numbers may differ from them in the last digit
        return NumberSummary(mean=low, std=0, low=low, high=high)
    return NumberSummary(mean=float(numbers.mean()), std=float(numbers.std()), low=low, high=high)


def _bound_mean(mean: float, mean_square: float, rows: int) -> tuple[float | None, float | None]:
    """95% interval of a mean by the central limit theorem."""
    if rows < MIN_ROWS_OF_INTERVAL:
        return None, None
    variance = max(0.0, mean_square - mean**2) * rows / (rows - 1)
    half = NORMAL_QUANTILE * (variance / rows) ** 0.5
    return mean - half, mean + half


def _bound_r2(
    squared: float, fourth: float, distance: float, distance4: float, both: float, rows: int
) -> tuple[float | None, float | None]:
    """95% interval of R2, a ratio of means, by the delta method.

    With the ratio r of the means of x (squared errors) and y (squared distances from the mean), the
    variance of r is that of the mean of (x - r y) / mean(y): W. Cochran, "Sampling techniques",
    3rd edition, 1977, section 6.5.
    """
    if rows < MIN_ROWS_OF_INTERVAL or distance <= 0:
        return None, None
    ratio = squared / distance
    variance = max(0.0, fourth - 2 * ratio * both + ratio**2 * distance4) / (rows - 1)
    half = NORMAL_QUANTILE * variance**0.5 / distance
    return 1 - ratio - half, min(1.0, 1 - ratio + half)
