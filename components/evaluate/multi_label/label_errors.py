"""The rows with wrong labels of which the model was most confident, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.artifacts.report import LabelMistake
from components.data.text_columns import Text
from components.evaluate.confident_errors import split_pair
from components.evaluate.score_checks import LabelSets, Scores


class LabelError(NamedTuple):
    """A row with a wrong label: its number, indices of classes, and how confident the model was.

    wrong: the wrong label that it was surest about.
    """

    row: int
    labels: tuple[int, ...]
    predicted: tuple[int, ...]
    wrong: int
    confidence: float


class MostConfidentLabelErrors:
    """Keeps at most `count` rows with wrong labels: by falling confidence, then by row."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._errors: list[LabelError] = []

    def add(
        self,
        first_row: int,
        labels: LabelSets,
        predicted: npt.NDArray[np.bool_],
        scores: Scores,
    ) -> None:
        """Add a part whose rows are numbered from `first_row`."""
        if not self._count:
            return
        wrong = predicted != labels.astype(bool)
        rows = np.flatnonzero(wrong.any(axis=1))
        certainty = np.where(predicted[rows], scores[rows], 1 - scores[rows])
        certainty[~wrong[rows]] = -1
        worst = certainty.argmax(axis=1)
        confidence = certainty[np.arange(len(rows)), worst]
        found = [
            LabelError(
                row=first_row + int(rows[index]),
                labels=_list_indices(labels[rows[index]]),
                predicted=_list_indices(predicted[rows[index]]),
                wrong=int(worst[index]),
                confidence=float(confidence[index]),
            )
            for index in np.argsort(-confidence, kind="stable")[: self._count]
        ]
        self._errors = sorted(
            self._errors + found, key=lambda error: (-error.confidence, error.row)
        )[: self._count]

    def list_errors(self) -> list[LabelError]:
        """The rows that were kept, in their order."""
        return list(self._errors)


def describe_label_errors(
    errors: Sequence[LabelError], texts: Sequence[Text], classes: Sequence[str]
) -> tuple[LabelMistake, ...]:
    """The errors for the report; `texts` are those of their rows, and are truncated."""
    mistakes = []
    for error, text in zip(errors, texts, strict=True):
        first, second = split_pair(text)
        mistakes.append(
            LabelMistake(
                row=error.row,
                labels=tuple(classes[index] for index in error.labels),
                predicted=tuple(classes[index] for index in error.predicted),
                wrong=classes[error.wrong],
                is_missed=error.wrong in error.labels,
                confidence=error.confidence,
                text=first,
                text_pair=second,
            )
        )
    return tuple(mistakes)


def _list_indices(row: npt.NDArray[np.generic]) -> tuple[int, ...]:
    return tuple(np.flatnonzero(row).tolist())
