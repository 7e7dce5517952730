"""The held-out texts whose labels the models of the other folds contradict most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from components.artifacts.report import LabelMistake, Misclassification, NumberMistake, Report

Mistake = Misclassification | LabelMistake | NumberMistake


class FoldMistake(NamedTuple):
    """A mistake of the model of one fold, from 1, on a text that the fold holds out."""

    fold: int
    mistake: Mistake


def list_fold_mistakes(reports: Sequence[Report]) -> list[FoldMistake]:
    """The texts that are contradicted with most confidence, or whose numbers are farthest off.

    They are at most as many as the report of one fold may list (`evaluate.max_reported_errors`).
    """
    found = [
        FoldMistake(fold, mistake)
        for fold, content in enumerate(reports, start=1)
        for mistake in content.mistakes
    ]
    limit = max((len(content.mistakes) for content in reports), default=0)
    return sorted(found, key=lambda each: -_measure(each.mistake))[:limit]


def _measure(mistake: Mistake) -> float:
    """The confidence of a wrong answer, or the size of an error."""
    return abs(mistake.error) if isinstance(mistake, NumberMistake) else mistake.confidence
