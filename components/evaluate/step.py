"""Step `evaluate`: token shards and a checkpoint -> report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from components import progress
from components.artifacts import manifest
from components.artifacts import report as reports
from components.artifacts.checkpoint import CheckpointContent, open_checkpoint
from components.artifacts.report import Report
from components.artifacts.shard_metadata import check_limits
from components.artifacts.token_shards import ShardsContent, open_shards
from components.config.renamed_options import to_stored_names
from components.config.schema import Calibration, EvaluateConfig
from components.config.task import TaskKind
from components.errors import ConfigError
from components.evaluate import report_page
from components.evaluate.inputs import EvaluationInputs
from components.evaluate.mistake_explanations import ExplainedErrors
from components.evaluate.multi_label.evaluation import evaluate_multi_label
from components.evaluate.regression.evaluation import evaluate_regression
from components.evaluate.single_label import evaluate_single_label
from components.progress import StepName
from components.scoring.test_rows import TestRowScoring

_EVALUATIONS: dict[TaskKind, Callable[[EvaluationInputs, Path], tuple[Report, ExplainedErrors]]] = {
    "single_label": evaluate_single_label,
    "multi_label": evaluate_multi_label,
    "regression": evaluate_regression,
}


def run(
    config: EvaluateConfig,
    shards: Path,
    checkpoint: Path,
    output: Path,
    scoring: TestRowScoring | None = None,
    calibrate: Calibration = "none",
) -> Report:
    """Score the shards' test rows with the checkpoint and commit the report in `output`.

    What has to be chosen (thresholds, a temperature) is chosen on the validation rows.

    Both inputs are verified first. The report is the same for any number of workers. Raises
    DataError for a damaged input, an empty test split and scores that are not finite; ConfigError
    for a checkpoint that was trained with another task, vocabulary, label list or encoder than the
    shards have, and for options that do not fit the task; and what the workers raise. `output`
    exists only when complete.
    """
    progress.report(StepName.EVALUATE, "reading the data and the checkpoint")
    opened = open_shards(shards)
    trained = open_checkpoint(checkpoint)
    check_compatible(opened.content, trained.content, checkpoint)
    check_limits(config, opened.content)
    with manifest.staged_artifact(output) as directory:
        content = _write_report(
            directory,
            EvaluationInputs(config, opened, trained, scoring or TestRowScoring(), calibrate),
        )
    for note in content.evaluation_notes:
        progress.report_note(StepName.EVALUATE, note)
    progress.report(
        StepName.EVALUATE,
        content.headline,
        done=content.test_rows,
        total=content.test_rows,
        **content.scalar_metrics(),
    )
    return content


def check_compatible(shards: ShardsContent, trained: CheckpointContent, checkpoint: Path) -> None:
    """ConfigError naming the first field in which the checkpoint differs from the shards."""
    fields: dict[str, tuple[object, object]] = {
        "task": (trained.task.kind, shards.task.kind),
        "classes": (trained.classes, shards.classes),
        "vocabulary_sha256": (trained.vocabulary_sha256, shards.vocabulary_sha256),
        "lower_case": (trained.lower_case, shards.lower_case),
        "strip_accents": (trained.strip_accents, shards.strip_accents),
        "encoder": (trained.model.encoder, shards.encoder),
        "max_length": (trained.model.max_length, shards.max_length),
        "long_texts": (trained.model.long_text_reading.describe(), shards.long_texts.describe()),
        "inputs": (trained.inputs, shards.inputs),
    }
    for field, (trained_value, value) in fields.items():
        if trained_value != value:
            raise ConfigError(
                f"{checkpoint}: its {field} is {_shorten(trained_value)}, "
                f"the shards' is {_shorten(value)}; "
                "evaluate it on the shards it was trained on, or train on these"
            )


def _write_report(directory: Path, inputs: EvaluationInputs) -> Report:
    content, explained = _EVALUATIONS[inputs.data.task.kind](inputs, directory)
    rows = content.test_rows
    progress.report(StepName.EVALUATE, "writing the report", done=rows, total=rows)
    (directory / reports.CONTENT_FILENAME).write_text(
        content.model_dump_json(indent=1) + "\n", encoding="utf-8"
    )
    (directory / reports.PAGE_FILENAME).write_text(
        report_page.render_report(content, explained.explanations, explained.note),
        encoding="utf-8",
    )
    task = content.model_dump(mode="json", include={"task"})  # stored unless it is single_label
    manifest.commit(
        directory,
        reports.REPORT_KIND,
        content={"classes": list(content.classes), **content.scalar_metrics(), **task},
        inputs={"shards": content.shards_digest, "checkpoint": content.checkpoint_digest},
        config=to_stored_names(
            "evaluate", inputs.config.model_dump(mode="json", exclude={"workers"})
        ),
    )
    return content


def _shorten(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
