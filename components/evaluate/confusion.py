"""Metrics that follow from the confusion matrix alone: accuracy, precision, recall and F1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.artifacts.report import ClassMetrics

Confusion = npt.NDArray[np.int64]


def count_confusions(
    labels: npt.NDArray[np.int32], predicted: npt.NDArray[np.intp], classes: int
) -> Confusion:
    """Rows by true class and predicted class: [classes, classes]."""
    pairs = labels.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


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
