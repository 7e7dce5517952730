"""The plot of precision by the share of texts that are answered, as inline SVG."""

from __future__ import annotations

from markupsafe import Markup

from components.artifacts.report import Abstention, AnsweredRows
from components.evaluate.report_page import number_format
from components.evaluate.report_page.plots import LEFT, RIGHT, SHARES, WIDTH, format_share
from components.evaluate.report_page.svg import Axes, draw_dot, draw_picture, round_ticks


def draw_coverage(abstention: Abstention) -> Markup:
    """Precision of the confident test answers by their share, and the threshold's point."""
    points = [(point, point.precision) for point in abstention.curve]
    known = [(point.coverage, value) for point, value in points if value is not None]
    low = max(0.0, min(value for _, value in known) - 0.05)
    axes = Axes(LEFT, 30, WIDTH - LEFT - RIGHT, 250, (0, 1), (low, 1))
    parts = [
        axes.draw_frame(
            SHARES,
            round_ticks(low, 1, 5),
            format_share,
            format_share,
            "share of the texts that are answered",
            "precision",
        ),
        axes.draw_path(sorted(known), "series validation"),
    ]
    chosen = abstention.test
    if chosen is not None and chosen.precision is not None:
        dot = axes.to_x(chosen.coverage), axes.to_y(chosen.precision)
        parts.append(draw_dot(*dot, 6, "point", _describe(chosen)))
    description = f"{_describe(abstention.curve[0])}."
    if chosen is not None:
        description += f" {_describe(chosen)}."
    return draw_picture(
        "coverage", WIDTH, 322, "Precision by share of answered texts", description, parts
    )


def _describe(point: AnsweredRows) -> str:
    return (
        f"Threshold {number_format.format_decimal(point.threshold, 4)}: "
        f"{number_format.format_percent(point.coverage)} answered, "
        f"precision {number_format.format_percent(point.precision)}"
    )
