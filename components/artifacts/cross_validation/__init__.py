"""Summaries of cross-validations: the metrics of each fold, and what they say together.

The directory has `cross_validation.json` (a `CrossValidationContent`), `report.html` (the same for
people) and `predictions.parquet`: each row of the data once, as the model of the fold that held it
out scores it, in the columns of its kind of task. Imports neither numpy nor TensorFlow, so that
summaries can be read anywhere.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from components.artifacts.artifact import Artifact, verify_artifact
from components.artifacts.manifest import ArtifactKind, added_field
from components.artifacts.report import FiniteModel, LabelMetrics
from components.config.task import TaskKind
from components.errors import DataError

KIND: ArtifactKind = "cross_validation"
CONTENT_FILENAME = "cross_validation.json"
PAGE_FILENAME = "report.html"
PREDICTIONS_FILENAME = "predictions.parquet"


class FoldResult(FiniteModel):
    """The evaluation of one fold's model on the rows that the fold holds out.

    rows: number of rows per split; those of `test` are held out. metrics: the scalar ones that are
    defined, by name. report_digest: that of the report's manifest. per_class, with several labels
    per text: what the report says of each class, with the threshold of the fold's own model.
    """

    fold: int = Field(ge=1)
    rows: dict[str, int]
    metrics: dict[str, float]
    report_digest: str
    per_class: dict[str, LabelMetrics] = added_field({})


class MetricSummary(FiniteModel):
    """One metric over the folds in which it is defined.

    standard_deviation is that of the folds (with folds - 1), low and high bound the 95% interval of
    the mean (`components.cross_validation.statistics`); None for fewer than two folds.
    """

    folds: int = Field(ge=1)
    mean: float
    standard_deviation: float | None
    low: float | None
    high: float | None


class CrossValidationContent(FiniteModel):
    """The folds, in their order, and the summary of each metric.

    `rows` are those that were held out: each row once. `notes` are sentences for a person. `task`
    is the kind of task.
    """

    task: TaskKind = added_field("single_label")
    folds: int = Field(ge=2)
    rows: int = Field(ge=1)
    encoder: str
    options: dict[str, str]
    results: tuple[FoldResult, ...]
    metrics: dict[str, MetricSummary]
    notes: tuple[str, ...]


MAIN_METRICS = (
    *("accuracy", "micro_f1", "macro_f1", "subset_accuracy"),
    *("rmse", "r2", "mae", "loss"),
)
"""Those that a result is told by, the first ones first."""
MAX_DESCRIBED_METRICS = 2
METRICS_WITH_UNITS = ("rmse", "mae", "mean_error", "baseline_rmse", "baseline_mae")
"""Those in the units of the data, whatever their size is; all others are about 1 or less."""


def list_metric_names(content: CrossValidationContent) -> list[str]:
    """The names of the metrics, the main ones first, then the others in their order."""
    known = [name for name in MAIN_METRICS if name in content.metrics]
    return [*known, *(name for name in content.metrics if name not in known)]


def format_metric(name: str, value: float) -> str:
    """A value of a metric with four decimals; one in the units of the data with six digits."""
    return f"{value:,.6g}" if name in METRICS_WITH_UNITS else f"{value:.4f}"


def describe_metric(name: str, summary: MetricSummary) -> str:
    """The mean of a metric with its interval, if it has one."""
    mean = format_metric(name, summary.mean)
    if summary.low is None or summary.high is None:
        return mean
    low, high = format_metric(name, summary.low), format_metric(name, summary.high)
    return f"{mean} (95% interval {low} to {high})"


def describe_result(content: CrossValidationContent) -> str:
    """The main metrics with their intervals, in a few words."""
    names = list_metric_names(content)[:MAX_DESCRIBED_METRICS]
    return ", ".join(f"{name} {describe_metric(name, content.metrics[name])}" for name in names)


def open_cross_validation(directory: Path) -> Artifact[CrossValidationContent]:
    """Verify a summary and read its figures; DataError names the file that is wrong."""
    manifest = verify_artifact(directory, KIND)
    path = directory / CONTENT_FILENAME
    try:
        content = CrossValidationContent.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        raise DataError(f"{path}: no summary of a cross-validation; run it again") from None
    return Artifact(directory, manifest, content)
