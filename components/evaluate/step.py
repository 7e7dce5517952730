"""Step `evaluate`: token shards and a checkpoint -> report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components import progress
from components.artifacts import manifest
from components.artifacts import report as reports
from components.artifacts.artifact import Artifact
from components.artifacts.checkpoint import CheckpointContent, open_checkpoint
from components.artifacts.predictions import PredictionsWriter
from components.artifacts.report import DataSummary, ReportContent, TrainingSummary
from components.artifacts.shard_metadata import check_class_names
from components.artifacts.token_shards import (
    ShardsContent,
    TokenShards,
    open_shards,
)
from components.confidence.calibration import apply_temperature
from components.config.evaluate import list_minimum_classes
from components.config.renamed_options import from_stored_names, to_stored_names
from components.config.schema import Calibration, EvaluateConfig
from components.data.text_columns import Text
from components.errors import ConfigError, DataError
from components.evaluate import metrics, report_page
from components.evaluate.class_profiles import ClassProfiles
from components.evaluate.confidence_meters import AbstentionMeter, CalibrationMeter, keep_scores
from components.evaluate.confident_errors import describe_errors
from components.evaluate.mistake_explanations import (
    PAIRS_NOTE,
    ExplainedErrors,
    explain_errors,
)
from components.evaluate.score_checks import Labels, ScoreChecks, Scores
from components.progress import StepName
from components.scoring.test_rows import TestRowScoring, score_split_rows

MAX_STEP_POINTS = 250
SHOWN_OPTIONS = {
    "epochs": "Epochs, at most",
    "batch_size": "Batch size",
    "learning_rate": "Peak learning rate",
    "warmup_fraction": "Warm-up",
    "lr_schedule": "Learning rate schedule",
    "weight_decay": "Weight decay",
    "class_weights": "Class weights",
    "label_smoothing": "Label smoothing",
    "best_metric": "Best epoch by",
    "precision": "Precision",
    "seed": "Seed",
}


def run(
    config: EvaluateConfig,
    shards: Path,
    checkpoint: Path,
    output: Path,
    scoring: TestRowScoring | None = None,
    calibrate: Calibration = "none",
) -> ReportContent:
    """Score the shards' test rows with the checkpoint and commit the report in `output`.

    Where the options need it, a threshold and a temperature are chosen on the validation rows.

    Both inputs are verified first. The report is the same for any number of workers. Raises
    DataError for a damaged input, an empty test split and scores that are not finite; ConfigError
    for a checkpoint that was trained with another vocabulary, label list or encoder than the shards
    have; and what the workers raise. `output` exists only when complete.
    """
    progress.report(StepName.EVALUATE, "reading the data and the checkpoint")
    opened = open_shards(shards)
    trained = open_checkpoint(checkpoint)
    check_compatible(opened.content, trained.content, checkpoint)
    check_class_names("evaluate.minimum", list_minimum_classes(config), opened.content.classes)
    with manifest.staged_artifact(output) as directory:
        content = _write_report(
            directory, config, opened, trained, scoring or TestRowScoring(), calibrate
        )
    for note in content.evaluation_notes:
        progress.report_note(StepName.EVALUATE, note)
    progress.report(
        StepName.EVALUATE,
        f"accuracy {content.accuracy:.4f}",
        done=content.test_rows,
        total=content.test_rows,
        **content.scalar_metrics(),
    )
    return content


def check_compatible(shards: ShardsContent, trained: CheckpointContent, checkpoint: Path) -> None:
    """ConfigError naming the first field in which the checkpoint differs from the shards."""
    fields: dict[str, tuple[object, object]] = {
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


def _write_report(
    directory: Path,
    config: EvaluateConfig,
    shards: TokenShards,
    checkpoint: Artifact[CheckpointContent],
    scoring: TestRowScoring,
    calibrate: Calibration,
) -> ReportContent:
    split = shards.open_split("test")
    labels, lengths = split.read_labels(), split.read_lengths()
    classes = shards.content.classes
    profiles = ClassProfiles(classes, shards.content.max_row_tokens)
    measured = metrics.MetricsAccumulator(classes, len(split), config.max_reported_errors)
    scaling, abstention = _prepare_meters(config, shards, checkpoint, scoring, calibrate)
    has_pairs = len(shards.content.inputs) > 1
    with PredictionsWriter(directory, has_pairs=has_pairs) as predictions:
        for part in score_split_rows(
            StepName.EVALUATE, checkpoint, scoring.checkpoint_uri, shards, config, scoring
        ):
            if measured.add(labels[part.rows], part.values):
                profiles.add(labels[part.rows], part.values, lengths[part.rows])
                scores = scaling.scale(part.values) if scaling else part.values
                if scaling is not None:
                    scaling.add(labels[part.rows], scores)
                if abstention is not None:
                    abstention.add(labels[part.rows], scores)
            texts = split.read_texts(part.rows) if config.max_reported_errors else None
            predictions.add(labels[part.rows], part.values, texts)
    errors = measured.list_most_confident_errors()
    error_texts = split.read_texts([error.row for error in errors])
    measures = measured.compute()
    content = ReportContent(
        **dict(measures),
        scaling=scaling.summarize(measures) if scaling else None,
        abstention=abstention.summarize() if abstention else None,
        min_accuracy=config.min_accuracy,
        min_macro_f1=config.min_macro_f1,
        class_profiles=profiles.compute(),
        minimum=config.minimum,
        mistakes=describe_errors(errors, error_texts, classes),
        data=_summarize_data(shards),
        training=_summarize_training(
            checkpoint.content,
            from_stored_names("train", checkpoint.manifest.config),
            checkpoint.directory,
        ),
        shards_digest=shards.digest,
        checkpoint_digest=checkpoint.digest,
        vocabulary_sha256=shards.content.vocabulary_sha256,
        source_sha256=shards.content.source_sha256,
        encoder_fingerprint=checkpoint.content.encoder_fingerprint,
        inputs=shards.content.inputs,
    )
    count = config.explain_errors
    error_lengths = [int(lengths[error.row]) for error in errors[:count]]
    explained = _explain_first(checkpoint, error_texts[:count], error_lengths)
    progress.report(StepName.EVALUATE, "writing the report", done=len(split), total=len(split))
    (directory / reports.CONTENT_FILENAME).write_text(
        content.model_dump_json(indent=1) + "\n", encoding="utf-8"
    )
    (directory / reports.PAGE_FILENAME).write_text(
        report_page.render_report(content, explained.explanations, explained.note),
        encoding="utf-8",
    )
    manifest.commit(
        directory,
        reports.REPORT_KIND,
        content={"classes": list(classes), **content.scalar_metrics()},
        inputs={"shards": content.shards_digest, "checkpoint": content.checkpoint_digest},
        config=to_stored_names("evaluate", config.model_dump(mode="json", exclude={"workers"})),
    )
    return content


def _explain_first(
    checkpoint: Artifact[CheckpointContent], error_texts: Sequence[Text], lengths: Sequence[int]
) -> ExplainedErrors:
    if not error_texts:
        return ExplainedErrors()
    texts = [text for text in error_texts if isinstance(text, str)]
    if not texts:
        return ExplainedErrors((), PAIRS_NOTE)
    return explain_errors(checkpoint, texts, lengths)


def _prepare_meters(
    config: EvaluateConfig,
    shards: TokenShards,
    checkpoint: Artifact[CheckpointContent],
    scoring: TestRowScoring,
    calibrate: Calibration,
) -> tuple[CalibrationMeter | None, AbstentionMeter | None]:
    """What chooses temperature and threshold on the validation rows, if they are to be chosen."""
    is_calibrated, demanded = calibrate == "temperature", config.demanded_precision
    if not is_calibrated and demanded is None:
        return None, None if config.fixed_threshold is None else AbstentionMeter(config, ())
    with keep_scores(_score_validation(config, shards, checkpoint, scoring)) as read_validation:
        scaling = CalibrationMeter(read_validation) if is_calibrated else None
        temperature = scaling.temperature if scaling else None
        if config.threshold == "none":
            return scaling, None
        validation = read_validation() if demanded is not None else ()
        scaled = ((labels, apply_temperature(scores, temperature)) for labels, scores in validation)
        return scaling, AbstentionMeter(config, scaled)


def _score_validation(
    config: EvaluateConfig,
    shards: TokenShards,
    checkpoint: Artifact[CheckpointContent],
    scoring: TestRowScoring,
) -> Iterator[tuple[Labels, Scores]]:
    """Labels and scores of the validation rows, in parts; DataError for scores that are none."""
    labels = shards.open_split("validation").read_labels()
    checks = ScoreChecks(shards.content.classes, "validation")
    for part in score_split_rows(
        StepName.EVALUATE,
        checkpoint,
        scoring.checkpoint_uri,
        shards,
        config,
        scoring,
        "validation",
    ):
        if checks.check(labels[part.rows], part.values):
            yield labels[part.rows], part.values
    checks.raise_first_error()


def _summarize_data(shards: TokenShards) -> DataSummary:
    splits = shards.content.splits
    lengths: dict[int, int] = {}
    for info in splits.values():
        for length, rows in info.length_histogram.items():
            lengths[length] = lengths.get(length, 0) + rows
    return DataSummary(
        rows={name: info.rows for name, info in splits.items()},
        tokens={name: info.tokens for name, info in splits.items()},
        refused=shards.content.refused,
        length_histogram=dict(sorted(lengths.items())),
        max_length=shards.content.max_length,
        long_texts=shards.content.long_texts,
        long_text_counts=shards.content.long_text_counts,
        vocabulary_tokens=len(shards.vocabulary),
        notes=tuple(shards.content.notes),
    )


def _summarize_training(
    trained: CheckpointContent, options: dict[str, Any], checkpoint: Path
) -> TrainingSummary:
    for epoch in trained.history:
        for name, value in epoch:
            if not math.isfinite(value):
                raise DataError(
                    f"{checkpoint}: epoch {epoch.epoch} of its history has {name} {value}; "
                    "train again"
                )
    return TrainingSummary(
        encoder=trained.model.encoder,
        frozen=trained.model.freeze,
        pooling=trained.model.resolved_pooling,
        options=({"Started from": trained.start_from.title} if trained.start_from else {})
        | {"Workers": str(trained.workers)}
        | {title: str(options[name]) for name, title in SHOWN_OPTIONS.items() if name in options},
        history=trained.history,
        best_step=trained.best_step,
        step_losses=average_step_losses(trained.step_losses, MAX_STEP_POINTS),
        examples_per_second=trained.train_examples_per_second,
    )


def average_step_losses(losses: tuple[float, ...], points: int) -> tuple[tuple[int, float], ...]:
    """(last step, mean loss) of at most `points` runs of equally many steps, counted from 1.

    Losses that are not finite (of a step that loss scaling skipped) are left out.
    """
    size = -(-len(losses) // points)
    runs = (losses[start : start + size] for start in range(0, len(losses), size or 1))
    means = []
    for number, run_losses in enumerate(runs):
        if finite := [loss for loss in run_losses if math.isfinite(loss)]:
            means.append((min((number + 1) * size, len(losses)), sum(finite) / len(finite)))
    return tuple(means)


def _shorten(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
