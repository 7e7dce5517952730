"""The misclassified rows of which the model was most confident, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.artifacts.report import Misclassification
from components.data.text_columns import Text
from components.evaluate.score_checks import Labels, Scores

MAX_TEXT_CHARACTERS = 600


class ConfidentError(NamedTuple):
    """A misclassified row: its number, the indices of its classes, and their scores."""

    row: int
    label: int
    predicted: int
    confidence: float
    label_score: float


class MostConfidentErrors:
    """Keeps at most `count` misclassified rows of the parts: by falling score, then by row."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._errors: list[ConfidentError] = []

    def add(
        self, first_row: int, labels: Labels, predicted: npt.NDArray[np.intp], scores: Scores
    ) -> None:
        """Add a part whose rows are numbered from `first_row`."""
        wrong = np.flatnonzero(predicted != labels)
        order = np.argsort(-scores[wrong, predicted[wrong]], kind="stable")
        found = [
            ConfidentError(
                row=first_row + int(row),
                label=int(labels[row]),
                predicted=int(predicted[row]),
                confidence=float(scores[row, predicted[row]]),
                label_score=float(scores[row, labels[row]]),
            )
            for row in wrong[order[: self._count]]
        ]
        self._errors = sorted(
            self._errors + found, key=lambda error: (-error.confidence, error.row)
        )[: self._count]

    def list_errors(self) -> list[ConfidentError]:
        """The rows that were kept, in their order."""
        return list(self._errors)


def describe_errors(
    errors: Sequence[ConfidentError], texts: Sequence[Text], classes: Sequence[str]
) -> tuple[Misclassification, ...]:
    """The errors for the report; `texts` are those of their rows, and are truncated."""
    mistakes = []
    for error, text in zip(errors, texts, strict=True):
        first, second = split_pair(text)
        mistakes.append(
            Misclassification(
                row=error.row,
                label=classes[error.label],
                predicted=classes[error.predicted],
                confidence=error.confidence,
                label_score=error.label_score,
                text=first,
                text_pair=second,
            )
        )
    return tuple(mistakes)


def split_pair(text: Text) -> tuple[str, str | None]:
    """A text, or both texts of a pair, truncated for the report; None where there is no second."""
    first, second = (text, None) if isinstance(text, str) else text
    return truncate_text(first), None if second is None else truncate_text(second)


def truncate_text(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """The text, or its first `limit` characters and an ellipsis if it is longer."""
    return text if len(text) <= limit else text[:limit].rstrip() + "…"
