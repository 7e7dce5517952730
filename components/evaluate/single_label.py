"""Evaluation of models that give each text one class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from components.artifacts.predictions import PredictionsWriter
from components.artifacts.report import ReportContent
from components.confidence.calibration import apply_temperature
from components.evaluate import metrics
from components.evaluate.class_profiles import ClassProfiles
from components.evaluate.confidence_meters import AbstentionMeter, CalibrationMeter, keep_scores
from components.evaluate.confident_errors import describe_errors
from components.evaluate.inputs import EvaluationInputs
from components.evaluate.mistake_explanations import ExplainedErrors, explain_first_errors
from components.evaluate.score_checks import Labels, ScoreChecks, Scores


def evaluate_single_label(
    inputs: EvaluationInputs, directory: Path
) -> tuple[ReportContent, ExplainedErrors]:
    """Score the test rows and write the predictions; what the report says of them.

    Where the options need it, a threshold and a temperature are chosen on the validation rows.
    """
    config, shards = inputs.config, inputs.shards
    split = shards.open_split("test")
    labels, lengths = split.read_labels(), split.read_lengths()
    classes = inputs.data.classes
    profiles = ClassProfiles(classes, inputs.data.max_row_tokens)
    measured = metrics.MetricsAccumulator(classes, len(split), config.max_reported_errors)
    scaling, abstention = _prepare_meters(inputs)
    with PredictionsWriter(directory, has_pairs=inputs.has_pairs) as predictions:
        for part in inputs.score_rows("test"):
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
        **inputs.describe_origin(),
    )
    error_lengths = [int(lengths[error.row]) for error in errors]
    return content, explain_first_errors(inputs, error_texts, error_lengths)


def _prepare_meters(
    inputs: EvaluationInputs,
) -> tuple[CalibrationMeter | None, AbstentionMeter | None]:
    """What chooses temperature and threshold on the validation rows, if they are to be chosen."""
    config = inputs.config
    is_calibrated, demanded = inputs.calibrate == "temperature", config.demanded_precision
    if not is_calibrated and demanded is None:
        return None, None if config.fixed_threshold is None else AbstentionMeter(config, ())
    with keep_scores(_score_validation(inputs)) as read_validation:
        scaling = CalibrationMeter(read_validation) if is_calibrated else None
        temperature = scaling.temperature if scaling else None
        if config.threshold == "none":
            return scaling, None
        validation = read_validation() if demanded is not None else ()
        scaled = ((labels, apply_temperature(scores, temperature)) for labels, scores in validation)
        return scaling, AbstentionMeter(config, scaled)


def _score_validation(inputs: EvaluationInputs) -> Iterator[tuple[Labels, Scores]]:
    """Labels and scores of the validation rows, in parts; DataError for scores that are none."""
    labels = inputs.shards.open_split("validation").read_labels()
    checks = ScoreChecks(inputs.data.classes, "validation")
    for part in inputs.score_rows("validation"):
        if checks.check(labels[part.rows], part.values):
            yield labels[part.rows], part.values
    checks.raise_first_error()
