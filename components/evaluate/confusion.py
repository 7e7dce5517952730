"""Metrics that follow from the confusion matrix alone: accuracy, precision, recall and F1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.artifacts.report import ClassMetrics

NORMAL_QUANTILE = 1.959963984540054
"""97.5% quantile of the standard normal distribution, for an interval of 95%."""

Confusion = npt.NDArray[np.int64]


def count_confusions(
    labels: npt.NDArray[np.int32], predicted: npt.NDArray[np.intp], classes: int
) -> Confusion:
    """Rows by true class and predicted class: [classes, classes]."""
    pairs = labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def wilson_interval(successes: int, rows: int) -> tuple[float, float]:
    """95% Wilson score interval for a proportion of `successes` in `rows` > 0, within [0, 1].

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927), 209-212. Unlike the normal approximation, it holds for few rows and for
    proportions near 0 or 1.
    """
    share, squared = successes / rows, NORMAL_QUANTILE**2
    scale = 2 * (rows + squared)
    center = (2 * rows * share + squared) / scale
    half = NORMAL_QUANTILE / scale * (4 * rows * share * (1 - share) + squared) ** 0.5
    return (
        0.0 if successes == 0 else center - half,
        1.0 if successes == rows else center + half,
    )


def compute_class_metrics(confusion: Confusion, classes: Sequence[str]) -> dict[str, ClassMetrics]:
    """Precision, recall, F1 and support by class name; None where undefined."""
    correct, support, predicted = _count_by_class(confusion)
    return {
        name: ClassMetrics(
            precision=right / given if given else None,
            recall=right / rows if rows else None,
            f1=2 * right / (rows + given) if rows else None,
            support=rows,
        )
        for name, right, rows, given in zip(
            classes, correct.tolist(), support.tolist(), predicted.tolist(), strict=True
        )
    }


def compute_macro_f1(confusion: Confusion) -> float | None:
    """Mean F1 over the classes that have test rows; None if fewer than two have."""
    correct, support, predicted = _count_by_class(confusion)
    present = support > 0
    if present.sum() < 2:
        return None
    return float((2 * correct[present] / (support + predicted)[present]).mean())


def _count_by_class(confusion: Confusion) -> tuple[Confusion, Confusion, Confusion]:
    """Correct rows, test rows and predicted rows of each class: [classes] each."""
    return confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
