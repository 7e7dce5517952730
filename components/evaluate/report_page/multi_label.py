"""What the page of a multi-label report shows, beside what all reports have."""

from __future__ import annotations

from typing import Any

from components.artifacts.report import MultiLabelReport
from components.artifacts.report.multi_label import MAX_BASELINE_LABELS
from components.evaluate.report_page import plots
from components.evaluate.report_page.label_plots import draw_label_counts
from components.evaluate.report_page.single_label import (
    MAX_MATRIX_CLASSES,
    MAX_NAMED_CLASSES,
    color_strength,
    select_classes,
)


def describe_multi_label(content: MultiLabelReport) -> dict[str, Any]:
    """The values of the template `multi_label.html.j2`."""
    curves = plots.select_curves(content.roc)
    baseline = content.baseline_labels
    is_above = content.micro_f1 is not None and content.micro_f1 > content.baseline_micro_f1
    has_matrix = bool(content.co_occurrence) and len(content.classes) <= MAX_MATRIX_CLASSES
    return {
        "per_class": select_classes(content.per_class),
        "named_classes": MAX_NAMED_CLASSES,
        "baseline_names": baseline[:MAX_BASELINE_LABELS],
        "more_baseline_labels": len(baseline[MAX_BASELINE_LABELS:]),
        "is_above_baseline": is_above,
        "limit": content.minimum.get("micro_f1"),
        "wrong_rows": round((1 - content.subset_accuracy) * content.test_rows),
        "label_counts": draw_label_counts(content.label_counts),
        "matrix": build_pair_rows(content) if has_matrix else [],
        "reliability": plots.draw_reliability(content.calibration, content.ece, words=plots.LABELS),
        "roc": plots.draw_roc(curves, content.micro_roc) if content.micro_roc else None,
        "curves": curves,
        "hidden_curves": sum(curve is not None for curve in content.roc.values()) - len(curves),
    }


def build_pair_rows(content: MultiLabelReport) -> list[dict[str, Any]]:
    """Rows of the matrix of pairs: per cell, the texts that have both labels and are given both.

    The strength of the color is that of the share of the row's class.
    """
    rows = []
    pairs = zip(
        content.classes, content.co_occurrence, content.predicted_co_occurrence, strict=True
    )
    for number, (name, counts, given) in enumerate(pairs):
        total = counts[number]
        cells = [
            {
                "count": count,
                "given": predicted,
                "own": column == number,
                "strength": color_strength(count / total if total else 0.0, right=True),
            }
            for column, (count, predicted) in enumerate(zip(counts, given, strict=True))
        ]
        rows.append({"name": name, "cells": cells})
    return rows
