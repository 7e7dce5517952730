"""Reports: the metrics of one checkpoint on the test rows.

The directory has `report.json` (a `ReportContent`), `report.html` (the same for people) and
`predictions.arrow` (`components.artifacts.predictions`). A metric that is not defined is None, with
its reason in `missing_classes`; NaN and infinity are refused when the content is made and again
when it is read. Imports neither numpy nor TensorFlow, so that reports can be read anywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.artifacts import manifest
from components.artifacts.artifact import Artifact, verify_artifact
from components.artifacts.checkpoint import EpochMetrics
from components.artifacts.manifest import added_field
from components.artifacts.release import StoredInputs
from components.artifacts.shard_metadata import LongTextCounts
from components.config.data import SINGLE_INPUT
from components.config.evaluate import parse_metric_name
from components.config.model import CUT, LongTexts
from components.errors import DataError

REPORT_KIND: manifest.ArtifactKind = "report"
CONTENT_FILENAME = "report.json"
PAGE_FILENAME = "report.html"
MAX_KFP_CLASSES = 100
"""Kubeflow stores the confusion matrix in its database, and draws all of it."""


class FiniteModel(BaseModel):
    """A frozen group of finite numbers; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ClassMetrics(FiniteModel):
    """One class against the rest; `support` is its number of test rows.

    precision is None if the class was never predicted; recall and f1 are None if it has no test
    rows.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int = Field(ge=0)


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


class RocCurve(FiniteModel):
    """Points of a receiver operating characteristic from (0, 0) to (1, 1), and the area under it.

    `thresholds` decrease; the first one is 2.0, above every score, so that no row is positive. The
    exact area is within `auc_error` of `auc`; 0 if all scores were compared with each other.
    """

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    thresholds: tuple[float, ...]
    auc: float = Field(ge=0, le=1)
    auc_error: float = Field(default=0.0, ge=0)


class CalibrationBin(FiniteModel):
    """Rows whose confidence (the largest score) is in (low, high]; None where it has no rows."""

    low: float
    high: float
    rows: int = Field(ge=0)
    confidence: float | None
    accuracy: float | None


class AnsweredRows(FiniteModel):
    """Rows whose confidence (the largest score) reaches the threshold, and the right ones of them.

    `rows` counts all rows, `answered` those that reach it, `correct` those of them that are right.
    """

    threshold: float = Field(ge=0, le=1)
    rows: int = Field(ge=1)
    answered: int = Field(ge=0)
    correct: int = Field(ge=0)

    @property
    def coverage(self) -> float:
        """Share of the rows that are answered."""
        return self.answered / self.rows

    @property
    def precision(self) -> float | None:
        """Share of the answered rows that are right; None if none is answered."""
        return self.correct / self.answered if self.answered else None


class Abstention(FiniteModel):
    """The threshold of confident answers (`evaluate.threshold`), and what it leaves of them.

    `precision` is the demanded one, None where the threshold was given. `threshold` is None if none
    reaches it on the validation rows; `validation` then has the threshold with the largest
    precision there, otherwise the chosen one. `test` and `curve` are about the test rows.
    """

    threshold: float | None
    precision: float | None
    validation: AnsweredRows | None
    test: AnsweredRows | None
    curve: tuple[AnsweredRows, ...]

    @property
    def is_idle(self) -> bool:
        """Whether all answers together reach the demanded precision, so that each is confident."""
        return self.precision is not None and self.threshold == 0

    def describe(self) -> str | None:
        """The threshold and its test rows in a sentence; None if no threshold was found."""
        if self.test is None:
            return None
        right = "none" if self.test.precision is None else f"{self.test.precision:.4f}"
        if self.is_idle and self.validation is not None:
            correct, rows = self.validation.correct, self.validation.rows
            reached = (
                f"All {rows:,} validation rows are right"
                if correct == rows
                else f"{correct:,} of {rows:,} validation rows are right, which reaches the "
                f"precision {self.precision:.4f}"
            )
            return (
                f"{reached}: the threshold is 0 and every answer is confident; {right} of the test "
                "rows are right."
            )
        return (
            f"Threshold {self.test.threshold:.4f}: {self.test.coverage:.4f} of the test rows are "
            f"answered confidently, {right} of these are right."
        )


class TemperatureScaling(FiniteModel):
    """The temperature that the logits are divided by, and what it does to the test scores.

    It is 1 where it could not be fitted, since each of the `validation_rows` is right. loss is the
    mean cross-entropy in nats and ece the expected calibration error, before and after;
    `calibration` is that of the scaled scores.
    """

    temperature: float = Field(gt=0)
    is_fitted: bool
    validation_rows: int = Field(ge=1)
    validation_loss: float = Field(ge=0)
    validation_loss_scaled: float = Field(ge=0)
    loss: float = Field(ge=0)
    loss_scaled: float = Field(ge=0)
    ece: float = Field(ge=0, le=1)
    ece_scaled: float = Field(ge=0, le=1)
    calibration: tuple[CalibrationBin, ...]

    def describe_failure(self) -> str | None:
        """Why the temperature could not be fitted, in a sentence; None if it was fitted."""
        if self.is_fitted:
            return None
        return (
            f"All {self.validation_rows:,} validation rows are right, so that no temperature can "
            "be fitted: it is 1, and the served scores are not calibrated."
        )


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


class DataSummary(FiniteModel):
    """The data behind the metrics.

    Rows and tokens per split, rejected rows by reason, and rows by length in tokens (all splits).
    `long_texts` says what is read of texts longer than `max_length`, `long_text_counts` how many
    there are.
    """

    rows: dict[str, int]
    tokens: dict[str, int]
    refused: dict[str, int]
    length_histogram: dict[int, int]
    max_length: int
    long_texts: LongTexts = added_field(CUT)
    long_text_counts: LongTextCounts | None = added_field(None)
    vocabulary_tokens: int
    notes: tuple[str, ...]

    @property
    def max_row_tokens(self) -> int:
        """The tokens of the longest possible row."""
        return self.max_length * self.long_texts.max_windows


class TrainingSummary(FiniteModel):
    """How the model was trained: encoder, options by name, and metrics of each epoch.

    step_losses are thinned (step, loss) pairs; best_step is the step whose weights were evaluated.
    """

    encoder: str
    frozen: bool
    pooling: str
    options: dict[str, str]
    history: tuple[EpochMetrics, ...]
    best_step: int
    step_losses: tuple[tuple[int, float], ...]
    examples_per_second: float | None


class ReportContent(EvaluationMetrics):
    """The metrics, the required ones, the worst errors, and the origin of all of it.

    The metrics are those of the checkpoint's scores. With `scaling`, the served scores are scaled,
    and `abstention` is about these. The digests are those of the inputs' manifests. `mistakes` is
    empty if the report must not contain texts. `class_profiles` is empty in reports of earlier
    versions. `inputs` names the text, or those of a pair.
    """

    min_accuracy: float
    min_macro_f1: float = 0.0
    class_profiles: dict[str, ClassProfile] = {}
    minimum: dict[str, float] = added_field({})
    scaling: TemperatureScaling | None = added_field(None)
    abstention: Abstention | None = added_field(None)
    mistakes: tuple[Misclassification, ...]
    data: DataSummary
    training: TrainingSummary
    shards_digest: str
    checkpoint_digest: str
    vocabulary_sha256: str
    source_sha256: str
    encoder_fingerprint: str
    inputs: StoredInputs = SINGLE_INPUT

    @property
    def evaluation_notes(self) -> tuple[str, ...]:
        """What a person should read of the temperature and the threshold, in sentences."""
        notes = (
            self.scaling.describe_failure() if self.scaling else None,
            self.abstention.describe() if self.abstention else None,
        )
        return tuple(note for note in notes if note is not None)


def open_report(directory: Path) -> Artifact[ReportContent]:
    """Verify a report and read its figures; DataError names the file that is wrong."""
    manifest = verify_artifact(directory, REPORT_KIND)
    return Artifact(directory, manifest, _read_content(directory / CONTENT_FILENAME))


def read_framed_page(directory: Path) -> str:
    """The report's page for the `srcdoc` of an iframe, as Kubeflow and notebooks show it.

    In such a frame, a link to an anchor of the page would load the page around the frame.
    """
    page = (directory / PAGE_FILENAME).read_text(encoding="utf-8")
    return page.replace('href="#', 'href="about:srcdoc#')


def _read_content(path: Path) -> ReportContent:
    try:
        return ReportContent.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: missing; run the evaluation again") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise DataError(f"{path}: {field}: {first['msg']}; run the evaluation again") from None
