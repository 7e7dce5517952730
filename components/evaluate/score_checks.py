"""Checks of the labels and scores of a split, part by part.

What a model's scores are wrong for is counted over all parts, so that the message says how many
rows are concerned and which is the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from components.errors import DataError

Labels = npt.NDArray[np.int32]
LabelSets = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]

MAX_SUM_ERROR = 1e-3
CLASS_SHARE = "probabilities that sum to 1"
ANY_SHARE = "probabilities from 0 to 1"


class NumberChecks:
    """Checks parts of numbers [rows] and predicted numbers [rows, 1] in the rows' order."""

    _values, _allowed = "predictions", ""

    def __init__(self, split: str = "test") -> None:
        self._split, self._width = split, 1
        self.rows = 0
        self._not_finite = 0
        self._first_not_finite = -1
        self._first_improbable = -1

    def check(self, labels: npt.NDArray[Any], scores: Scores) -> bool:
        """Whether the part's scores are as they must be; what is wrong, `raise_first_error` raises.

        Raises DataError for labels out of range and for scores of another size.
        """
        first = self.rows
        self.rows += len(labels)
        if scores.shape != (len(labels), self._width):
            raise DataError(
                f"{self._split} split: {self._values} of shape {scores.shape} for {len(labels)} "
                f"rows{self._describe_width()}"
            )
        self._check_labels(labels, first)
        if len(bad := np.flatnonzero(~np.isfinite(scores).all(axis=1))):
            if not self._not_finite:
                self._first_not_finite = first + int(bad[0])
            self._not_finite += len(bad)
            return False
        if len(bad := np.flatnonzero(self._find_improbable(scores))):
            if self._first_improbable < 0:
                self._first_improbable = first + int(bad[0])
            return False
        return True

    def raise_first_error(self) -> None:
        """DataError for no rows, and for scores that are not as they must be, in any part."""
        if self.rows == 0:
            raise DataError(
                f"{self._split} split: no rows, so there is nothing to measure; "
                "set data.test_source or a larger data.test_fraction"
            )
        if self._not_finite:
            raise DataError(
                f"{self._split} split: the model's {self._values} are NaN or infinite for "
                f"{self._not_finite} of {self.rows} rows (the first is row "
                f"{self._first_not_finite}); this checkpoint is "
                "unusable: train again with a lower train.learning_rate or train.precision=float32"
            )
        if self._first_improbable >= 0:
            raise DataError(
                f"{self._split} split: the model's {self._values} for row {self._first_improbable} "
                f"are not {self._allowed}"
            )

    def _describe_width(self) -> str:
        return ""

    def _check_labels(self, labels: npt.NDArray[Any], first: int) -> None:
        if len(wrong := np.flatnonzero(~np.isfinite(labels))):
            raise DataError(
                f"{self._split} split: row {first + wrong[0]} has label {labels[wrong[0]]}, "
                "which is not a finite number"
            )

    def _find_improbable(self, scores: Scores) -> npt.NDArray[np.bool_]:
        return np.zeros(len(scores), bool)


class ScoreChecks(NumberChecks):
    """Checks parts of labels [rows] and class probabilities [rows, classes] in the rows' order.

    Raises DataError for fewer than two classes.
    """

    _values, _allowed = "scores", CLASS_SHARE

    def __init__(self, classes: Sequence[str], split: str = "test") -> None:
        super().__init__(split)
        if len(classes) < 2:
            raise DataError(
                f"{split} split: {len(classes)} class in the data; a classifier needs at least two"
            )
        self._width = len(classes)

    def _describe_width(self) -> str:
        return f" and {self._width} classes"

    def _check_labels(self, labels: npt.NDArray[Any], first: int) -> None:
        if len(wrong := np.flatnonzero((labels < 0) | (labels >= self._width))):
            raise DataError(
                f"{self._split} split: row {first + wrong[0]} has label {labels[wrong[0]]}, "
                f"but there are {self._width} classes"
            )

    def _find_improbable(self, scores: Scores) -> npt.NDArray[np.bool_]:
        improbable: npt.NDArray[np.bool_] = (
            (scores < 0).any(axis=1)
            | (scores > 1).any(axis=1)
            | (np.abs(scores.sum(axis=1) - 1) > MAX_SUM_ERROR)
        )
        return improbable


class LabelSetChecks(ScoreChecks):
    """Checks parts of labels, 0 or 1 [rows, classes], and probabilities of each [rows, classes]."""

    _allowed = ANY_SHARE

    def _check_labels(self, labels: npt.NDArray[Any], first: int) -> None:
        if labels.shape[1] != self._width:
            raise DataError(
                f"{self._split} split: labels of {labels.shape[1]} classes, but there are "
                f"{self._width}"
            )

    def _find_improbable(self, scores: Scores) -> npt.NDArray[np.bool_]:
        is_share = (scores >= 0) & (scores <= 1)
        improbable: npt.NDArray[np.bool_] = ~np.all(is_share, axis=1)
        return improbable
