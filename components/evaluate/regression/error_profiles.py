"""Where and how large the errors of predicted numbers are: by size, by length, the largest ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.artifacts.report.regression import (
    ErrorBin,
    ErrorQuantile,
    LengthErrors,
    NumberMistake,
)
from components.data.text_columns import Text
from components.evaluate.confident_errors import split_pair

QUANTILE_SHARES = (0.5, 0.8, 0.9, 0.95, 0.99)
ERROR_BINS = 40
"""Bins of the histogram of errors, at most."""
MAX_POINTS = 1000
"""Pairs of numbers in the plot of predicted by actual ones."""
LENGTH_GROUPS = 8
"""Groups of texts by length, at most."""

Values = npt.NDArray[np.float64]


class NumberError(NamedTuple):
    """A row, its number, and the predicted one."""

    row: int
    actual: float
    predicted: float


class LargestErrors:
    """Keeps at most `count` rows of the parts: by falling size of error, then by row."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._errors: list[NumberError] = []

    def add(self, first_row: int, actual: Values, predicted: Values) -> None:
        """Add a part whose rows are numbered from `first_row`."""
        sizes = np.abs(predicted - actual)
        found = [
            NumberError(first_row + int(row), float(actual[row]), float(predicted[row]))
            for row in np.argsort(-sizes, kind="stable")[: self._count]
        ]
        self._errors = sorted(
            self._errors + found,
            key=lambda error: (-abs(error.predicted - error.actual), error.row),
        )[: self._count]

    def list_errors(self) -> list[NumberError]:
        """The rows that were kept, in their order."""
        return list(self._errors)


class LengthProfile:
    """Adds up errors by the length of the text, in tokens."""

    def __init__(self, max_length: int) -> None:
        self._rows = np.zeros(max_length + 1, np.int64)
        self._sums = np.zeros((3, max_length + 1))

    def add(self, lengths: npt.NDArray[np.int32], error: Values) -> None:
        """Add rows: lengths in tokens, and errors in any unit, [rows] each."""
        tokens = np.minimum(lengths, len(self._rows) - 1)
        np.add.at(self._rows, tokens, 1)
        # One after the other, so that the cut into parts does not change the order.
        for sums, values in zip(self._sums, (error, np.abs(error), error**2), strict=True):
            np.add.at(sums, tokens, values)

    def describe(self, scale: float) -> tuple[LengthErrors, ...]:
        """At most LENGTH_GROUPS groups of about equally many texts, by length; scale: the unit."""
        below = np.cumsum(self._rows)
        targets = below[-1] * np.arange(1, LENGTH_GROUPS + 1) / LENGTH_GROUPS
        ends = np.unique(np.searchsorted(below, targets))
        groups = []
        for start, end in itertools.pairwise([-1, *ends.tolist()]):
            used = start + 1 + np.flatnonzero(self._rows[start + 1 : end + 1])
            rows = int(self._rows[used].sum())
            error, absolute, squared = (float(sums[used].sum()) / rows for sums in self._sums)
            groups.append(
                LengthErrors(
                    low=int(used[0]),
                    high=int(used[-1]),
                    rows=rows,
                    rmse=scale * squared**0.5,
                    mae=scale * absolute,
                    mean_error=scale * error,
                )
            )
        return tuple(groups)


def find_error_quantiles(errors: Values) -> tuple[ErrorQuantile, ...]:
    """The size of error that each of QUANTILE_SHARES of the rows does not exceed."""
    sizes = np.quantile(np.abs(errors), QUANTILE_SHARES, method="inverted_cdf")
    return tuple(
        ErrorQuantile(share=share, error=size)
        for share, size in zip(QUANTILE_SHARES, sizes.tolist(), strict=True)
    )


def count_errors(errors: Values) -> tuple[ErrorBin, ...]:
    """A histogram in at most ERROR_BINS bins of a round width, which has all errors."""
    low, high = float(errors.min()), float(errors.max())
    width = round_width(max(high - low, abs(low) * 1e-9), ERROR_BINS - 1)
    first = math.floor(low / width)
    numbers = np.minimum(np.floor(errors / width) - first, ERROR_BINS - 1).astype(np.int64)
    return tuple(
        ErrorBin(
            low=round_significant((first + number) * width),
            high=round_significant((first + number + 1) * width),
            rows=rows,
        )
        for number, rows in enumerate(np.bincount(numbers).tolist())
    )


def round_width(span: float, bins: int) -> float:
    """The smallest of 1, 2 or 5 times a power of ten of which at most `bins` fill the span."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / bins))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor * bins >= span)


def round_significant(value: float) -> float:
    """The number with 12 significant digits, so that 0.1 * 3 is 0.3."""
    return float(f"{value:.12g}")


def select_points(pairs: Values) -> tuple[tuple[float, float], ...]:
    """At most MAX_POINTS evenly spaced pairs of the pairs [2, rows]."""
    step = -(-pairs.shape[1] // MAX_POINTS)
    return tuple((actual, predicted) for actual, predicted in pairs[:, :: step or 1].T.tolist())


def describe_number_errors(
    errors: Sequence[NumberError], texts: Sequence[Text]
) -> tuple[NumberMistake, ...]:
    """The errors for the report; `texts` are those of their rows, and are truncated."""
    mistakes = []
    for error, text in zip(errors, texts, strict=True):
        first, second = split_pair(text)
        mistakes.append(
            NumberMistake(
                row=error.row,
                actual=error.actual,
                predicted=error.predicted,
                text=first,
                text_pair=second,
            )
        )
    return tuple(mistakes)
