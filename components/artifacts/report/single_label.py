"""The report of a model that gives each text one class."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from components.artifacts.manifest import added_field
from components.artifacts.report.confidence import Abstention, TemperatureScaling
from components.artifacts.report.figures import (
    CalibrationBin,
    ClassMetrics,
    FiniteModel,
    RocCurve,
)
from components.artifacts.report.origin import ReportOrigin
from components.config.evaluate import parse_metric_name


class ClassProfile(FiniteModel):
    """The test rows of one class: how long they are, and how sure the model is about them.

    tokens_low, tokens_median, tokens_high: 5%, 50% and 95% of the texts have at most so many
    tokens; None if the class has no test rows. confidence_right and confidence_wrong: mean score of
    the predicted class where that is the right one, and where it is not; None without such rows.
    """

    tokens_low: int | None
    tokens_median: int | None
    tokens_high: int | None
    confidence_right: float | None
    confidence_wrong: float | None


class Misclassification(FiniteModel):
    """A test row with a wrong predicted class.

    `confidence` is the score of that class, `label_score` that of the true one; long texts are cut.
    `text_pair` is the second text of a pair.
    """

    row: int = Field(ge=0)
    label: str
    predicted: str
    confidence: float
    label_score: float
    text: str
    text_pair: str | None = added_field(None)


def _find_majority_class(fields: dict[str, Any]) -> str:
    """The first class with the most test rows, by the fields that were read before."""
    per_class: dict[str, ClassMetrics] = fields.get("per_class", {})
    return max(per_class, key=lambda name: per_class[name].support, default="")


class EvaluationMetrics(FiniteModel):
    """Every metric that follows from labels and scores alone.

    accuracy_low and accuracy_high bound the 95% interval (Wilson). majority_accuracy is that of
    always predicting majority_class, the first of the classes with the most test rows; in a report
    without majority_class it follows from per_class. macro_f1 is the mean over the classes that
    have test rows, None if fewer than two have. loss is the mean cross-entropy in nats, ece the
    expected calibration error. Rows of confusion are true classes, columns predicted ones. roc has
    one curve per class against the rest (None where it is not defined), micro_roc pools all of
    them.
    """

    classes: tuple[str, ...] = Field(min_length=2)
    test_rows: int = Field(ge=1)
    accuracy: float = Field(ge=0, le=1)
    accuracy_low: float = Field(ge=0, le=1)
    accuracy_high: float = Field(ge=0, le=1)
    majority_accuracy: float = Field(ge=0, le=1)
    macro_f1: float | None
    loss: float = Field(ge=0)
    ece: float = Field(ge=0, le=1)
    per_class: dict[str, ClassMetrics]
    majority_class: str = Field(default_factory=_find_majority_class)
    missing_classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    roc: dict[str, RocCurve | None]
    micro_roc: RocCurve
    calibration: tuple[CalibrationBin, ...]

    @property
    def unpredicted_classes(self) -> tuple[str, ...]:
        """The classes that have test rows, but were never predicted."""
        return tuple(
            name
            for name, figures in self.per_class.items()
            if figures.support and figures.precision is None
        )

    @property
    def one_class(self) -> bool:
        """Whether all test rows are of one class, so that the accuracy means nothing."""
        return len(self.classes) - len(self.missing_classes) < 2

    def find_metric(self, name: str) -> float | None:
        """A metric by its name in `evaluate.minimum`; None where it is undefined."""
        metric, class_name = parse_metric_name(name)
        figures = self if class_name is None else self.per_class[class_name]
        value: float | None = getattr(figures, metric)
        return value

    def scalar_metrics(self) -> dict[str, float]:
        """The scalar metrics that are defined, by name, as a pipeline reports them."""
        metrics: dict[str, float | None] = {
            "accuracy": self.accuracy,
            "accuracy_low": self.accuracy_low,
            "accuracy_high": self.accuracy_high,
            "majority_accuracy": self.majority_accuracy,
            "macro_f1": self.macro_f1,
            "loss": self.loss,
            "ece": self.ece,
            "micro_auc": self.micro_roc.auc,
            "test_rows": float(self.test_rows),
        }
        return {name: value for name, value in metrics.items() if value is not None}


class GatedMetrics(EvaluationMetrics):
    """The metrics, the required ones, and the worst errors.

    The metrics are those of the checkpoint's scores. With `scaling`, the served scores are scaled,
    and `abstention` is about these. `mistakes` is empty if the report must not contain texts.
    `class_profiles` is empty in reports of earlier versions.
    """

    min_accuracy: float
    min_macro_f1: float = 0.0
    class_profiles: dict[str, ClassProfile] = Field({})
    minimum: dict[str, float] = added_field({})
    scaling: TemperatureScaling | None = added_field(None)
    abstention: Abstention | None = added_field(None)
    mistakes: tuple[Misclassification, ...]


class ReportContent(ReportOrigin, GatedMetrics):
    """The metrics, the required ones, the worst errors, and the origin of all of it.

    The metrics are those of the checkpoint's scores. With `scaling`, the served scores are scaled,
    and `abstention` is about these. The digests are those of the inputs' manifests. `mistakes` is
    empty if the report must not contain texts. `class_profiles` is empty in reports of earlier
    versions. `inputs` names the text, or those of a pair.
    """

    @property
    def evaluation_notes(self) -> tuple[str, ...]:
        """What a person should read of the temperature and the threshold, in sentences."""
        notes = (
            self.scaling.describe_failure() if self.scaling else None,
            self.abstention.describe() if self.abstention else None,
        )
        return tuple(note for note in notes if note is not None)

    @property
    def main_metric(self) -> str:
        """Name of the metric that models are compared by."""
        return "accuracy"

    @property
    def headline(self) -> str:
        """The main metric in words."""
        return f"accuracy {self.accuracy:.4f}"

    @property
    def pooled_curve(self) -> RocCurve | None:
        """The ROC curve that a pipeline shows."""
        return self.micro_roc

    @property
    def result_figures(self) -> dict[str, Any]:
        """The figures of a run's result, by name."""
        return {
            "accuracy": self.accuracy,
            "accuracy_low": self.accuracy_low,
            "accuracy_high": self.accuracy_high,
            "majority_class": self.majority_class,
            "majority_share": self.majority_accuracy,
            "macro_f1": self.macro_f1,
            "test_rows": self.test_rows,
        }
