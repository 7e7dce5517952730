"""The threshold of each class: the score from which a text is given it, chosen for F1.

Chosen on validation rows, because thresholds that were chosen on the test rows would promise more
on them than on other texts. F1 decides, class by class, which also maximizes macro-F1: Z. Lipton,
C. Elkan and B. Naryanaswamy, "Optimal thresholding of classifiers to maximize F1 measure",
ECML PKDD 2014, 225-239. They also warn of rare classes, for which the best threshold may be one
that gives nearly every text the class: hence the number of validation rows beside each threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from components.evaluate.roc.score_counts import ScoreCounts, make_score_counter
from components.evaluate.score_checks import LabelSetChecks, LabelSets, Scores

DECIMALS = 4
"""A threshold has so many, if a number with so many lies between the scores that it separates."""
UNCHOSEN = 0.5
"""The threshold of a class that no validation row has."""


class ChosenThreshold(NamedTuple):
    """The threshold of a class, and the number of validation rows that have it."""

    threshold: float
    rows: int


def choose_thresholds(
    parts: Iterable[tuple[LabelSets, Scores]], classes: Sequence[str], rows: int
) -> tuple[ChosenThreshold, ...]:
    """The threshold of each class for `rows` validation rows, whose labels and scores are in parts.

    Raises DataError for scores that are not probabilities. Of equally good thresholds, the largest
    is taken. Memory does not grow with the rows beyond `score_counts.EXACT_SCORES` scores.
    """
    checks = LabelSetChecks(classes, "validation")
    counter = make_score_counter(rows, len(classes))
    for labels, scores in parts:
        if checks.check(labels, scores):
            counter.add(labels, scores)
    checks.raise_first_error()
    return tuple(choose_threshold(counter.count_class(number)) for number in range(len(classes)))


def choose_threshold(counts: ScoreCounts) -> ChosenThreshold:
    """The threshold with the largest F1 on the counted rows; UNCHOSEN if none of them is positive.

    It lies halfway between the scores that it separates, so that it does not hang on the last bits
    of one of them.
    """
    found, wrong = np.cumsum(counts.positives), np.cumsum(counts.negatives)
    if not len(found) or not found[-1]:
        return ChosenThreshold(UNCHOSEN, 0)
    best = int(np.argmax(2 * found / (found + wrong + found[-1])))
    upper = float(counts.thresholds[best])
    if not counts.exact:  # the scores of the next bin reach up to this threshold
        return ChosenThreshold(upper, int(found[-1]))
    lower = float(counts.thresholds[best + 1]) if best + 1 < len(found) else 0.0
    return ChosenThreshold(separate(lower, upper), int(found[-1]))


def separate(lower: float, upper: float) -> float:
    """A number above `lower`, at most `upper` (float32 numbers): halfway, and short if possible."""
    middle = (lower + upper) / 2
    rounded = round(middle, DECIMALS)
    for candidate in (rounded, middle):
        if lower < np.float32(candidate) <= upper:
            return candidate
    return upper
