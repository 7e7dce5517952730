"""A report's content without a model, for tests of the page and the readers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.artifacts.checkpoint import EpochMetrics
from components.artifacts.report import (
    DataSummary,
    ReportContent,
    TrainingSummary,
    open_single_label_report,
)
from components.evaluate import metrics
from components.evaluate.class_profiles import ClassProfiles
from components.evaluate.confident_errors import describe_errors
from components.evaluate.score_checks import Labels, Scores

CLASSES = ("calm", "loud", "odd")
MAX_LENGTH = 32


def labels_and_scores(rows: int = 240, classes: int = 3, seed: int = 5) -> tuple[Labels, Scores]:
    """Labels [rows] and probabilities [rows, classes] that are right more often than not."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows).astype(np.int32)
    logits = random.normal(0, 1, (rows, classes)) + 1.6 * np.eye(classes)[labels]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return labels, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def report_content(
    classes: tuple[str, ...] = CLASSES,
    text: str = "an ordinary text",
    mistakes: int = 5,
    labels: Labels | None = None,
    notes: Sequence[str] = (),
    min_accuracy: float = 0.5,
    epochs: int = 2,
) -> ReportContent:
    """The content for `classes`.

    Every mistake has the same `text`; `labels` (240 of them) replace the default ones.
    """
    usual, scores = labels_and_scores(classes=len(classes))
    labels = usual if labels is None else labels
    measured = metrics.MetricsAccumulator(classes, len(labels), mistakes)
    measured.add(labels, scores)
    profiles = ClassProfiles(classes, MAX_LENGTH)
    profiles.add(
        labels, scores, np.resize(np.arange(5, MAX_LENGTH + 1, dtype=np.int32), len(labels))
    )
    errors = measured.list_most_confident_errors()
    history = tuple(
        EpochMetrics(
            epoch=number,
            steps=10 * number,
            train_loss=1.0 / number,
            train_accuracy=1 - 0.4 / number,
            validation_loss=1.1 / number,
            validation_accuracy=1 - 0.5 / number,
            learning_rate=1e-4,
            seconds=75.0,
        )
        for number in range(1, epochs + 1)
    )
    return ReportContent(
        **dict(measured.compute()),
        min_accuracy=min_accuracy,
        class_profiles=profiles.compute(),
        mistakes=describe_errors(errors, [text] * len(errors), classes),
        data=DataSummary(
            rows={"train": 900, "validation": 100, "test": 240},
            tokens={"train": 9000, "validation": 1000, "test": 2400},
            refused={"no text": 2},
            length_histogram={5: 100, 9: 640, 20: 460, 32: 40},
            max_length=MAX_LENGTH,
            vocabulary_tokens=1234,
            notes=tuple(notes),
        ),
        training=TrainingSummary(
            encoder="scratch",
            frozen=False,
            pooling="mean",
            options={"Batch size": "32"},
            history=history,
            best_step=10 * epochs,
            step_losses=tuple((step, 2.0 / step) for step in range(1, 10 * epochs + 1)),
            examples_per_second=61.0,
        ),
        shards_digest="a" * 64,
        checkpoint_digest="b" * 64,
        vocabulary_sha256="c" * 64,
        source_sha256="d" * 64,
        encoder_fingerprint="e" * 64,
    )


def open_single_label(directory: Path) -> ReportContent:
    """The verified content of a report about single labels."""
    return open_single_label_report(directory).content
