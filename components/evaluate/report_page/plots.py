"""The report's plots as inline SVG, drawn from the report's content.

Each has a title and a description in words; the page shows the same numbers as tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from markupsafe import Markup

from components.artifacts.checkpoint import EpochMetrics
from components.artifacts.report import CalibrationBin, RocCurve
from components.evaluate.report_page import number_format
from components.evaluate.report_page.svg import (
    Axes,
    Point,
    draw_dot,
    draw_line,
    draw_picture,
    draw_rectangle,
    draw_text,
    format_attributes,
    round_ticks,
)

WIDTH = 480.0
LEFT = 46.0
RIGHT = 18.0
MAX_CURVES = 8
CORNER_AUC = 0.9
MAX_MARKED_EPOCHS = 60
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def draw_loss_curve(
    history: Sequence[EpochMetrics],
    step_losses: Sequence[tuple[int, float]],
    best_step: int,
    unit: str = "nats",
) -> Markup:
    """Loss by step: of batches, and of each epoch's training and validation rows."""
    ends = epoch_ends(history)
    top = max(
        [loss for _, loss in step_losses]
        + [e.train_loss for e in history]
        + [e.validation_loss for e in history],
        default=1.0,
    )
    last = max([*ends, *(step for step, _ in step_losses)], default=1)
    axes = Axes(LEFT, 30, WIDTH - LEFT - RIGHT, 220, (0, last), (0, max(top, 1e-6) * 1.05))
    parts = [
        _draw_epoch_lines(axes, ends),
        axes.draw_frame(
            round_ticks(0, last, 5),
            round_ticks(*axes.y, 5),
            number_format.format_count,
            number_format.format_tick,
            "step",
            f"loss ({unit})",
        ),
        axes.draw_path(step_losses, "series steps"),
    ]
    for style in ("train", "validation"):
        values = _read_figures(history, f"{style}_loss")
        parts += _draw_series(axes, ends, values, style, style)
    parts.append(_draw_best_step(axes, best_step))
    losses = ", ".join(number_format.format_decimal(e.validation_loss) for e in history)
    description = f"Validation loss by epoch: {losses}."
    return draw_picture("loss", WIDTH, 292, "Loss by training step", description, parts)


def draw_score_curve(
    history: Sequence[EpochMetrics],
    best_step: int,
    fields: Mapping[str, str],
    name: str = "accuracy",
) -> Markup:
    """A fraction of 1 by step; fields: of each epoch, by style: train and validation."""
    ends = epoch_ends(history)
    series = {style: _read_figures(history, field) for style, field in fields.items()}
    low = max(0.0, min(itertools.chain(*series.values()), default=0.0) - 0.05)
    axes = Axes(LEFT, 30, WIDTH - LEFT - RIGHT, 220, (0, max(ends, default=1)), (low, 1))
    parts = [
        _draw_epoch_lines(axes, ends),
        axes.draw_frame(
            round_ticks(0, axes.x[1], 5),
            round_ticks(low, 1, 5),
            number_format.format_count,
            format_share,
            "step",
            name,
        ),
    ]
    for style, values in series.items():
        parts += _draw_series(axes, ends, values, style, style)
    parts.append(_draw_best_step(axes, best_step))
    scores = ", ".join(number_format.format_percent(value) for value in series["validation"])
    title = name[:1].upper() + name[1:]
    description = f"Validation {name} by epoch: {scores}."
    return draw_picture("accuracy", WIDTH, 292, f"{title} by training step", description, parts)


class ReliabilityWords(NamedTuple):
    """What a reliability diagram is about: the share on its y axis, a row, a score."""

    title: str = "Share of right answers by confidence"
    share: str = "right answers"
    rows: str = "texts"
    score: str = "confidence"
    right: str = "right"


ANSWERS = ReliabilityWords()
LABELS = ReliabilityWords(
    title="Share of texts that have the label, by score",
    share="have the label",
    rows="labels",
    score="score",
    right="have it",
)


def draw_reliability(
    bins: Sequence[CalibrationBin],
    ece: float,
    name: str = "calibration",
    words: ReliabilityWords = ANSWERS,
) -> Markup:
    """Reliability diagram: accuracy by confidence, above the number of rows in each bin."""
    axes = Axes(LEFT, 30, WIDTH - LEFT - RIGHT, 250, (0, 1), (0, 1))
    strip = Axes(LEFT, 338, WIDTH - LEFT - RIGHT, 42, (0, 1), (0, max(part.rows for part in bins)))
    total = sum(part.rows for part in bins)
    parts = [
        axes.draw_frame([], SHARES, format_share, format_share, "", words.share),
        axes.draw_path([(0, 0), (1, 1)], "diagonal"),
        draw_text(
            axes.to_x(0.10),
            axes.to_y(0.035),
            "diagonal: a score means what it says",
            "note",
            "start",
        ),
    ]
    for part in bins:
        if part.confidence is None or part.accuracy is None:
            continue
        x = axes.to_x(part.confidence)
        tooltip = (
            f"{number_format.format_count(part.rows)} {words.rows}: "
            f"{words.score} {number_format.format_percent(part.confidence)}, "
            f"{words.right} {number_format.format_percent(part.accuracy)}"
        )
        parts.append(
            draw_line((x, axes.to_y(part.confidence)), (x, axes.to_y(part.accuracy)), "gap")
        )
        # The area of a dot is proportional to the rows of its bin.
        parts.append(
            draw_dot(
                x, axes.to_y(part.accuracy), 3 + 6 * (part.rows / total) ** 0.5, "point", tooltip
            )
        )
        left, right = strip.to_x(part.low) + 1, strip.to_x(part.high) - 1
        height = max(1.0, strip.top + strip.height - strip.to_y(part.rows))
        parts.append(
            draw_rectangle(
                left, strip.top + strip.height - height, right - left, height, "bar", tooltip
            )
        )
    parts.append(
        strip.draw_frame(
            SHARES, (0, strip.y[1]), format_share, format_thousands, words.score, words.rows
        )
    )
    description = (
        f"The expected calibration error is {number_format.format_decimal(ece)}; "
        "0 would lie on the diagonal throughout."
    )
    return draw_picture(name, WIDTH, 422, words.title, description, parts)


def draw_roc(curves: Mapping[str, RocCurve], pooled: RocCurve) -> Markup:
    """One-vs-rest ROC curves by class, and the micro-average; the page's legend names them."""
    axes = Axes(LEFT, 30, WIDTH - LEFT - RIGHT, 350, (0, 1), (0, 1))
    parts = [
        axes.draw_frame(
            SHARES,
            SHARES,
            format_share,
            format_share,
            "false positive rate",
            "true positive rate",
        ),
        axes.draw_path([(0, 0), (1, 1)], "diagonal"),
        axes.draw_path(list(zip(pooled.fpr, pooled.tpr, strict=True)), "series pooled"),
    ]
    parts += _draw_class_curves(axes, curves)
    if pooled.auc > CORNER_AUC:
        parts += _draw_enlarged_corner(axes, curves)
    areas = [f"{name} {number_format.format_decimal(curve.auc)}" for name, curve in curves.items()]
    areas.append(f"all classes pooled {number_format.format_decimal(pooled.auc)}")
    description = f"Areas under the curves: {', '.join(areas)}."
    return draw_picture("roc", WIDTH, 422, "Receiver operating characteristic", description, parts)


def _draw_class_curves(axes: Axes, curves: Mapping[str, RocCurve]) -> list[str]:
    return [
        axes.draw_path(list(zip(curve.fpr, curve.tpr, strict=True)), f"series class-{index}")
        for index, curve in enumerate(curves.values())
    ]


def _draw_enlarged_corner(axes: Axes, curves: Mapping[str, RocCurve]) -> list[str]:
    """The upper left corner, enlarged in the empty lower right."""
    size, share = 140.0, 0.2
    left, top = axes.left + axes.width - size - 8, axes.top + axes.height - size - 26
    inner = Axes(0, 0, size / share, size / share, (0, 1), (0, 1))
    frame = Axes(left, top, size, size, (0, share), (1 - share, 1))
    viewport = format_attributes(x=left, y=top - 2, width=size, height=size + 4)
    return [
        draw_rectangle(left - 34, top - 26, size + 42, size + 50, "cover", "the corner, enlarged"),
        frame.draw_frame(
            (0, 0.1, 0.2), (0.8, 0.9, 1), format_share, format_share, "", "the corner, enlarged"
        ),
        f'<svg {viewport} overflow="hidden">',
        *_draw_class_curves(replace(inner, top=2), curves),
        "</svg>",
    ]


def select_curves(curves: Mapping[str, RocCurve | None]) -> dict[str, RocCurve]:
    """The curves to draw: all in class order, or the MAX_CURVES with the smallest areas."""
    defined = {name: curve for name, curve in curves.items() if curve is not None}
    if len(defined) <= MAX_CURVES:
        return defined
    return dict(sorted(defined.items(), key=lambda item: item[1].auc)[:MAX_CURVES])


def draw_length_histogram(histogram: Mapping[int, int], max_length: int) -> Markup:
    """Histogram of lengths in tokens, with the median and the 95th percentile."""
    width = _bin_width(max_length)
    bins: dict[int, int] = {}
    for length, rows in histogram.items():
        bins[length // width] = bins.get(length // width, 0) + rows
    axes = Axes(
        LEFT,
        30,
        WIDTH - LEFT - RIGHT,
        220,
        (0, max_length + width),
        (0, max([*bins.values(), 1]) * 1.18),
    )
    parts = [
        axes.draw_frame(
            round_ticks(0, max_length, 6),
            round_ticks(*axes.y, 4),
            number_format.format_count,
            format_thousands,
            "tokens per text",
            "texts",
        )
    ]
    for index, rows in sorted(bins.items()):
        low, high = index * width, min((index + 1) * width, max_length + width)
        x, y = axes.to_x(low), axes.to_y(rows)
        span = str(low) if width == 1 else f"{low} to {high - 1}"
        bar = draw_rectangle(
            x + 0.5,
            y,
            axes.to_x(high) - x - 1,
            axes.top + axes.height - y,
            "bar",
            f"{span} tokens: {number_format.format_count(rows)} texts",
        )
        parts.append(bar)
    for share, name, level in ((0.5, "median:", 12), (0.95, "95%: at most", 28)):
        at = length_quantile(histogram, share)
        anchor, shift = ("start", 5) if at < max_length * 0.7 else ("end", -5)
        parts.append(
            draw_line(
                (axes.to_x(at), axes.top - 4 + level),
                (axes.to_x(at), axes.top + axes.height),
                "marker",
            )
        )
        parts.append(
            draw_text(axes.to_x(at) + shift, axes.top + level, f"{name} {at}", "note", anchor)
        )
    description = (
        f"Half of the texts have at most {length_quantile(histogram, 0.5)} tokens, "
        f"95% at most {length_quantile(histogram, 0.95)}; "
        f"texts are cut at {max_length}."
    )
    return draw_picture("lengths", WIDTH, 292, "Texts by length in tokens", description, parts)


def length_quantile(histogram: Mapping[int, int], share: float) -> int:
    """The smallest length that at least `share` of the rows do not exceed; 0 without rows."""
    rows = sum(histogram.values())
    lengths = sorted(histogram)
    for length, below in zip(
        lengths, itertools.accumulate(histogram[length] for length in lengths), strict=True
    ):
        if below >= share * rows:
            return length
    return 0


def epoch_ends(history: Sequence[EpochMetrics]) -> list[int]:
    """The step at which each epoch ended."""
    return [epoch.steps for epoch in history]


def _read_figures(history: Sequence[EpochMetrics], field: str) -> list[float]:
    """A field of each epoch that has it."""
    values = (getattr(epoch, field) for epoch in history)
    return [value for value in values if value is not None]


def _draw_series(
    axes: Axes, ends: Sequence[int], values: Sequence[float], style: str, name: str
) -> list[str]:
    points: list[Point] = list(zip(ends, values, strict=True))
    marked = points if len(points) <= MAX_MARKED_EPOCHS else []
    return [
        axes.draw_path(points, f"series {style}"),
        *(
            draw_dot(axes.to_x(x), axes.to_y(y), 3.5, f"mark {style}", f"{name}, step {x}: {y:.4f}")
            for x, y in marked
        ),
    ]


def _draw_epoch_lines(axes: Axes, ends: Sequence[int]) -> str:
    if len(ends) > 20:
        return ""
    return "".join(
        draw_line((axes.to_x(end), axes.top), (axes.to_x(end), axes.top + axes.height), "grid")
        for end in ends
    )


def _draw_best_step(axes: Axes, step: int) -> str:
    x = axes.to_x(step)
    anchor, shift = ("end", -5) if x > axes.left + axes.width / 2 else ("start", 5)
    top = (x, axes.top - 8)
    return draw_line(top, (x, axes.top + axes.height), "marker") + draw_text(
        x + shift, axes.top - 1, "this model", "note", anchor
    )


def _bin_width(max_length: int) -> int:
    return next(width for power in itertools.count() if max_length / (width := 1 << power) <= 40)


def format_share(value: float) -> str:
    return f"{value * 100:.10g}%"


def format_thousands(value: float) -> str:
    return (
        f"{number_format.format_tick(round(value / 1000))}k"
        if value >= 10_000
        else number_format.format_tick(value)
    )
