"""What the page of a single-label report shows, beside what all reports have."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from components.artifacts.report import CalibrationBin, ClassMetrics, ReportContent
from components.evaluate.report_page import plots
from components.evaluate.report_page.coverage_plot import draw_coverage

MAX_MATRIX_CLASSES = 12
MAX_NARROW_CLASSES = 6
MAX_LISTED_CLASSES = 50
MAX_NAMED_CLASSES = 10
MAX_CONFUSIONS = 3
MAX_CONFUSIONS_WITHOUT_MATRIX = 25
ClassFigures = TypeVar("ClassFigures", bound=ClassMetrics)


def describe_single_label(content: ReportContent) -> dict[str, Any]:
    """The values of the template `report.html.j2`."""
    curves = plots.select_curves(content.roc)
    listed = select_classes(content.per_class)
    has_matrix = len(content.classes) <= MAX_MATRIX_CLASSES
    return {
        "reliability": plots.draw_reliability(content.calibration, content.ece),
        "scaled_reliability": plots.draw_reliability(
            content.scaling.calibration, content.scaling.ece_scaled, "scaled-calibration"
        )
        if content.scaling and content.scaling.is_fitted
        else None,
        "roc": plots.draw_roc(curves, content.micro_roc),
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
        "reached": content.accuracy >= content.min_accuracy,
        "coverage": draw_coverage(content.abstention) if content.abstention else None,
    }


def select_classes(per_class: Mapping[str, ClassFigures]) -> dict[str, ClassFigures]:
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
                    "strength": color_strength(share or 0.0, right),
                }
            )
        rows.append({"name": name, "total": total, "cells": cells})
    return rows


def color_strength(share: float, right: bool) -> float:
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
