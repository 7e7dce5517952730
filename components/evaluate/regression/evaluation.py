"""Evaluation of models that give each text a number."""

from __future__ import annotations

from pathlib import Path

from components.artifacts.predictions import PredictionsWriter, RegressionColumns
from components.artifacts.report import RegressionReport
from components.evaluate.inputs import EvaluationInputs
from components.evaluate.mistake_explanations import ExplainedErrors, explain_first_errors
from components.evaluate.regression.error_profiles import describe_number_errors
from components.evaluate.regression.number_metrics import NumberAccumulator, TrainingNumbers


def evaluate_regression(
    inputs: EvaluationInputs, directory: Path
) -> tuple[RegressionReport, ExplainedErrors]:
    """Score the test rows and write the predictions; what the report says of them."""
    config = inputs.config
    split = inputs.shards.open_split("test")
    labels, lengths = split.read_labels(), split.read_lengths()
    measured = NumberAccumulator(
        labels[:],
        TrainingNumbers(*inputs.data.task.scale),
        inputs.data.max_row_tokens,
        config.max_reported_errors,
    )
    columns = RegressionColumns()
    with PredictionsWriter(directory, has_pairs=inputs.has_pairs, columns=columns) as predictions:
        for part in inputs.score_rows("test"):
            measured.add(labels[part.rows], part.values, lengths[part.rows])
            texts = split.read_texts(part.rows) if config.max_reported_errors else None
            predictions.add(labels[part.rows], part.values, texts)
    errors = measured.list_largest_errors()
    error_texts = split.read_texts([error.row for error in errors])
    content = RegressionReport(
        **dict(measured.compute()),
        minimum=config.minimum,
        mistakes=describe_number_errors(errors, error_texts),
        **inputs.describe_origin(),
    )
    error_lengths = [int(lengths[error.row]) for error in errors]
    return content, explain_first_errors(inputs, error_texts, error_lengths)
