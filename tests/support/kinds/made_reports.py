"""Reports of several labels and of numbers without a model, for tests of the page and the gate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.artifacts.checkpoint import EpochMetrics
from components.artifacts.report import MultiLabelReport, RegressionReport
from components.artifacts.task import TaskInfo
from components.evaluate.multi_label.label_errors import describe_label_errors
from components.evaluate.multi_label.label_metrics import LabelAccumulator
from components.evaluate.multi_label.thresholds import ChosenThreshold, choose_thresholds
from components.evaluate.regression.error_profiles import describe_number_errors
from components.evaluate.regression.number_metrics import NumberAccumulator, TrainingNumbers
from components.evaluate.score_checks import LabelSets, Numbers, Scores
from tests.support.releases.made_report import CLASSES, MAX_LENGTH, report_content

ROWS = 240
MULTI_LABEL = TaskInfo(kind="multi_label")
REGRESSION = TaskInfo(kind="regression", mean=3.0, std=1.25)


def label_sets_and_scores(
    rows: int = ROWS, classes: int = 3, seed: int = 5
) -> tuple[LabelSets, Scores]:
    """Labels [rows, classes], rarer from class to class, and scores that mostly fit them."""
    random = np.random.default_rng(seed)
    shares = 0.6 / (1 + np.arange(classes))
    labels = (random.random((rows, classes)) < shares).astype(np.uint8)
    logits = random.normal(0, 1, (rows, classes)) + 2.4 * labels - 1.5
    return labels, (1 / (1 + np.exp(-logits))).astype(np.float32)


def numbers_and_scores(rows: int = ROWS, seed: int = 5) -> tuple[Numbers, Scores]:
    """Numbers from 1 to 5 [rows], and predicted ones [rows, 1] that are off by about one half."""
    random = np.random.default_rng(seed)
    numbers = random.integers(1, 6, rows).astype(np.float64)
    predicted = 0.8 * numbers + 0.6 + random.normal(0, 0.5, rows)
    return numbers, predicted.astype(np.float32)[:, np.newaxis]


def multi_label_report(
    classes: tuple[str, ...] = CLASSES,
    text: str = "an ordinary text",
    mistakes: int = 5,
    labels: LabelSets | None = None,
    thresholds: Sequence[ChosenThreshold] = (),
) -> MultiLabelReport:
    """The content for `classes`; every mistake has the same text."""
    usual, scores = label_sets_and_scores(classes=len(classes))
    labels = usual if labels is None else labels
    chosen = thresholds or choose_thresholds([(usual, scores)], classes, len(usual))
    measured = LabelAccumulator(classes, chosen, len(labels), mistakes)
    measured.add(labels, scores)
    errors = measured.list_most_confident_errors()
    return MultiLabelReport(
        **dict(measured.compute()),
        mistakes=describe_label_errors(errors, [text] * len(errors), classes),
        **_describe_origin(MULTI_LABEL, {"validation_accuracy": 0.4, "validation_micro_f1": 0.6}),
    )


def regression_report(
    text: str = "an ordinary text",
    mistakes: int = 5,
    numbers: Numbers | None = None,
    predicted: Scores | None = None,
) -> RegressionReport:
    """The content for `numbers` (240 of them); every mistake has the same text."""
    usual, scores = numbers_and_scores()
    numbers = usual if numbers is None else numbers
    scores = scores if predicted is None else predicted
    measured = NumberAccumulator(numbers, TrainingNumbers(*REGRESSION.scale), MAX_LENGTH, mistakes)
    lengths = np.resize(np.arange(5, MAX_LENGTH + 1, dtype=np.int32), len(numbers))
    measured.add(numbers, scores, lengths)
    errors = measured.list_largest_errors()
    return RegressionReport(
        **dict(measured.compute()),
        mistakes=describe_number_errors(errors, [text] * len(errors)),
        **_describe_origin(REGRESSION, {}),
    )


def _describe_origin(task: TaskInfo, scores: dict[str, float]) -> dict[str, object]:
    """The origin of an ordinary report, with epochs that have these scores."""
    usual = report_content()
    history = tuple(
        EpochMetrics(
            epoch=epoch.epoch,
            steps=epoch.steps,
            train_loss=epoch.train_loss,
            validation_loss=epoch.validation_loss,
            learning_rate=epoch.learning_rate,
            seconds=epoch.seconds,
            **{name: value * epoch.epoch / 2 for name, value in scores.items()},
        )
        for epoch in usual.training.history
    )
    names = ("data", "shards_digest", "checkpoint_digest", "vocabulary_sha256", "source_sha256")
    return {
        **{name: getattr(usual, name) for name in (*names, "encoder_fingerprint", "inputs")},
        "training": usual.training.model_copy(update={"history": history}),
        "task": task,
    }
