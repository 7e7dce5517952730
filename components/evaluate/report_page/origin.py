"""What the pages of all kinds of task show: limits, training curves, and the data."""

from __future__ import annotations

from typing import Any, NamedTuple

from components.artifacts.report import Report, TrainingSummary
from components.config.evaluate import MAXIMA, is_reached, parse_metric_name
from components.config.task import TaskKind
from components.evaluate.report_page import number_format, plots

METRIC_TITLES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "micro_f1": "Micro-F1",
    "subset_accuracy": "Subset accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "r2": "R²",
    "spearman": "Spearman correlation",
    "rmse": "RMSE",
    "mae": "Mean absolute error",
}


class ScoreCurve(NamedTuple):
    """A metric of the epochs: its title, its name in the plot, and its fields by their titles."""

    title: str
    name: str
    fields: dict[str, str]


SCORE_CURVES: dict[TaskKind, ScoreCurve | None] = {
    "single_label": ScoreCurve(
        "Accuracy",
        "accuracy",
        {"Training accuracy": "train_accuracy", "Validation accuracy": "validation_accuracy"},
    ),
    "multi_label": ScoreCurve(
        "Micro-F1, at thresholds of one half",
        "micro-F1",
        {"Validation micro-F1": "validation_micro_f1"},
    ),
    "regression": None,
}
"""What is drawn unless another metric selects the best epoch."""
BEST_METRIC_CURVES: dict[tuple[TaskKind, str], ScoreCurve] = {
    ("single_label", "macro_f1"): ScoreCurve(
        "Macro-F1", "macro-F1", {"Validation macro-F1": "validation_macro_f1"}
    ),
    ("multi_label", "macro_f1"): ScoreCurve(
        "Macro-F1, at thresholds of one half",
        "macro-F1",
        {"Validation macro-F1": "validation_macro_f1"},
    ),
    ("multi_label", "subset_accuracy"): ScoreCurve(
        "Subset accuracy, at thresholds of one half",
        "subset accuracy",
        {"Validation subset accuracy": "validation_accuracy"},
    ),
}
"""What is drawn, and listed in the table as well, where this metric selects the best epoch."""


def describe_origin(content: Report) -> dict[str, Any]:
    """The values of the templates `learning.html.j2` and `origin.html.j2`."""
    lengths = content.data.length_histogram
    return {
        **_describe_learning(content.training, content.task.kind),
        "length_histogram": plots.draw_length_histogram(lengths, content.data.max_row_tokens),
        "median_length": plots.length_quantile(lengths, 0.5),
        "p95_length": plots.length_quantile(lengths, 0.95),
        "long_texts": counts.describe(
            content.data.max_length, content.data.long_texts, has_pairs=len(content.inputs) > 1
        )
        if (counts := content.data.long_text_counts)
        else None,
        "at_limit": lengths.get(content.data.max_length, 0),
        "texts": sum(lengths.values()),
    }


def _describe_learning(training: TrainingSummary, kind: TaskKind) -> dict[str, Any]:
    unit = "squared error, standardized" if kind == "regression" else "nats"
    loss = plots.draw_loss_curve(training.history, training.step_losses, training.best_step, unit)
    usual = SCORE_CURVES[kind]
    if usual is None:
        return {"loss_curve": loss, "score_curve": None, "score_title": "", "score_columns": {}}
    best_metric = training.options.get("Best epoch by", "")
    score = BEST_METRIC_CURVES.get((kind, best_metric), usual)
    fields = {field.partition("_")[0]: field for field in score.fields.values()}
    return {
        "loss_curve": loss,
        "score_curve": plots.draw_score_curve(
            training.history, training.best_step, fields, score.name
        ),
        "score_title": score.title,
        "score_columns": usual.fields | score.fields,
        "has_training_score": "train" in fields,
    }


def list_minima(content: Report) -> list[dict[str, Any]]:
    """The metrics that have a limit: title, class, value, limit, whether it is reached."""
    minima = []
    is_number = content.task.kind == "regression"
    for name, limit in content.minimum.items():
        metric, class_name = parse_metric_name(name)
        value = content.find_metric(name)
        in_units = is_number and metric in MAXIMA
        show = number_format.format_number if in_units else _format_share
        minima.append(
            {
                "title": METRIC_TITLES[metric],
                "class_name": class_name,
                "measured": show(value),
                "limit": f"at most {show(limit)}" if in_units else show(limit),
                "is_maximum": in_units,
                "reached": is_reached(metric, value, limit),
            }
        )
    return minima


def _format_share(value: float | None) -> str:
    return number_format.format_decimal(value, 4)
