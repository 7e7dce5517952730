"""The evaluation report as one HTML page without scripts or network requests.

`render_report` is a pure function: equal content and explanations give equal bytes.
Everything that comes from data (texts, class names, notes) passes the template's `finalize` and is
escaped after that.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.artifacts.report import CalibrationBin, ClassMetrics, ReportContent
from components.config.evaluate import parse_metric_name
from components.evaluate.report_page import number_format, plots
from components.evaluate.report_page.coverage_plot import draw_coverage
from components.explain import page as explanation_page
from components.explain.explanation import Explanation
from components.html_template import load_templates

TEMPLATE = "report.html.j2"
METRIC_TITLES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
}
MAX_MATRIX_CLASSES = 12
MAX_NARROW_CLASSES = 6
MAX_LISTED_CLASSES = 50
MAX_NAMED_CLASSES = 10
MAX_CONFUSIONS = 3
MAX_CONFUSIONS_WITHOUT_MATRIX = 25


def render_report(
    content: ReportContent, explanations: Sequence[Explanation] = (), note: str | None = None
) -> str:
    """The page, to be encoded as UTF-8.

    explanations: of the first mistakes, in their order. note: why there are not more.
    """
    filters = {
        "percent": number_format.format_percent,
        "decimal": number_format.format_decimal,
        "count": number_format.format_count,
        "duration": number_format.format_duration,
        "rate": number_format.format_rate,
    }
    environment = load_templates(Path(__file__).parent, filters)
    return environment.get_template(TEMPLATE).render(
        report=content,
        explanations=explanation_page.render_parts(explanations, "mistake"),
        explanation_style=explanation_page.render_style() if explanations else "",
        explanation_note=note,
        **_template_values(content),
    )


def _template_values(content: ReportContent) -> dict[str, Any]:
    curves = plots.select_curves(content.roc)
    training, data = content.training, content.data
    listed = select_classes(content.per_class)
    has_matrix = len(content.classes) <= MAX_MATRIX_CLASSES
    return {
        "loss_curve": plots.draw_loss_curve(
            training.history, training.step_losses, training.best_step
        ),
        "accuracy_curve": plots.draw_accuracy_curve(training.history, training.best_step),
        "reliability": plots.draw_reliability(content.calibration, content.ece),
        "scaled_reliability": plots.draw_reliability(
            content.scaling.calibration, content.scaling.ece_scaled, "scaled-calibration"
        )
        if content.scaling and content.scaling.is_fitted
        else None,
        "roc": plots.draw_roc(curves, content.micro_roc),
        "length_histogram": plots.draw_length_histogram(data.length_histogram, data.max_row_tokens),
        "per_class": listed,
        "profiles": {
            name: content.class_profiles[name] for name in listed if name in content.class_profiles
        },
        "named_classes": MAX_NAMED_CLASSES,
        "curves": curves,
        "hidden_curves": sum(curve is not None for curve in content.roc.values()) - len(curves),
        "matrix": build_confusion_rows(content) if has_matrix else [],
        "narrow": len(content.classes) <= MAX_NARROW_CLASSES,
        "confusions": find_largest_confusions(
            content, MAX_CONFUSIONS if has_matrix else MAX_CONFUSIONS_WITHOUT_MATRIX
        ),
        "overconfidence": mean_overconfidence(content.calibration),
        "errors": content.test_rows
        - sum(row[number] for number, row in enumerate(content.confusion)),
        "median_length": plots.length_quantile(data.length_histogram, 0.5),
        "p95_length": plots.length_quantile(data.length_histogram, 0.95),
        "long_texts": data.long_text_counts.describe(data.max_length, data.long_texts)
        if data.long_text_counts
        else None,
        "at_limit": data.length_histogram.get(data.max_length, 0),
        "texts": sum(data.length_histogram.values()),
        "reached": content.accuracy >= content.min_accuracy,
        "minima": list_minima(content),
        "coverage": draw_coverage(content.abstention) if content.abstention else None,
    }


def list_minima(content: ReportContent) -> list[dict[str, Any]]:
    """The metrics that have a minimum: title, class, value, minimum, whether it is reached."""
    minima = []
    for name, minimum in content.minimum.items():
        metric, class_name = parse_metric_name(name)
        value = content.find_metric(name)
        minima.append(
            {
                "title": METRIC_TITLES[metric],
                "class_name": class_name,
                "value": value,
                "minimum": minimum,
                "reached": value is not None and value >= minimum,
            }
        )
    return minima


def select_classes(per_class: Mapping[str, ClassMetrics]) -> dict[str, ClassMetrics]:
    """The classes to list: all in class order, or the MAX_LISTED_CLASSES with the lowest F1."""
    if len(per_class) <= MAX_LISTED_CLASSES:
        return dict(per_class)
    worst = sorted(per_class.items(), key=lambda item: 2.0 if item[1].f1 is None else item[1].f1)
    return dict(worst[:MAX_LISTED_CLASSES])


def build_confusion_rows(content: ReportContent) -> list[dict[str, Any]]:
    """Rows of the confusion matrix: per cell its count, share of the row and color strength."""
    rows = []
    for number, (name, counts) in enumerate(zip(content.classes, content.confusion, strict=True)):
        total = sum(counts)
        cells = []
        for column, count in enumerate(counts):
            share = count / total if total else None
            right = column == number
            cells.append(
                {
                    "count": count,
                    "share": share,
                    "right": right,
                    "strength": _color_strength(share or 0.0, right),
                }
            )
        rows.append({"name": name, "total": total, "cells": cells})
    return rows


def _color_strength(share: float, right: bool) -> float:
    """Opacity of a cell's color, 0 to 1.

    Errors are few: the root makes a share of 1% visible beside one of 10%. The color of correct
    predictions skips 0.6 to 0.75, where neither dark nor white digits have enough contrast.
    """
    if not right:
        return round(0.85 * math.sqrt(share), 3)
    return round(1.2 * share if share < 0.5 else 0.55 + 0.4 * share, 3)


def find_largest_confusions(content: ReportContent, limit: int) -> list[dict[str, Any]]:
    """The most frequent confusions: true and predicted class, count, share of the true class."""
    wrong = (
        (count, row, column)
        for row, counts in enumerate(content.confusion)
        for column, count in enumerate(counts)
        if row != column and count
    )
    return [
        {
            "label": content.classes[row],
            "predicted": content.classes[column],
            "count": count,
            "share": count / sum(content.confusion[row]),
        }
        for count, row, column in heapq.nsmallest(
            limit, wrong, key=lambda pair: (-pair[0], *pair[1:])
        )
    ]


def mean_overconfidence(bins: Sequence[CalibrationBin]) -> float:
    """Mean of confidence minus accuracy over all rows; above 0, the model is overconfident."""
    rows = sum(part.rows for part in bins)
    gaps = (
        part.rows * (part.confidence - part.accuracy)
        for part in bins
        if part.confidence is not None and part.accuracy is not None
    )
    return sum(gaps) / rows
