"""Step `summarize`: the reports of all folds -> the summary of the cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.artifacts import cross_validation, manifest
from components.artifacts.artifact import Artifact
from components.artifacts.cross_validation import CrossValidationContent, FoldResult
from components.artifacts.report import MultiLabelReport, Report, ReportContent, open_report
from components.cross_validation.fold_mistakes import list_fold_mistakes
from components.cross_validation.out_of_fold import write_out_of_fold
from components.cross_validation.report_page import render_page
from components.cross_validation.statistics import summarize_metrics
from components.errors import DataError
from components.progress import StepName, report

SAME_FIELDS = ("classes", "vocabulary_sha256", "encoder_fingerprint", "source_sha256", "inputs")
"""What the reports of one cross-validation have in common, beside the kind of task."""


def run(reports: Sequence[Path], folds: int, output: Path) -> CrossValidationContent:
    """Write the summary of the reports, in the order of their folds, to `output`.

    Each report is verified first. Equal reports give an equal summary. Raises DataError for a
    damaged report, for fewer or more of them than `folds`, and for reports of different data,
    kinds of task, encoders or vocabularies.
    """
    report(StepName.SUMMARIZE, "reading the reports")
    if len(reports) != folds:
        raise DataError(
            f"{len(reports)} reports of {folds} folds; the pipeline was compiled for another "
            "number of folds, compile it again"
        )
    opened = [open_report(path) for path in reports]
    _check_compatible(opened)
    with manifest.staged_artifact(output) as directory:
        content = _summarize(opened)
        write_out_of_fold(directory, reports, opened[0].content.classes, content.task)
        (directory / cross_validation.CONTENT_FILENAME).write_text(
            content.model_dump_json(indent=1) + "\n", encoding="utf-8"
        )
        mistakes = list_fold_mistakes([each.content for each in opened])
        (directory / cross_validation.PAGE_FILENAME).write_text(
            render_page(content, mistakes), encoding="utf-8"
        )
        task = content.model_dump(mode="json", include={"task"})  # stored unless single_label
        manifest.commit(
            directory,
            cross_validation.KIND,
            content={"folds": folds, "rows": content.rows, **task},
            inputs={f"report-{number:02d}": each.digest for number, each in enumerate(opened, 1)},
        )
    return content


def _check_compatible(reports: Sequence[Artifact[Report]]) -> None:
    first = reports[0]
    expected = _list_common_fields(first.content)
    for other in reports[1:]:
        for field, value in _list_common_fields(other.content).items():
            if value != expected[field]:
                raise DataError(
                    f"{other.directory}: its {field} is not that of {first.directory}; the folds "
                    "are not of one cross-validation, run it again"
                )
    if len({each.content.shards_digest for each in reports}) < len(reports):
        raise DataError("two folds hold out the same rows; run the cross-validation again")


def _list_common_fields(content: Report) -> dict[str, object]:
    return {
        "task.kind": content.task.kind,
        **{field: getattr(content, field) for field in SAME_FIELDS},
    }


def _summarize(reports: Sequence[Artifact[Report]]) -> CrossValidationContent:
    results = tuple(
        FoldResult(
            fold=fold,
            rows=each.content.data.rows,
            metrics=each.content.scalar_metrics(),
            report_digest=each.digest,
            per_class=(
                each.content.per_class if isinstance(each.content, MultiLabelReport) else {}
            ),
        )
        for fold, each in enumerate(reports, start=1)
    )
    first = reports[0].content
    return CrossValidationContent(
        task=first.task.kind,
        folds=len(reports),
        rows=sum(result.rows["test"] for result in results),
        encoder=first.training.encoder,
        options=first.training.options,
        results=results,
        metrics=summarize_metrics(results),
        notes=tuple(_list_notes([each.content for each in reports])),
    )


def _list_notes(reports: Sequence[Report]) -> list[str]:
    """The notes on the data, each once, and what the evaluations of other tasks say of a fold."""
    notes = dict.fromkeys(note for each in reports for note in each.data.notes)
    for fold, content in enumerate(reports, start=1):
        if not isinstance(content, ReportContent):
            notes |= dict.fromkeys(f"Fold {fold}: {note}" for note in content.evaluation_notes)
    return [*notes]
