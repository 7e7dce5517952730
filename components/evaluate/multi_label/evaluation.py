"""Evaluation of models that give each text any number of labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from components.artifacts.predictions import MultiLabelColumns, PredictionsWriter
from components.artifacts.report import MultiLabelReport
from components.evaluate.inputs import EvaluationInputs
from components.evaluate.mistake_explanations import (
    Explained,
    ExplainedErrors,
    explain_first_errors,
)
from components.evaluate.multi_label.label_errors import describe_label_errors
from components.evaluate.multi_label.label_metrics import LabelAccumulator
from components.evaluate.multi_label.thresholds import choose_thresholds
from components.evaluate.score_checks import LabelSets, Scores


def evaluate_multi_label(
    inputs: EvaluationInputs, directory: Path
) -> tuple[MultiLabelReport, ExplainedErrors]:
    """Choose the thresholds on the validation rows, score the test rows and write the predictions;
    what the report says of them.
    """
    config, classes = inputs.config, inputs.data.classes
    validation_rows = inputs.data.splits["validation"].rows
    chosen = choose_thresholds(_score_validation(inputs), classes, validation_rows)
    thresholds = tuple(each.threshold for each in chosen)
    split = inputs.shards.open_split("test")
    labels, lengths = split.read_labels(), split.read_lengths()
    measured = LabelAccumulator(classes, chosen, len(split), config.max_reported_errors)
    columns = MultiLabelColumns(thresholds)
    with PredictionsWriter(directory, has_pairs=inputs.has_pairs, columns=columns) as predictions:
        for part in inputs.score_rows("test"):
            part_labels = labels[part.rows]
            measured.add(part_labels, part.values)
            texts = split.read_texts(part.rows) if config.max_reported_errors else None
            predictions.add(part_labels, part.values, texts)
    errors = measured.list_most_confident_errors()
    error_texts = split.read_texts([error.row for error in errors])
    content = MultiLabelReport(
        **dict(measured.compute()),
        min_macro_f1=config.min_macro_f1,
        minimum=config.minimum,
        mistakes=describe_label_errors(errors, error_texts, classes),
        **inputs.describe_origin(),
    )
    explained = Explained([mistake.wrong for mistake in content.mistakes], thresholds)
    error_lengths = [int(lengths[error.row]) for error in errors]
    return content, explain_first_errors(inputs, error_texts, error_lengths, explained)


def _score_validation(inputs: EvaluationInputs) -> Iterator[tuple[LabelSets, Scores]]:
    labels = inputs.shards.open_split("validation").read_labels()
    for part in inputs.score_rows("validation"):
        yield labels[part.rows], part.values
