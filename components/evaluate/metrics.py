"""Classification metrics of a test split; every value is finite, or None where it is undefined.

Labels and scores come in parts, and what is held of them does not grow with the rows, except for
up to `score_counts.EXACT_SCORES` scores, from which exact ROC curves are traced. A class without
test rows has no recall, F1 or ROC and does not count in macro-F1; a class that is never predicted
has no precision. With test rows of one class only, macro-F1 is None. Scores that are not finite are
refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.artifacts.report import EvaluationMetrics, RocCurve
from components.confidence.intervals import wilson_interval
from components.evaluate.confident_errors import ConfidentError, MostConfidentErrors
from components.evaluate.confusion import (
    compute_class_metrics,
    compute_macro_f1,
    count_confusions,
)
from components.evaluate.roc import trace_roc_curve
from components.evaluate.roc.score_counts import ScoreCounter, make_score_counter
from components.evaluate.row_means import RowMeans, expected_calibration_error
from components.evaluate.score_checks import Labels, ScoreChecks, Scores


class MetricsAccumulator:
    """Metrics of `rows` test rows, whose labels and scores are added in parts, in their order.

    The predicted class is the first one with the largest score. Results do not depend on how the
    rows are cut into parts. Raises DataError for fewer than two classes.
    """

    def __init__(self, classes: Sequence[str], rows: int, max_errors: int = 0) -> None:
        self._classes = tuple(classes)
        self._checks = ScoreChecks(classes)
        self._confusion = np.zeros((len(classes), len(classes)), np.int64)
        self._means = RowMeans()
        self._errors = MostConfidentErrors(max_errors)
        self._counter = make_score_counter(rows, len(classes))

    def add(self, labels: Labels, scores: Scores) -> bool:
        """Add the next rows: labels [rows], class probabilities [rows, classes].

        Returns whether the scores are probabilities; what is wrong with them, `compute` raises.
        Raises DataError for labels out of range and for scores of another size.
        """
        first_row = self._checks.rows
        if not self._checks.check(labels, scores):
            return False
        predicted = scores.argmax(axis=1)
        self._confusion += count_confusions(labels, predicted, len(self._classes))
        self._means.add(labels, predicted, scores)
        self._errors.add(first_row, labels, predicted, scores)
        self._counter.add(labels, scores)
        return True

    def list_most_confident_errors(self) -> list[ConfidentError]:
        """At most `max_errors` misclassified rows, by falling confidence, then by row."""
        return self._errors.list_errors()

    def compute(self) -> EvaluationMetrics:
        """The metrics of all rows that were added.

        Raises DataError for no rows, and for scores that are not finite, not in [0, 1] or do not
        sum to 1 (within 1e-3).
        """
        self._checks.raise_first_error()
        rows, classes, confusion = self._checks.rows, self._classes, self._confusion
        support = confusion.sum(axis=1)
        correct = int(confusion.trace())
        low, high = wilson_interval(correct, rows)
        bins = self._means.calibration_bins()
        return EvaluationMetrics(
            classes=classes,
            test_rows=rows,
            accuracy=correct / rows,
            accuracy_low=low,
            accuracy_high=high,
            majority_accuracy=int(support.max()) / rows,
            macro_f1=compute_macro_f1(confusion),
            loss=self._means.mean_cross_entropy(),
            ece=expected_calibration_error(bins),
            per_class=compute_class_metrics(confusion, classes),
            missing_classes=tuple(
                name for name, count in zip(classes, support, strict=True) if count == 0
            ),
            confusion=tuple(map(tuple, confusion.tolist())),
            roc={
                name: trace_roc_curve(self._counter.count_class(number))
                for number, name in enumerate(classes)
            },
            micro_roc=_micro_average_roc(self._counter),
            calibration=bins,
        )


def compute_metrics(labels: Labels, scores: Scores, classes: Sequence[str]) -> EvaluationMetrics:
    """All metrics of class probabilities `scores` [rows, classes] against `labels` [rows].

    Raises DataError as `MetricsAccumulator` does.
    """
    accumulator = MetricsAccumulator(classes, len(labels))
    accumulator.add(labels, scores)
    return accumulator.compute()


def _micro_average_roc(counter: ScoreCounter) -> RocCurve:
    """One curve over all (row, class) pairs: the micro-average of one class against the rest."""
    curve = trace_roc_curve(counter.count_pairs())
    if curve is None:
        raise AssertionError(
            "with two classes or more, each row gives a positive and a negative pair"
        )
    return curve
