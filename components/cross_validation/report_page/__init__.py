"""The summary of a cross-validation as one HTML page without scripts or network requests.

`render_page` is a pure function: equal arguments give equal bytes. Everything that comes from data
is escaped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from components.artifacts.cross_validation import CrossValidationContent, MetricSummary
from components.html_template import load_templates

TEMPLATE = "cross_validation.html.j2"
TITLES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "micro_f1": "Micro-F1",
    "loss": "Loss (nats)",
    "ece": "Calibration error",
    "micro_auc": "Area under the ROC curve",
    "majority_accuracy": "Most frequent class",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
}
ABSENT = "–"  # noqa: RUF001 - an en dash, as tables of numbers use it


class Contradiction(NamedTuple):
    """A text whose label the model of the other folds contradicts."""

    fold: int
    label: str
    predicted: str
    confidence: float
    text: str


class Mark(NamedTuple):
    """The position of a fold's value on a metric's line, in percent from the left."""

    fold: int
    left: float


def render_page(content: CrossValidationContent, contradictions: list[Contradiction]) -> str:
    """The page, to be encoded as UTF-8."""
    environment = load_templates(Path(__file__).parent, {"number": format_number})
    return environment.get_template(TEMPLATE).render(
        content=content,
        titles={name: title_metric(name) for name in content.metrics},
        lines={name: draw_line(content, name) for name in content.metrics},
        contradictions=contradictions,
    )


def title_metric(name: str) -> str:
    """The metric's title; a name without one is its own."""
    return TITLES.get(name, name.replace("_", " "))


def format_number(value: float | None) -> str:
    """A value of a metric with four decimals, or four significant digits from 10 on."""
    if value is None:
        return ABSENT
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.4g}"


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
