"""Metrics of labels that were chosen by threshold, from labels and scores that come in parts.

A class without test rows has no recall, F1 or ROC and does not count in macro-F1; a class that is
never given has no precision. What is held does not grow with the rows, except for up to
`score_counts.EXACT_SCORES` scores, from which exact ROC curves are traced; results do not depend on
how the rows are cut into parts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.artifacts.predictions import select_labels
from components.artifacts.report import CalibrationBin
from components.artifacts.report.multi_label import MultiLabelMetrics
from components.confidence.intervals import wilson_interval
from components.evaluate.multi_label.label_counts import LabelCounts
from components.evaluate.multi_label.label_errors import LabelError, MostConfidentLabelErrors
from components.evaluate.multi_label.thresholds import ChosenThreshold
from components.evaluate.roc import trace_roc_curve
from components.evaluate.roc.score_counts import make_score_counter
from components.evaluate.row_means import CALIBRATION_BINS, expected_calibration_error
from components.evaluate.score_checks import LabelSetChecks, LabelSets, Scores

UNITS = 1 << 24
"""Scores and losses are added up in units of 2^-24, so that the order does not matter."""
LEAST_DISTANCE = 2.0**-25
"""Of a score from 1 in float32, which has none between 1 - 2^-24 and 1; half of it here."""
_EDGES = np.linspace(0, 1, CALIBRATION_BINS + 1)


class LabelAccumulator:
    """Metrics of `rows` test rows, whose labels and scores are added in parts, in their order.

    A row is given a class if its score reaches the class's threshold. Raises DataError for fewer
    than two classes.
    """

    def __init__(
        self,
        classes: Sequence[str],
        thresholds: Sequence[ChosenThreshold],
        rows: int,
        max_errors: int = 0,
    ) -> None:
        self._classes, self._thresholds = tuple(classes), tuple(thresholds)
        self._limits = [each.threshold for each in thresholds]
        self._checks = LabelSetChecks(classes)
        self._counts = LabelCounts(len(classes))
        self._means = PairMeans()
        self._errors = MostConfidentLabelErrors(max_errors)
        self._scores = make_score_counter(rows, len(classes))

    def add(self, labels: LabelSets, scores: Scores) -> bool:
        """Add the next rows: labels, 0 or 1, and probabilities, [rows, classes] each.

        Returns whether the scores are probabilities; what is wrong with them, `compute` raises.
        Raises DataError for labels and scores of another size.
        """
        first_row = self._checks.rows
        if not self._checks.check(labels, scores):
            return False
        predicted = select_labels(scores, self._limits)
        self._counts.add(labels, predicted)
        self._means.add(labels, scores)
        self._errors.add(first_row, labels, predicted, scores)
        self._scores.add(labels, scores)
        return True

    def list_most_confident_errors(self) -> list[LabelError]:
        """At most `max_errors` rows with a wrong label, by falling confidence, then by row."""
        return self._errors.list_errors()

    def compute(self) -> MultiLabelMetrics:
        """The metrics of all rows that were added.

        Raises DataError for no rows, and for scores that are not finite or not in [0, 1].
        """
        self._checks.raise_first_error()
        counts, classes = self._counts, self._classes
        low, high = counts.bound_micro_f1() or (None, None)
        subset_low, subset_high = wilson_interval(counts.exact_rows, counts.rows)
        baseline, baseline_classes = counts.find_baseline()
        bins = self._means.calibration_bins()
        pairs, predicted_pairs = counts.count_pairs()
        return MultiLabelMetrics(
            classes=classes,
            test_rows=counts.rows,
            micro_f1=counts.compute_micro_f1(),
            micro_f1_low=low,
            micro_f1_high=high,
            macro_f1=counts.compute_macro_f1(),
            subset_accuracy=counts.exact_rows / counts.rows,
            subset_accuracy_low=subset_low,
            subset_accuracy_high=subset_high,
            hamming_loss=counts.wrong_pairs / (counts.rows * len(classes)),
            loss=self._means.mean_cross_entropy(),
            ece=expected_calibration_error(bins),
            baseline_micro_f1=baseline,
            baseline_labels=tuple(classes[index] for index in baseline_classes),
            per_class=counts.describe_classes(classes, self._thresholds),
            missing_classes=tuple(
                name for name, rows in zip(classes, counts.support, strict=True) if rows == 0
            ),
            label_counts=counts.describe_label_counts(),
            co_occurrence=pairs,
            predicted_co_occurrence=predicted_pairs,
            roc={
                name: trace_roc_curve(self._scores.count_class(number))
                for number, name in enumerate(classes)
            },
            micro_roc=trace_roc_curve(self._scores.count_pairs()),
            calibration=bins,
        )


class PairMeans:
    """Binary cross-entropy and calibration over all pairs of a row and a class."""

    def __init__(self) -> None:
        self._pairs = 0
        self._loss = 0
        self._bin_pairs = np.zeros(CALIBRATION_BINS, np.int64)
        self._bin_labels = np.zeros(CALIBRATION_BINS, np.int64)
        self._bin_scores = [0] * CALIBRATION_BINS

    def add(self, labels: LabelSets, scores: Scores) -> None:
        """Add rows: labels, 0 or 1, and probabilities, [rows, classes] each."""
        has = labels.astype(bool).ravel()
        values = scores.astype(np.float64).ravel()
        self._pairs += len(values)
        right = np.where(
            has,
            np.maximum(values, np.finfo(np.float32).tiny),
            np.maximum(1 - values, LEAST_DISTANCE),
        )
        self._loss += _sum_units(-np.log(right))
        numbers = np.searchsorted(_EDGES[1:-1], values, side="left")
        self._bin_pairs += np.bincount(numbers, minlength=CALIBRATION_BINS)
        self._bin_labels += np.bincount(numbers[has], minlength=CALIBRATION_BINS)
        for number in np.unique(numbers).tolist():
            self._bin_scores[number] += _sum_units(values[numbers == number])

    def mean_cross_entropy(self) -> float:
        """Mean of -log(score), or of -log(1 - score) for a class that the row has not, in nats."""
        return self._loss / (UNITS * self._pairs)

    def calibration_bins(self) -> tuple[CalibrationBin, ...]:
        """Share of the pairs whose row has the class, by score, in CALIBRATION_BINS equal bins."""
        return tuple(
            CalibrationBin(
                low=round(float(low), 6),
                high=round(float(high), 6),
                rows=pairs,
                confidence=score / (UNITS * pairs) if pairs else None,
                accuracy=labels / pairs if pairs else None,
            )
            for (low, high), pairs, score, labels in zip(
                itertools.pairwise(_EDGES),
                self._bin_pairs.tolist(),
                self._bin_scores,
                self._bin_labels.tolist(),
                strict=True,
            )
        )


def _sum_units(values: npt.NDArray[np.float64]) -> int:
    return int(np.rint(values * UNITS).astype(np.int64).sum())
