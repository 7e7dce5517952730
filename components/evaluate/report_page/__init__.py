"""The report for people: one HTML file that asks nothing of a network or a script, and shows users' text as text.

`render` is a pure function of the report's content: equal content gives equal bytes. Everything that comes from data
(texts, class names, notes) passes one gate, the template's `finalize`, and is then escaped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from components.artifacts.report import CalibrationBin, ReportContent
from components.evaluate.report_page import number_format, plots

TEMPLATE = "report.html.j2"
MOST_CLASSES_IN_MATRIX = 12
MOST_CLASSES_IN_A_COLUMN = 6
CONFUSIONS = 3
CONFUSIONS_WITHOUT_MATRIX = 25
# What HTML or UTF-8 cannot hold: control characters other than tab and line breaks, and lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def render_report(content: ReportContent) -> str:
    """The whole page, in UTF-8 once encoded."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=replace_unprintable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        percent=number_format.percent,
        decimal=number_format.decimal,
        count=number_format.count,
        duration=number_format.duration,
        rate=number_format.rate,
    )
    return environment.get_template(TEMPLATE).render(report=content, **_view(content))


def replace_unprintable(value: Any) -> Any:
    """The value, with every character of a plain string that a page cannot hold replaced by U+FFFD."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    return value


def _view(content: ReportContent) -> dict[str, Any]:
    curves = plots.drawn_curves(content.roc)
    training, data = content.training, content.data
    has_matrix = len(content.classes) <= MOST_CLASSES_IN_MATRIX
    return {
        "loss_curve": plots.loss_curve(training.history, training.step_losses, training.best_step),
        "accuracy_curve": plots.accuracy_curve(training.history, training.best_step),
        "reliability": plots.reliability(content.calibration, content.ece),
        "roc": plots.roc(curves, content.micro_roc),
        "length_histogram": plots.length_histogram(data.length_histogram, data.max_length),
        "curves": curves,
        "hidden_curves": sum(curve is not None for curve in content.roc.values()) - len(curves),
        "matrix": build_confusion_rows(content) if has_matrix else [],
        "narrow": len(content.classes) <= MOST_CLASSES_IN_A_COLUMN,
        "confusions": find_largest_confusions(
            content, CONFUSIONS if has_matrix else CONFUSIONS_WITHOUT_MATRIX
        ),
        "overconfidence": mean_overconfidence(content.calibration),
        "errors": content.test_rows
        - sum(row[number] for number, row in enumerate(content.confusion)),
        "median_length": plots.length_quantile(data.length_histogram, 0.5),
        "p95_length": plots.length_quantile(data.length_histogram, 0.95),
        "at_limit": data.length_histogram.get(data.max_length, 0),
        "texts": sum(data.length_histogram.values()),
        "reached": content.accuracy >= content.min_accuracy,
    }


def build_confusion_rows(content: ReportContent) -> list[dict[str, Any]]:
    """The confusion matrix for display: per true class its cells with count, share of the row, and strength of colour."""
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
                    "strength": _strength(share or 0.0, right),
                }
            )
        rows.append({"name": name, "total": total, "cells": cells})
    return rows


def _strength(share: float, right: bool) -> float:
    """How much of its colour a cell shows, 0 to 1.

    Errors are few: the root makes a share of 1% visible beside one of 10%. The right answers' colour leaves out the
    strengths from 0.6 to 0.75, on which neither dark nor white digits have enough contrast.
    """
    if not right:
        return round(0.85 * math.sqrt(share), 3)
    return round(1.2 * share if share < 0.5 else 0.55 + 0.4 * share, 3)


def find_largest_confusions(content: ReportContent, limit: int) -> list[dict[str, Any]]:
    """The pairs (true class, predicted class) that were mixed up most often, with count and share of the true class."""
    pairs: list[dict[str, Any]] = [
        {
            "label": content.classes[row],
            "predicted": content.classes[column],
            "count": count,
            "share": count / sum(counts),
        }
        for row, counts in enumerate(content.confusion)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    return sorted(pairs, key=lambda pair: -pair["count"])[:limit]


def mean_overconfidence(bins: Sequence[CalibrationBin]) -> float:
    """Mean confidence minus accuracy over all rows: above 0 the model promises more than it keeps."""
    rows = sum(part.rows for part in bins)
    gaps = (
        part.rows * (part.confidence - part.accuracy)
        for part in bins
        if part.confidence is not None and part.accuracy is not None
    )
    return sum(gaps) / rows
