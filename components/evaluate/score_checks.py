"""Checks of the labels and scores of a split, part by part.

What a model's scores are wrong for is counted over all parts, so that the message says how many
rows are concerned and which is the first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.errors import DataError

Labels = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]

MAX_SUM_ERROR = 1e-3


class ScoreChecks:
    """Checks parts of labels [rows] and class probabilities [rows, classes] in the rows' order.

    Raises DataError for fewer than two classes.
    """

    def __init__(self, classes: Sequence[str], split: str = "test") -> None:
        self._split = split
        if len(classes) < 2:
            raise DataError(
                f"{split} split: {len(classes)} class in the data; a classifier needs at least two"
            )
        self._classes = len(classes)
        self.rows = 0
        self._not_finite = 0
        self._first_not_finite = -1
        self._first_improbable = -1

    def check(self, labels: Labels, scores: Scores) -> bool:
        """Whether the part's scores are probabilities; what is wrong, `raise_first_error` raises.

        Raises DataError for labels out of range and for scores of another size.
        """
        first = self.rows
        self.rows += len(labels)
        if scores.shape != (len(labels), self._classes):
            raise DataError(
                f"{self._split} split: scores of shape {scores.shape} for {len(labels)} rows and "
                f"{self._classes} classes"
            )
        if len(wrong := np.flatnonzero((labels < 0) | (labels >= self._classes))):
            raise DataError(
                f"{self._split} split: row {first + wrong[0]} has label {labels[wrong[0]]}, "
                f"but there are {self._classes} classes"
            )
        if len(bad := np.flatnonzero(~np.isfinite(scores).all(axis=1))):
            if not self._not_finite:
                self._first_not_finite = first + int(bad[0])
            self._not_finite += len(bad)
            return False
        improbable = (
            (scores < 0).any(axis=1)
            | (scores > 1).any(axis=1)
            | (np.abs(scores.sum(axis=1) - 1) > MAX_SUM_ERROR)
        )
        if len(bad := np.flatnonzero(improbable)):
            if self._first_improbable < 0:
                self._first_improbable = first + int(bad[0])
            return False
        return True

    def raise_first_error(self) -> None:
        """DataError for no rows and for scores that are not probabilities, in any of the parts."""
        if self.rows == 0:
            raise DataError(
                f"{self._split} split: no rows, so there is nothing to measure; "
                "set data.test_source or a larger data.test_fraction"
            )
        if self._not_finite:
            raise DataError(
                f"{self._split} split: the model's scores are NaN or infinite for "
                f"{self._not_finite} of {self.rows} rows (the first is row "
                f"{self._first_not_finite}); this checkpoint is "
                "unusable: train again with a lower train.learning_rate or train.precision=float32"
            )
        if self._first_improbable >= 0:
            raise DataError(
                f"{self._split} split: the model's scores for row {self._first_improbable} are not "
                "probabilities that sum to 1"
            )
