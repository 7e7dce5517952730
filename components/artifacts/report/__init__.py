"""Reports: the metrics of one checkpoint on the test rows.

The directory has `report.json` (a `Report`), `report.html` (the same for people) and
`predictions.arrow` (`components.artifacts.predictions`). A metric that is not defined is None, with
its reason in `missing_classes`; NaN and infinity are refused when the content is made and again
when it is read. Imports neither numpy nor TensorFlow, so that reports can be read anywhere.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from components.artifacts import manifest
from components.artifacts.artifact import Artifact, verify_artifact
from components.artifacts.report.confidence import Abstention, AnsweredRows, TemperatureScaling
from components.artifacts.report.figures import (
    CalibrationBin,
    ClassMetrics,
    FiniteModel,
    RocCurve,
)
from components.artifacts.report.multi_label import LabelMetrics, LabelMistake, MultiLabelReport
from components.artifacts.report.origin import DataSummary, ReportOrigin, TrainingSummary
from components.artifacts.report.regression import NumberMistake, RegressionReport
from components.artifacts.report.single_label import (
    ClassProfile,
    EvaluationMetrics,
    Misclassification,
    ReportContent,
)
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.errors import DataError

__all__ = [
    "CONTENT_FILENAME",
    "MAX_KFP_CLASSES",
    "PAGE_FILENAME",
    "REPORT_KIND",
    "Abstention",
    "AnsweredRows",
    "CalibrationBin",
    "ClassMetrics",
    "ClassProfile",
    "DataSummary",
    "EvaluationMetrics",
    "FiniteModel",
    "LabelMetrics",
    "LabelMistake",
    "Misclassification",
    "MultiLabelReport",
    "NumberMistake",
    "RegressionReport",
    "Report",
    "ReportContent",
    "ReportOrigin",
    "RocCurve",
    "TemperatureScaling",
    "TrainingSummary",
    "list_metrics",
    "open_report",
    "open_single_label_report",
    "read_framed_page",
]

REPORT_KIND: manifest.ArtifactKind = "report"
CONTENT_FILENAME = "report.json"
PAGE_FILENAME = "report.html"
MAX_KFP_CLASSES = 100
"""Kubeflow stores the confusion matrix in its database, and draws all of it."""
Report = ReportContent | MultiLabelReport | RegressionReport
"""What report.json holds, by the kind of task: one class, several, or a number per text."""
Interval = tuple[float, float | None, float | None]
"""A metric, and the low and high end of its 95% interval if it has one."""
_REPORTS: dict[str, type[Report]] = {
    "single_label": ReportContent,
    "multi_label": MultiLabelReport,
    "regression": RegressionReport,
}


class _Kind(BaseModel):
    """The one field by which the kind of a report is known."""

    task: TaskInfo = SINGLE_LABEL


def open_report(directory: Path) -> Artifact[Report]:
    """Verify a report and read its figures; DataError names the file that is wrong."""
    manifest = verify_artifact(directory, REPORT_KIND)
    return Artifact(directory, manifest, _read_content(directory / CONTENT_FILENAME))


def open_single_label_report(directory: Path) -> Artifact[ReportContent]:
    """The same for the steps that take models with one class per text; DataError for others."""
    opened = open_report(directory)
    if not isinstance(opened.content, ReportContent):
        raise DataError(
            f"{directory}: is about a model with task.kind={opened.content.task.kind}, which this "
            "step does not take"
        )
    return Artifact(directory, opened.manifest, opened.content)


def read_framed_page(directory: Path) -> str:
    """The report's page for the `srcdoc` of an iframe, as Kubeflow and notebooks show it.

    In such a frame, a link to an anchor of the page would load the page around the frame.
    """
    page = (directory / PAGE_FILENAME).read_text(encoding="utf-8")
    return page.replace('href="#', 'href="about:srcdoc#')


def list_metrics(report: Report) -> dict[str, Interval]:
    """The scalar metrics that are defined, by name, each with its interval."""
    values = report.scalar_metrics()
    return {
        name: (value, values.get(f"{name}_low"), values.get(f"{name}_high"))
        for name, value in values.items()
        if not name.endswith(("_low", "_high")) and name != "test_rows"
    }


def _read_content(path: Path) -> Report:
    try:
        text = path.read_bytes()
        return _REPORTS[_Kind.model_validate_json(text).task.kind].model_validate_json(text)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; run the evaluation again") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise DataError(f"{path}: {field}: {first['msg']}; run the evaluation again") from None
