"""The summary of a cross-validation as one HTML page without scripts or network requests.

`render_page` is a pure function: equal arguments give equal bytes. Everything that comes from data
is escaped.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from components.artifacts.cross_validation import (
    METRICS_WITH_UNITS,
    CrossValidationContent,
    MetricSummary,
    format_metric,
    list_metric_names,
)
from components.config.task import TaskKind
from components.cross_validation.fold_mistakes import FoldMistake
from components.html_template import load_templates

TEMPLATE = "cross_validation.html.j2"
TITLES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "micro_f1": "Micro-F1",
    "subset_accuracy": "Subset accuracy",
    "hamming_loss": "Hamming loss",
    "baseline_micro_f1": "Always the same labels: micro-F1",
    "loss": "Loss (nats)",
    "ece": "Calibration error",
    "micro_auc": "Area under the ROC curve",
    "majority_accuracy": "Most frequent class",
    "rmse": "RMSE",
    "mae": "Mean absolute error",
    "r2": "R²",
    "spearman": "Spearman correlation",
    "mean_error": "Mean error (predicted minus actual)",
    "baseline_rmse": "Always the mean: RMSE",
    "baseline_mae": "Always the mean: mean absolute error",
}
NUMBER_LOSS = "Loss (squared standard deviations)"
MAX_LISTED_LABELS = 100
"""Labels with figures of their own; cross_validation.json has all."""
ABSENT = "–"  # noqa: RUF001 - an en dash, as tables of numbers use it


class LabelFigures(NamedTuple):
    """One label over the folds: texts that have it, mean of its F1, and the folds' thresholds.

    f1 is None if no held-out text has the label.
    """

    name: str
    support: int
    f1: float | None
    thresholds: tuple[float, ...]


class Mark(NamedTuple):
    """The position of a fold's value on a metric's line, in percent from the left."""

    fold: int
    left: float


def render_page(content: CrossValidationContent, mistakes: Sequence[FoldMistake]) -> str:
    """The page, to be encoded as UTF-8."""
    environment = load_templates(Path(__file__).parent, {"number": format_number})
    return environment.get_template(TEMPLATE).render(
        content=content,
        main=next(iter(list_metric_names(content)), None),
        titles={name: title_metric(name, content.task) for name in content.metrics},
        lines={name: draw_line(content, name) for name in content.metrics},
        labels=list_label_figures(content),
        mistakes=mistakes,
    )


def title_metric(name: str, task: TaskKind = "single_label") -> str:
    """The metric's title; a name without one is its own."""
    if name == "loss" and task == "regression":
        return NUMBER_LOSS
    return TITLES.get(name, name.replace("_", " "))


def format_number(value: float | None, name: str = "") -> str:
    """A value of a metric with four decimals, or four significant digits from 10 on.

    One in the units of the data has six significant digits.
    """
    if value is None:
        return ABSENT
    if name in METRICS_WITH_UNITS:
        return format_metric(name, value)
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.4g}"


def list_label_figures(content: CrossValidationContent) -> list[LabelFigures]:
    """The figures of each label, in the order of the classes; the worst ones of very many."""
    found = []
    for name in content.results[0].per_class:
        folds = [result.per_class[name] for result in content.results]
        values = [each.f1 for each in folds if each.f1 is not None]
        found.append(
            LabelFigures(
                name,
                sum(each.support for each in folds),
                statistics.fmean(values) if values else None,
                tuple(each.threshold for each in folds),
            )
        )
    if len(found) <= MAX_LISTED_LABELS:
        return found
    return sorted(found, key=lambda each: 1 if each.f1 is None else each.f1)[:MAX_LISTED_LABELS]


def draw_line(content: CrossValidationContent, name: str) -> dict[str, Any]:
    """Where interval, mean and values lie between the least and the greatest of them: percents."""
    summary: MetricSummary = content.metrics[name]
    values = [(each.fold, each.metrics[name]) for each in content.results if name in each.metrics]
    ends = [summary.low, summary.high, *(value for _, value in values)]
    known = [value for value in ends if value is not None]
    low, width = min(known), max(known) - min(known)

    def to_percent(value: float) -> float:
        return round(100 * (value - low) / width, 2) if width else 50.0

    return {
        "mean": to_percent(summary.mean),
        "low": None if summary.low is None else to_percent(summary.low),
        "high": None if summary.high is None else to_percent(summary.high),
        "marks": [Mark(fold, to_percent(value)) for fold, value in values],
    }
