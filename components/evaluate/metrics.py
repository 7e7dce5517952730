"""Classification metrics of a test split; every value is finite, or None where it is undefined.

A class without test rows has no recall, F1 or ROC and does not count in macro-F1; a class that is
never predicted has no precision. With test rows of one class only, macro-F1 is None. Scores that
are not finite are refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

from components.artifacts.report import (
    CalibrationBin,
    ClassMetrics,
    EvaluationMetrics,
    Misclassification,
    RocCurve,
)
from components.errors import DataError

Labels = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]

CALIBRATION_BINS = 15
MAX_CURVE_POINTS = 200
ABOVE_EVERY_SCORE = 2.0
MAX_TEXT_CHARACTERS = 600


def compute_metrics(labels: Labels, scores: Scores, classes: Sequence[str]) -> EvaluationMetrics:
    """All metrics of class probabilities `scores` [rows, classes] against `labels` [rows].

    The predicted class is the first one with the largest score. Raises DataError for no rows,
    fewer than two classes, labels out of range, and scores that are not finite, not in [0, 1] or
    do not sum to 1 (within 1e-3).
    """
    check_scores(labels, scores, classes)
    predicted = scores.argmax(axis=1)
    numbers = np.arange(len(classes))
    confusion = sklearn_metrics.confusion_matrix(labels, predicted, labels=numbers)
    support = confusion.sum(axis=1)
    correct = int(confusion.trace())
    low, high = wilson_interval(correct, len(labels))
    bins = compute_calibration_bins(labels, scores)
    return EvaluationMetrics(
        classes=tuple(classes),
        test_rows=len(labels),
        accuracy=correct / len(labels),
        accuracy_low=low,
        accuracy_high=high,
        majority_accuracy=int(support.max()) / len(labels),
        macro_f1=compute_macro_f1(labels, predicted),
        loss=mean_cross_entropy(labels, scores),
        ece=expected_calibration_error(bins),
        per_class=compute_class_metrics(labels, predicted, classes),
        missing_classes=tuple(
            name for name, rows in zip(classes, support, strict=True) if rows == 0
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        roc={
            name: compute_roc_curve(labels == number, scores[:, number])
            for number, name in enumerate(classes)
        },
        micro_roc=_micro_average_roc(labels, scores),
        calibration=bins,
    )


def check_scores(labels: Labels, scores: Scores, classes: Sequence[str]) -> None:
    """DataError unless labels [rows] and scores [rows, classes] are valid and of one size."""
    if len(classes) < 2:
        raise DataError(
            f"test split: {len(classes)} class in the data; a classifier needs at least two"
        )
    if len(labels) == 0:
        raise DataError(
            "test split: no rows, so there is nothing to measure; "
            "set data.test_source or a larger data.test_fraction"
        )
    if scores.shape != (len(labels), len(classes)):
        raise DataError(
            f"test split: scores of shape {scores.shape} for {len(labels)} rows and "
            f"{len(classes)} classes"
        )
    if len(wrong := np.flatnonzero((labels < 0) | (labels >= len(classes)))):
        raise DataError(
            f"test split: row {wrong[0]} has label {labels[wrong[0]]}, "
            f"but there are {len(classes)} classes"
        )
    if len(bad := np.flatnonzero(~np.isfinite(scores).all(axis=1))):
        raise DataError(
            "test split: the model's scores are NaN or infinite for "
            f"{len(bad)} of {len(labels)} rows (the first is row {bad[0]}); this checkpoint is "
            "unusable: train again with a lower train.learning_rate or train.precision=float32"
        )
    improbable = (
        (scores < 0).any(axis=1)
        | (scores > 1).any(axis=1)
        | (np.abs(scores.sum(axis=1) - 1) > 1e-3)
    )
    if len(bad := np.flatnonzero(improbable)):
        raise DataError(
            f"test split: the model's scores for row {bad[0]} are not probabilities that sum to 1"
        )


def wilson_interval(successes: int, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval for a proportion of `successes` in `rows` > 0, within [0, 1].

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927), 209-212. Unlike the normal approximation, it holds for few rows and for
    proportions near 0 or 1.
    """
    interval = binomtest(successes, rows).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def compute_macro_f1(labels: Labels, predicted: npt.NDArray[np.intp]) -> float | None:
    """Mean F1 over the classes that have test rows; None if fewer than two have."""
    present = np.unique(labels)
    if len(present) < 2:
        return None
    return float(
        sklearn_metrics.f1_score(
            labels, predicted, labels=present, average="macro", zero_division=0.0
        )
    )


def compute_class_metrics(
    labels: Labels, predicted: npt.NDArray[np.intp], classes: Sequence[str]
) -> dict[str, ClassMetrics]:
    """Precision, recall, F1 and support by class name; None where undefined."""
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(classes)), zero_division=0.0
    )
    times_predicted = np.bincount(predicted, minlength=len(classes))
    return {
        name: ClassMetrics(
            precision=float(precision[number]) if times_predicted[number] else None,
            recall=float(recall[number]) if support[number] else None,
            f1=float(f1[number]) if support[number] else None,
            support=int(support[number]),
        )
        for number, name in enumerate(classes)
    }


def mean_cross_entropy(labels: Labels, scores: Scores) -> float:
    """Mean of -log(score of the true class) in nats; a score of 0 counts as the least float32."""
    truth = scores[np.arange(len(labels)), labels].astype(np.float64)
    return max(0.0, float(-np.log(np.maximum(truth, np.finfo(np.float32).tiny)).mean()))


def compute_roc_curve(
    positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.float32]
) -> RocCurve | None:
    """ROC curve of `scores` [rows] for `positive` [rows]; None if all rows are positive, or none.

    The curve has at most MAX_CURVE_POINTS points, evenly spaced along it; the area is exact.
    """
    if positive.all() or not positive.any():
        return None
    fpr, tpr, thresholds = sklearn_metrics.roc_curve(positive, scores)
    indices = _space_evenly(fpr, tpr)
    finite = np.where(np.isfinite(thresholds), thresholds, ABOVE_EVERY_SCORE)
    return RocCurve(
        fpr=_round_values(fpr[indices]),
        tpr=_round_values(tpr[indices]),
        thresholds=_round_values(finite[indices]),
        auc=sklearn_metrics.auc(fpr, tpr),
    )


def _micro_average_roc(labels: Labels, scores: Scores) -> RocCurve:
    """One curve over all (row, class) pairs: the micro-average of one class against the rest."""
    curve = compute_roc_curve(
        (labels[:, None] == np.arange(scores.shape[1])).ravel(), scores.ravel()
    )
    if curve is None:
        raise AssertionError(
            "with two classes or more, each row gives a positive and a negative pair"
        )
    return curve


def _space_evenly(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Indices of at most MAX_CURVE_POINTS points, both ends included, evenly spaced by |dx| + |dy|.

    Unlike even spacing by index, this keeps the steep start of a good model's curve.
    """
    if len(x) <= MAX_CURVE_POINTS:
        return np.arange(len(x))
    lengths = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))))
    targets = np.linspace(0, lengths[-1], MAX_CURVE_POINTS)
    indices = np.unique(np.searchsorted(lengths, targets).clip(0, len(x) - 1))
    indices[-1] = len(x) - 1
    return indices


def _round_values(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


def compute_calibration_bins(labels: Labels, scores: Scores) -> tuple[CalibrationBin, ...]:
    """Accuracy by confidence (the largest score), in CALIBRATION_BINS equal bins of (0, 1]."""
    confidence = scores.max(axis=1).astype(np.float64)
    right = scores.argmax(axis=1) == labels
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    number = np.searchsorted(edges[1:-1], confidence, side="left")
    bins = []
    for index, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = number == index
        rows = int(inside.sum())
        bins.append(
            CalibrationBin(
                low=round(float(low), 6),
                high=round(float(high), 6),
                rows=rows,
                confidence=float(confidence[inside].mean()) if rows else None,
                accuracy=float(right[inside].mean()) if rows else None,
            )
        )
    return tuple(bins)


def expected_calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Mean distance between confidence and accuracy over the bins, weighted by rows.

    C. Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3.
    """
    rows = sum(part.rows for part in bins)
    gaps = (
        part.rows * abs(part.confidence - part.accuracy)
        for part in bins
        if part.confidence is not None and part.accuracy is not None
    )
    return sum(gaps) / rows


def find_most_confident_errors(labels: Labels, scores: Scores, count: int) -> npt.NDArray[np.intp]:
    """Indices of at most `count` misclassified rows, by falling score of the wrong class."""
    predicted = scores.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    order = np.argsort(-scores[wrong, predicted[wrong]], kind="stable")
    return wrong[order[:count]]


def describe_errors(
    rows: npt.NDArray[np.intp],
    texts: Sequence[str],
    labels: Labels,
    scores: Scores,
    classes: Sequence[str],
) -> tuple[Misclassification, ...]:
    """The misclassified `rows` for the report; `texts` are those of `rows`, and are truncated."""
    described = []
    for row, text in zip(rows, texts, strict=True):
        predicted = int(scores[row].argmax())
        described.append(
            Misclassification(
                row=int(row),
                label=classes[labels[row]],
                predicted=classes[predicted],
                confidence=float(scores[row, predicted]),
                label_score=float(scores[row, labels[row]]),
                text=truncate_text(text),
            )
        )
    return tuple(described)


def truncate_text(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """The text, or its first `limit` characters and an ellipsis if it is longer."""
    return text if len(text) <= limit else text[:limit].rstrip() + "…"
