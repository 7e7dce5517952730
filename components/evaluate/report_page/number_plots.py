"""Plots of predicted numbers and their errors, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from components.artifacts.report.regression import ErrorBin
from components.evaluate.report_page import number_format
from components.evaluate.report_page.plots import LEFT, RIGHT, WIDTH, format_thousands
from components.evaluate.report_page.svg import (
    Axes,
    draw_circle,
    draw_line,
    draw_picture,
    draw_rectangle,
    round_ticks,
)

WIDE_LEFT = LEFT + 26
"""Left margin of an axis whose labels are numbers of the data."""


def draw_points(points: Sequence[tuple[float, float]]) -> Markup:
    """Predicted by actual number of texts, and the diagonal on which both are equal."""
    numbers = [number for point in points for number in point]
    low, high = _pad_range(min(numbers), max(numbers))
    axes = Axes(WIDE_LEFT, 30, WIDTH - WIDE_LEFT - RIGHT, 350, (low, high), (low, high))
    ticks = round_ticks(low, high, 5)
    parts = [
        axes.draw_frame(
            ticks,
            ticks,
            number_format.format_axis,
            number_format.format_axis,
            "actual number",
            "predicted number",
        ),
        axes.draw_path([(low, low), (high, high)], "diagonal"),
        *(
            draw_circle(axes.to_x(actual), axes.to_y(predicted), 2.5, "spot")
            for actual, predicted in points
        ),
    ]
    description = (
        f"{number_format.format_count(len(points))} texts; on the diagonal, the predicted number "
        "is the actual one."
    )
    return draw_picture("points", WIDTH, 422, "Predicted by actual number", description, parts)


def draw_error_histogram(bins: Sequence[ErrorBin]) -> Markup:
    """Texts by error, predicted minus actual number."""
    low, high = bins[0].low, bins[-1].high
    top = max(part.rows for part in bins)
    axes = Axes(LEFT, 30, WIDTH - LEFT - RIGHT, 220, (low, high), (0, top * 1.08))
    parts = [
        axes.draw_frame(
            round_ticks(low, high, 6),
            [tick for tick in round_ticks(*axes.y, 4) if tick == round(tick)],
            number_format.format_axis,
            format_thousands,
            "predicted minus actual number",
            "texts",
        )
    ]
    for part in bins:
        left, right = axes.to_x(part.low) + 0.5, axes.to_x(part.high) - 0.5
        height = axes.top + axes.height - axes.to_y(part.rows)
        tooltip = (
            f"{number_format.format_axis(part.low)} to {number_format.format_axis(part.high)}: "
            f"{number_format.format_count(part.rows)} texts"
        )
        if part.rows:
            parts.append(
                draw_rectangle(left, axes.to_y(part.rows), right - left, height, "bar", tooltip)
            )
    if low < 0 < high:
        x = axes.to_x(0)
        parts.append(draw_line((x, axes.top), (x, axes.top + axes.height), "marker"))
    most = max(bins, key=lambda part: part.rows)
    description = (
        f"Most texts, {number_format.format_count(most.rows)}, have an error of "
        f"{number_format.format_axis(most.low)} to {number_format.format_axis(most.high)}."
    )
    return draw_picture("errors", WIDTH, 292, "Texts by error", description, parts)


def _pad_range(low: float, high: float) -> tuple[float, float]:
    """The range with a margin; never empty."""
    margin = (high - low) * 0.04 or max(abs(low) * 0.1, 1.0)
    return low - margin, high + margin
