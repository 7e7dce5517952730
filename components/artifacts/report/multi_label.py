"""The report of a model that gives each text any number of labels."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from components.artifacts.manifest import added_field
from components.artifacts.report.figures import (
    CalibrationBin,
    ClassMetrics,
    FiniteModel,
    RocCurve,
)
from components.artifacts.report.origin import ReportOrigin
from components.config.evaluate import parse_metric_name
from components.errors import shorten_value

MAX_BASELINE_LABELS = 3
"""Labels of the baseline that are named."""
MAX_COUNTED_PAIRS_CLASSES = 100
"""With more classes, pairs of classes are not counted: their number is the square."""


class LabelMetrics(ClassMetrics):
    """One class against the rest.

    `threshold` is the score from which a text is given the class; it was chosen for F1 on the
    validation rows, of which `validation_rows` have the class. Without any, it is 0.5.
    """

    threshold: float = Field(ge=0, le=1)
    validation_rows: int = Field(ge=0)


class LabelCount(FiniteModel):
    """Test rows with so many labels: `rows` that have them, `predicted_rows` that are given them"""

    labels: int = Field(ge=0)
    rows: int = Field(ge=0)
    predicted_rows: int = Field(ge=0)


class LabelMistake(FiniteModel):
    """A test row that was given other labels than its own.

    Of its wrong labels, `wrong` is the one that the model was surest about: not given although the
    row has it (`is_missed`), or given although it has not. `confidence` is how sure: its score, or
    1 minus its score for a missed one.
    """

    row: int = Field(ge=0)
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    wrong: str
    is_missed: bool
    confidence: float
    text: str
    text_pair: str | None = added_field(None)


class MultiLabelMetrics(FiniteModel):
    """Every metric that follows from labels, scores and thresholds.

    micro_f1 pools all (row, class) pairs; micro_f1_low and micro_f1_high bound its 95% interval (a
    bootstrap of the rows). macro_f1 is the mean over the classes that test rows have.
    subset_accuracy is the share of the rows whose labels are all right, with its 95% interval
    (Wilson); hamming_loss the share of wrong (row, class) pairs. loss is the mean of the binary
    cross-entropy over these pairs, in nats; ece their expected calibration error. baseline_micro_f1
    is the largest micro-F1 of giving each text the same labels, which are baseline_labels.
    label_counts has the rows by number of labels. co_occurrence and predicted_co_occurrence count
    rows by pairs of classes, [classes][classes], and are empty with more than 100 classes.
    roc and calibration are about single classes, micro_roc pools all pairs.
    """

    classes: tuple[str, ...] = Field(min_length=2)
    test_rows: int = Field(ge=1)
    micro_f1: float | None
    micro_f1_low: float | None
    micro_f1_high: float | None
    macro_f1: float | None
    subset_accuracy: float = Field(ge=0, le=1)
    subset_accuracy_low: float = Field(ge=0, le=1)
    subset_accuracy_high: float = Field(ge=0, le=1)
    hamming_loss: float = Field(ge=0, le=1)
    loss: float = Field(ge=0)
    ece: float = Field(ge=0, le=1)
    baseline_micro_f1: float = Field(ge=0, le=1)
    baseline_labels: tuple[str, ...]
    per_class: dict[str, LabelMetrics]
    missing_classes: tuple[str, ...]
    label_counts: tuple[LabelCount, ...]
    co_occurrence: tuple[tuple[int, ...], ...]
    predicted_co_occurrence: tuple[tuple[int, ...], ...]
    roc: dict[str, RocCurve | None]
    micro_roc: RocCurve | None
    calibration: tuple[CalibrationBin, ...]

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The score from which a text is given each of the classes."""
        return tuple(figures.threshold for figures in self.per_class.values())

    @property
    def has_labels(self) -> bool:
        """Whether some test row has a label, without which no metric means anything."""
        return len(self.missing_classes) < len(self.classes)

    @property
    def unpredicted_classes(self) -> tuple[str, ...]:
        """The classes that test rows have, but none was given."""
        return tuple(
            name
            for name, figures in self.per_class.items()
            if figures.support and figures.precision is None
        )

    @property
    def unchosen_classes(self) -> tuple[str, ...]:
        """The classes that no validation row has, so that their threshold was not chosen."""
        return tuple(
            name for name, figures in self.per_class.items() if not figures.validation_rows
        )

    def quote_baseline(self) -> str:
        """The first labels of the baseline, quoted, and how many more there are."""
        names = [f'"{shorten_value(name)}"' for name in self.baseline_labels[:MAX_BASELINE_LABELS]]
        more = len(self.baseline_labels) - len(names)
        return ", ".join(names) + (f" and {more:,} more" if more else "")

    def find_metric(self, name: str) -> float | None:
        """A metric by its name in `evaluate.minimum`; None where it is undefined."""
        metric, class_name = parse_metric_name(name)
        figures = self if class_name is None else self.per_class[class_name]
        value: float | None = getattr(figures, metric)
        return value

    def scalar_metrics(self) -> dict[str, float]:
        """The scalar metrics that are defined, by name, as a pipeline reports them."""
        metrics: dict[str, float | None] = {
            "micro_f1": self.micro_f1,
            "micro_f1_low": self.micro_f1_low,
            "micro_f1_high": self.micro_f1_high,
            "baseline_micro_f1": self.baseline_micro_f1,
            "macro_f1": self.macro_f1,
            "subset_accuracy": self.subset_accuracy,
            "subset_accuracy_low": self.subset_accuracy_low,
            "subset_accuracy_high": self.subset_accuracy_high,
            "hamming_loss": self.hamming_loss,
            "loss": self.loss,
            "ece": self.ece,
            "micro_auc": self.micro_roc.auc if self.micro_roc else None,
            "test_rows": float(self.test_rows),
        }
        return {name: value for name, value in metrics.items() if value is not None}


class GatedLabelMetrics(MultiLabelMetrics):
    """The metrics, the required ones, and the worst errors (none if it must not contain texts)."""

    min_macro_f1: float = 0.0
    minimum: dict[str, float] = added_field({})
    mistakes: tuple[LabelMistake, ...]


class MultiLabelReport(ReportOrigin, GatedLabelMetrics):
    """The metrics, the required ones, the worst errors, and the origin of all of it.

    The digests are those of the inputs' manifests. `mistakes` is empty if the report must not
    contain texts. `inputs` names the text, or those of a pair.
    """

    @property
    def evaluation_notes(self) -> tuple[str, ...]:
        """What a person should read of the thresholds, in sentences."""
        if not (names := self.unchosen_classes):
            return ()
        listed = ", ".join(f'"{name}"' for name in names[:5])
        more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
        return (
            f"No validation row has {listed}{more}: the threshold is 0.5; add rows, or set a "
            "larger data.validation_fraction.",
        )

    @property
    def main_metric(self) -> str:
        """Name of the metric that models are compared by."""
        return "micro_f1"

    @property
    def headline(self) -> str:
        """The main metric in words."""
        return f"micro-F1 {'undefined' if self.micro_f1 is None else f'{self.micro_f1:.4f}'}"

    @property
    def pooled_curve(self) -> RocCurve | None:
        """The ROC curve that a pipeline shows."""
        return self.micro_roc

    @property
    def result_figures(self) -> dict[str, Any]:
        """The figures of a run's result, by name."""
        return {
            "task": self.task.kind,
            **self.scalar_metrics(),
            "baseline_labels": list(self.baseline_labels),
            "thresholds": {name: each.threshold for name, each in self.per_class.items()},
            "test_rows": self.test_rows,
        }
