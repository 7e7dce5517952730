"""Step `summarize`: the reports of all folds -> the summary of the cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from components.artifacts import cross_validation, manifest
from components.artifacts.artifact import Artifact
from components.artifacts.cross_validation import CrossValidationContent, FoldResult
from components.artifacts.report import ReportContent, open_single_label_report
from components.cross_validation.out_of_fold import write_out_of_fold
from components.cross_validation.report_page import Contradiction, render_page
from components.cross_validation.statistics import summarize_metrics
from components.errors import DataError
from components.progress import StepName, report

SAME_FIELDS = ("classes", "vocabulary_sha256", "encoder_fingerprint", "source_sha256", "inputs")
"""What the reports of one cross-validation have in common."""


class _Contradicted(NamedTuple):
    confidence: float
    shown: Contradiction


def run(reports: Sequence[Path], folds: int, output: Path) -> CrossValidationContent:
    """Write the summary of the reports, in the order of their folds, to `output`.

    Each report is verified first. Equal reports give an equal summary. Raises DataError for a
    damaged report, for fewer or more of them than `folds`, and for reports of different data,
    encoders or vocabularies.
    """
    report(StepName.SUMMARIZE, "reading the reports")
    if len(reports) != folds:
        raise DataError(
            f"{len(reports)} reports of {folds} folds; the pipeline was compiled for another "
            "number of folds, compile it again"
        )
    opened = [open_single_label_report(path) for path in reports]
    _check_compatible(opened)
    with manifest.staged_artifact(output) as directory:
        write_out_of_fold(directory, reports, opened[0].content.classes)
        content = _summarize(opened)
        (directory / cross_validation.CONTENT_FILENAME).write_text(
            content.model_dump_json(indent=1) + "\n", encoding="utf-8"
        )
        (directory / cross_validation.PAGE_FILENAME).write_text(
            render_page(content, list_contradictions([each.content for each in opened])),
            encoding="utf-8",
        )
        manifest.commit(
            directory,
            cross_validation.KIND,
            content={"folds": folds, "rows": content.rows},
            inputs={f"report-{number:02d}": each.digest for number, each in enumerate(opened, 1)},
        )
    return content


def list_contradictions(reports: Sequence[ReportContent]) -> list[Contradiction]:
    """The texts whose label their fold's model contradicts with most confidence, over all folds.

    They are at most as many as the report of one fold may list (`evaluate.max_reported_errors`).
    """
    found = [
        _Contradicted(
            mistake.confidence,
            Contradiction(
                fold,
                mistake.label,
                mistake.predicted,
                mistake.confidence,
                " | ".join(filter(None, (mistake.text, mistake.text_pair))),
            ),
        )
        for fold, content in enumerate(reports, start=1)
        for mistake in content.mistakes
    ]
    limit = max((len(content.mistakes) for content in reports), default=0)
    return [each.shown for each in sorted(found, key=lambda each: -each.confidence)[:limit]]


def _check_compatible(reports: Sequence[Artifact[ReportContent]]) -> None:
    first = reports[0]
    for other in reports[1:]:
        for field in SAME_FIELDS:
            if getattr(other.content, field) != getattr(first.content, field):
                raise DataError(
                    f"{other.directory}: its {field} is not that of {first.directory}; the folds "
                    "are not of one cross-validation, run it again"
                )
    if len({each.content.shards_digest for each in reports}) < len(reports):
        raise DataError("two folds hold out the same rows; run the cross-validation again")


def _summarize(reports: Sequence[Artifact[ReportContent]]) -> CrossValidationContent:
    results = tuple(
        FoldResult(
            fold=fold,
            rows=each.content.data.rows,
            metrics=each.content.scalar_metrics(),
            report_digest=each.digest,
        )
        for fold, each in enumerate(reports, start=1)
    )
    first = reports[0].content
    notes = dict.fromkeys(note for each in reports for note in each.content.data.notes)
    return CrossValidationContent(
        folds=len(reports),
        rows=sum(result.rows["test"] for result in results),
        encoder=first.training.encoder,
        options=first.training.options,
        results=results,
        metrics=summarize_metrics(results),
        notes=tuple(notes),
    )
