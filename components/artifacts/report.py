"""A report says how good one checkpoint is on the test rows, and holds no figure that is not a finite number.

The directory holds `report.json` (a `ReportContent`), `report.html` (the same for people) and `predictions.arrow` (see
`components.artifacts.predictions`). A figure that is not defined is None, with its reason in `missing_classes`; a NaN
or an infinity is refused when the content is made and again when it is read.

This module needs neither numpy nor TensorFlow, so that whatever shows the figures can read them anywhere.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.artifacts import manifest
from components.artifacts.artifact import Artifact, verify_artifact
from components.artifacts.checkpoint import EpochMetrics
from components.errors import DataError

REPORT_KIND: manifest.ArtifactKind = "report"
CONTENT_FILENAME = "report.json"
PAGE_FILENAME = "report.html"


class FiniteModel(BaseModel):
    """A frozen group of figures, all finite; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ClassMetrics(FiniteModel):
    """One class against the rest; `support` is its number of test rows.

    precision is None where the class was never predicted; recall and f1 are None where it has no test rows.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int = Field(ge=0)


class RocCurve(FiniteModel):
    """Points of a receiver operating characteristic, from (0, 0) to (1, 1), and the area under the full curve.

    `thresholds` fall; the first one is 2.0, above every score: no row is positive there.
    """

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    thresholds: tuple[float, ...]
    auc: float = Field(ge=0, le=1)


class CalibrationBin(FiniteModel):
    """Rows whose confidence (the largest score) lies in (low, high]; without rows both means are None."""

    low: float
    high: float
    rows: int = Field(ge=0)
    confidence: float | None
    accuracy: float | None


class Misclassification(FiniteModel):
    """A test row that was given the wrong class; `confidence` is the score of that class, `text` is cut when long."""

    row: int = Field(ge=0)
    label: str
    predicted: str
    confidence: float
    label_score: float
    text: str


class EvaluationMetrics(FiniteModel):
    """Every figure that follows from labels and scores alone; rows of `confusion` are true classes, columns predicted ones.

    accuracy_low and accuracy_high bound the 95% interval (Wilson). majority_accuracy is what always answering the most
    frequent class would reach. macro_f1 is the mean over the classes that have test rows, None if fewer than two have.
    loss is the mean cross-entropy in nats. roc has one curve per class against the rest (None where it is not defined),
    micro_roc pools all of them.
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
    missing_classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    roc: dict[str, RocCurve | None]
    micro_roc: RocCurve
    calibration: tuple[CalibrationBin, ...]

    @property
    def one_class(self) -> bool:
        """Whether all test rows are of one class, so that the accuracy proves nothing."""
        return len(self.classes) - len(self.missing_classes) < 2

    def scalar_metrics(self) -> dict[str, float]:
        """The single figures that are defined, by name, as a pipeline's metrics."""
        figures: dict[str, float | None] = {
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
        return {name: value for name, value in figures.items() if value is not None}


class DataSummary(FiniteModel):
    """The data behind the figures: rows and tokens per split, refused rows by reason, rows by length in tokens (all splits)."""

    rows: dict[str, int]
    tokens: dict[str, int]
    refused: dict[str, int]
    length_histogram: dict[int, int]
    max_length: int
    vocabulary_tokens: int
    notes: tuple[str, ...]


class TrainingSummary(FiniteModel):
    """How the model came to be: encoder, options by name, what each epoch reached, and the loss by step, thinned to (step, loss).

    best_step is the step whose weights were evaluated.
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
    """The measures, what a candidate must reach, the worst mistakes, and where all of it comes from.

    The digests are those of the inputs' manifests. `mistakes` is empty when the report must hold no user's text.
    """

    min_accuracy: float
    mistakes: tuple[Misclassification, ...]
    data: DataSummary
    training: TrainingSummary
    shards_digest: str
    checkpoint_digest: str
    vocabulary_sha256: str
    source_sha256: str
    encoder_fingerprint: str


def open_report(directory: Path) -> Artifact[ReportContent]:
    """Verify a report and read its figures; DataError names the file that is wrong."""
    manifest = verify_artifact(directory, REPORT_KIND)
    return Artifact(directory, manifest, _read_content(directory / CONTENT_FILENAME))


def _read_content(path: Path) -> ReportContent:
    try:
        return ReportContent.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: missing; run the evaluation again") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise DataError(f"{path}: {field}: {first['msg']}; run the evaluation again") from None
