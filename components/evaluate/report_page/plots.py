"""The report's pictures, as inline SVG made from a report's content alone.

Each one carries a title and a description in words; the page shows the same figures as tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from markupsafe import Markup

from components.artifacts.checkpoint import EpochMetrics
from components.artifacts.report import CalibrationBin, RocCurve
from components.evaluate.report_page import number_format
from components.evaluate.report_page.svg import (
    Axes,
    Point,
    dot,
    line,
    number,
    picture,
    rectangle,
    text,
    ticks,
)

WIDTH = 480.0
LEFT = 46.0
RIGHT = 18.0
MOST_CURVES = 8
CORNER_AUC = 0.9
MOST_MARKS = 60
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def loss_curve(
    history: Sequence[EpochMetrics], step_losses: Sequence[tuple[int, float]], best_step: int
) -> Markup:
    """Loss by step: the batches', the mean of each epoch's training rows, and the validation rows' after each epoch."""
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
        _epochs(axes, ends),
        axes.frame(
            ticks(0, last, 5),
            ticks(*axes.y, 5),
            number_format.count,
            number_format.short,
            "step",
            "loss (nats)",
        ),
        axes.path(step_losses, "series steps"),
    ]
    for values, style, name in _pairs(history, "loss"):
        parts += _series(axes, ends, values, style, name)
    parts.append(_best(axes, best_step))
    description = f"Validation loss by epoch: {', '.join(number_format.decimal(e.validation_loss) for e in history)}."
    return picture("loss", WIDTH, 292, "Loss by training step", description, parts)


def accuracy_curve(history: Sequence[EpochMetrics], best_step: int) -> Markup:
    """Accuracy by step: the training rows' of each epoch, and the validation rows' after it."""
    ends = epoch_ends(history)
    values = [e.train_accuracy for e in history] + [e.validation_accuracy for e in history]
    low = max(0.0, min(values, default=0.0) - 0.05)
    axes = Axes(LEFT, 30, WIDTH - LEFT - RIGHT, 220, (0, max(ends, default=1)), (low, 1))
    parts = [
        _epochs(axes, ends),
        axes.frame(
            ticks(0, axes.x[1], 5),
            ticks(low, 1, 5),
            number_format.count,
            _whole_percent,
            "step",
            "accuracy",
        ),
    ]
    for series, style, name in _pairs(history, "accuracy"):
        parts += _series(axes, ends, series, style, name)
    parts.append(_best(axes, best_step))
    description = f"Validation accuracy by epoch: {', '.join(number_format.percent(e.validation_accuracy) for e in history)}."
    return picture("accuracy", WIDTH, 292, "Accuracy by training step", description, parts)


def reliability(bins: Sequence[CalibrationBin], ece: float) -> Markup:
    """Accuracy against confidence, with each bin's distance from the diagonal, above the number of rows in each bin."""
    axes = Axes(LEFT, 30, WIDTH - LEFT - RIGHT, 250, (0, 1), (0, 1))
    strip = Axes(LEFT, 338, WIDTH - LEFT - RIGHT, 42, (0, 1), (0, max(part.rows for part in bins)))
    total = sum(part.rows for part in bins)
    parts = [
        axes.frame([], SHARES, _whole_percent, _whole_percent, "", "right answers"),
        axes.path([(0, 0), (1, 1)], "diagonal"),
        text(
            axes.px(0.10), axes.py(0.035), "diagonal: a score means what it says", "note", "start"
        ),
    ]
    for part in bins:
        if part.confidence is None or part.accuracy is None:
            continue
        x = axes.px(part.confidence)
        tooltip = f"{number_format.count(part.rows)} texts: confidence {number_format.percent(part.confidence)}, right {number_format.percent(part.accuracy)}"
        parts.append(line((x, axes.py(part.confidence)), (x, axes.py(part.accuracy)), "gap"))
        # The area of a dot stands for its rows, so that a bin with three rows does not look like one with three thousand.
        parts.append(
            dot(x, axes.py(part.accuracy), 3 + 6 * (part.rows / total) ** 0.5, "point", tooltip)
        )
        left, right = strip.px(part.low) + 1, strip.px(part.high) - 1
        height = max(1.0, strip.top + strip.height - strip.py(part.rows))
        parts.append(
            rectangle(left, strip.top + strip.height - height, right - left, height, "bar", tooltip)
        )
    parts.append(
        strip.frame(SHARES, (0, strip.y[1]), _whole_percent, _thousands, "confidence", "texts")
    )
    description = f"The expected calibration error is {number_format.decimal(ece)}; 0 would lie on the diagonal throughout."
    return picture(
        "calibration", WIDTH, 422, "Share of right answers by confidence", description, parts
    )


def roc(curves: Mapping[str, RocCurve], pooled: RocCurve) -> Markup:
    """One curve per class against the rest, and the pooled one; the page's key names them by their order."""
    axes = Axes(LEFT, 30, WIDTH - LEFT - RIGHT, 350, (0, 1), (0, 1))
    parts = [
        axes.frame(
            SHARES,
            SHARES,
            _whole_percent,
            _whole_percent,
            "false positive rate",
            "true positive rate",
        ),
        axes.path([(0, 0), (1, 1)], "diagonal"),
        axes.path(list(zip(pooled.fpr, pooled.tpr, strict=True)), "series pooled"),
    ]
    parts += _curves(axes, curves)
    if pooled.auc > CORNER_AUC:
        parts += _corner(axes, curves)
    areas = [f"{name} {number_format.decimal(curve.auc)}" for name, curve in curves.items()]
    description = f"Areas under the curves: {', '.join([*areas, f'all classes pooled {number_format.decimal(pooled.auc)}'])}."
    return picture("roc", WIDTH, 422, "Receiver operating characteristic", description, parts)


def _curves(axes: Axes, curves: Mapping[str, RocCurve]) -> list[str]:
    return [
        axes.path(list(zip(curve.fpr, curve.tpr, strict=True)), f"series class-{index}")
        for index, curve in enumerate(curves.values())
    ]


def _corner(axes: Axes, curves: Mapping[str, RocCurve]) -> list[str]:
    """The upper left corner, where a good model's curves lie together, enlarged into the empty lower right."""
    size, share = 140.0, 0.2
    left, top = axes.left + axes.width - size - 8, axes.top + axes.height - size - 26
    inner = Axes(0, 0, size / share, size / share, (0, 1), (0, 1))
    frame = Axes(left, top, size, size, (0, share), (1 - share, 1))
    return [
        rectangle(left - 34, top - 26, size + 42, size + 50, "cover", "the corner, enlarged"),
        frame.frame(
            (0, 0.1, 0.2), (0.8, 0.9, 1), _whole_percent, _whole_percent, "", "the corner, enlarged"
        ),
        f'<svg x="{number(left)}" y="{number(top - 2)}" width="{number(size)}" height="{number(size + 4)}" overflow="hidden">',
        *_curves(replace(inner, top=2), curves),
        "</svg>",
    ]


def drawn_curves(curves: Mapping[str, RocCurve | None]) -> dict[str, RocCurve]:
    """The curves that `roc` has room for: all in class order, or those with the smallest areas."""
    defined = {name: curve for name, curve in curves.items() if curve is not None}
    if len(defined) <= MOST_CURVES:
        return defined
    return dict(sorted(defined.items(), key=lambda item: item[1].auc)[:MOST_CURVES])


def length_histogram(histogram: Mapping[int, int], max_length: int) -> Markup:
    """Rows by length in tokens, with the median, the 95th percentile and the limit at which texts are cut."""
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
        axes.frame(
            ticks(0, max_length, 6),
            ticks(*axes.y, 4),
            number_format.count,
            _thousands,
            "tokens per text",
            "texts",
        )
    ]
    for index, rows in sorted(bins.items()):
        low, high = index * width, min((index + 1) * width, max_length + width)
        x, y = axes.px(low), axes.py(rows)
        span = str(low) if width == 1 else f"{low} to {high - 1}"
        bar = rectangle(
            x + 0.5,
            y,
            axes.px(high) - x - 1,
            axes.top + axes.height - y,
            "bar",
            f"{span} tokens: {number_format.count(rows)} texts",
        )
        parts.append(bar)
    for share, name, level in ((0.5, "median:", 12), (0.95, "95%: at most", 28)):
        at = length_quantile(histogram, share)
        anchor, shift = ("start", 5) if at < max_length * 0.7 else ("end", -5)
        parts.append(
            line(
                (axes.px(at), axes.top - 4 + level), (axes.px(at), axes.top + axes.height), "marker"
            )
        )
        parts.append(text(axes.px(at) + shift, axes.top + level, f"{name} {at}", "note", anchor))
    description = (
        f"Half of the texts have at most {length_quantile(histogram, 0.5)} tokens, 95% at most {length_quantile(histogram, 0.95)}; "
        f"texts are cut at {max_length}."
    )
    return picture("lengths", WIDTH, 292, "Texts by length in tokens", description, parts)


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


def _pairs(history: Sequence[EpochMetrics], figure: str) -> list[tuple[list[float], str, str]]:
    return [
        ([getattr(epoch, f"{split}_{figure}") for epoch in history], split, split)
        for split in ("train", "validation")
    ]


def _series(
    axes: Axes, ends: Sequence[int], values: Sequence[float], style: str, name: str
) -> list[str]:
    points: list[Point] = list(zip(ends, values, strict=True))
    marked = points if len(points) <= MOST_MARKS else []
    return [
        axes.path(points, f"series {style}"),
        *(
            dot(axes.px(x), axes.py(y), 3.5, f"mark {style}", f"{name}, step {x}: {y:.4f}")
            for x, y in marked
        ),
    ]


def _epochs(axes: Axes, ends: Sequence[int]) -> str:
    if len(ends) > 20:
        return ""
    return "".join(
        line((axes.px(end), axes.top), (axes.px(end), axes.top + axes.height), "grid")
        for end in ends
    )


def _best(axes: Axes, step: int) -> str:
    x = axes.px(step)
    anchor, shift = ("end", -5) if x > axes.left + axes.width / 2 else ("start", 5)
    top = (x, axes.top - 8)
    return line(top, (x, axes.top + axes.height), "marker") + text(
        x + shift, axes.top - 1, "this model", "note", anchor
    )


def _bin_width(max_length: int) -> int:
    return next(width for width in (1, 2, 4, 8, 16) if max_length / width <= 40)


def _whole_percent(value: float) -> str:
    return f"{value * 100:.10g}%"


def _thousands(value: float) -> str:
    return (
        f"{number_format.short(round(value / 1000))}k"
        if value >= 10_000
        else number_format.short(value)
    )
