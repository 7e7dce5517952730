"""What is chosen on validation rows and measured on the test rows: temperature and threshold."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from components.artifacts.predictions import PredictionsWriter, iterate_predictions
from components.artifacts.report import Abstention, EvaluationMetrics, TemperatureScaling
from components.confidence.calibration import apply_temperature, fit_temperature
from components.confidence.threshold import AnswerCounter
from components.config.evaluate import EvaluateConfig
from components.evaluate.row_means import RowMeans, expected_calibration_error
from components.evaluate.score_checks import Labels, Scores

Parts = Iterable[tuple[Labels, Scores]]
UNSCALED = 1.0


@contextmanager
def keep_scores(parts: Parts) -> Iterator[Callable[[], Parts]]:
    """Yield a function that reads the parts again, from a temporary file: memory is that of one."""
    with tempfile.TemporaryDirectory(prefix="kubert-validation-") as temporary:
        directory = Path(temporary)
        with PredictionsWriter(directory) as writer:
            for labels, scores in parts:
                writer.add(labels, scores, None)
        yield lambda: ((part.labels, part.scores) for part in iterate_predictions(directory))


class CalibrationMeter:
    """Fits the temperature on validation rows, and measures it on the test rows."""

    def __init__(self, read_validation: Callable[[], Parts]) -> None:
        fitted = fit_temperature(read_validation)
        self.temperature = fitted or UNSCALED
        self._is_fitted = fitted is not None
        self._validation_loss, self._rows = _measure_loss(read_validation(), UNSCALED)
        self._validation_loss_scaled = (
            _measure_loss(read_validation(), self.temperature)[0]
            if self._is_fitted
            else self._validation_loss
        )
        self._means = RowMeans()

    def scale(self, scores: Scores) -> Scores:
        """The scores of the served model."""
        return apply_temperature(scores, self.temperature)

    def add(self, labels: Labels, scaled: Scores) -> None:
        """Add test rows: labels [rows], scaled class probabilities [rows, classes]."""
        self._means.add(labels, scaled.argmax(axis=1), scaled)

    def summarize(self, metrics: EvaluationMetrics) -> TemperatureScaling:
        """What was measured; `metrics` are those of the scores as they were."""
        bins = self._means.calibration_bins()
        return TemperatureScaling(
            temperature=self.temperature,
            is_fitted=self._is_fitted,
            validation_rows=self._rows,
            validation_loss=self._validation_loss,
            validation_loss_scaled=self._validation_loss_scaled,
            loss=metrics.loss,
            loss_scaled=self._means.mean_cross_entropy(),
            ece=metrics.ece,
            ece_scaled=expected_calibration_error(bins),
            calibration=bins,
        )


class AbstentionMeter:
    """Chooses the threshold on validation rows, and measures it on the test rows.

    A threshold that were chosen on the test rows would promise more there than on other texts.
    """

    def __init__(self, config: EvaluateConfig, validation: Iterable[tuple[Labels, Scores]]) -> None:
        self._test = AnswerCounter()
        self._precision = config.demanded_precision
        self._threshold = config.fixed_threshold
        self._validation = self._best = None
        if self._precision is None:
            return
        counter = AnswerCounter()
        for labels, scores in validation:
            counter.add(labels, scores)
        self._validation = counter.choose_threshold(self._precision)
        if self._validation is None:
            self._best = counter.find_most_precise()
        else:
            self._threshold = self._validation.threshold

    def add(self, labels: Labels, scores: Scores) -> None:
        """Add test rows: labels [rows], class probabilities [rows, classes]."""
        self._test.add(labels, scores)

    def summarize(self) -> Abstention:
        """The threshold, and what was measured."""
        return Abstention(
            threshold=self._threshold,
            precision=self._precision,
            validation=self._validation or self._best,
            test=None if self._threshold is None else self._test.measure(self._threshold),
            curve=self._test.trace_curve(),
        )


def _measure_loss(parts: Parts, temperature: float) -> tuple[float, int]:
    """Mean cross-entropy in nats at a temperature, and the number of rows."""
    means, rows = RowMeans(), 0
    for labels, scores in parts:
        scaled = apply_temperature(scores, temperature)
        means.add(labels, scaled.argmax(axis=1), scaled)
        rows += len(labels)
    return means.mean_cross_entropy(), rows
