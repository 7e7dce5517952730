"""The plot of texts by their number of labels, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from components.artifacts.report.multi_label import LabelCount
from components.evaluate.report_page import number_format
from components.evaluate.report_page.plots import LEFT, RIGHT, WIDTH, format_thousands
from components.evaluate.report_page.svg import (
    Axes,
    draw_picture,
    draw_rectangle,
    draw_text,
    round_ticks,
)

MAX_BARS = 12
"""Numbers of labels with a bar of their own; larger ones share the last one."""


def draw_label_counts(counts: Sequence[LabelCount]) -> Markup:
    """Texts by number of labels: a bar for those that have so many, one for those given so many."""
    bars = join_largest(counts)
    top = max(max(own, given) for _, own, given in bars)
    axes = Axes(LEFT, 30, WIDTH - LEFT - RIGHT, 220, (-0.5, len(bars) - 0.5), (0, top * 1.08))
    ticks = [tick for tick in round_ticks(*axes.y, 4) if tick == round(tick)]
    parts = [
        axes.draw_frame([], ticks, format_thousands, format_thousands, "labels per text", "texts")
    ]
    for index, (name, own, given) in enumerate(bars):
        for start, rows, style, word in (
            (-0.36, own, "bar", "have"),
            (0.02, given, "bar given", "are given"),
        ):
            left, right = axes.to_x(index + start), axes.to_x(index + start + 0.34)
            height = axes.top + axes.height - axes.to_y(rows)
            tooltip = f"{number_format.format_count(rows)} texts {word} {name} labels"
            parts.append(
                draw_rectangle(left, axes.to_y(rows), right - left, height, style, tooltip)
            )
        parts.append(
            draw_text(axes.to_x(index), axes.top + axes.height + 18, name, "tick", "middle")
        )
    description = "; ".join(
        f"{name} labels: {number_format.format_count(own)} texts have them, "
        f"{number_format.format_count(given)} are given them"
        for name, own, given in bars
    )
    return draw_picture(
        "label-counts", WIDTH, 292, "Texts by number of labels", f"{description}.", parts
    )


def join_largest(counts: Sequence[LabelCount]) -> list[tuple[str, int, int]]:
    """Name, texts that have so many labels, and that are given so many: MAX_BARS bars at most."""
    bars = [(f"{each.labels}", each.rows, each.predicted_rows) for each in counts[:MAX_BARS]]
    if rest := counts[MAX_BARS - 1 :][1:]:
        _, own, given = bars[-1]
        bars[-1] = (
            f"{MAX_BARS - 1}+",
            own + sum(each.rows for each in rest),
            given + sum(each.predicted_rows for each in rest),
        )
    return bars
