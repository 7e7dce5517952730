"""Attention between words as inline SVG: arcs, and a matrix; colours are CSS classes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

MAX_DRAWN_TOKENS = 64
"""Of longer texts the pictures would be too dense to read; their tables are shown."""
MIN_WEIGHT = 0.01
MIN_ARC = 0.04
_ROW = 22
_COLUMN = 170
_GAP = 180
_CELL = 20
_LABEL = 110
_MAX_LABEL_CHARACTERS = 16


def draw_arcs(
    weights: npt.NDArray[np.float32],
    tokens: Sequence[str],
    title: str,
    name: str,
    max_arcs: int | None = None,
) -> Markup:
    """Two columns of words, and an arc from each word (left) to the words that it attends to.

    The more of the attention, the darker the arc. With max_arcs, only so many arcs of each word are
    drawn, the darkest, and without tooltips.
    """
    height = _ROW * len(tokens) + 8
    is_full, parts = max_arcs is None, []
    for query, row in enumerate(weights):
        least = max(MIN_ARC, 0.0 if max_arcs is None else np.sort(row)[-max_arcs:][0])
        for key, weight in enumerate(row):
            if weight < least:
                continue
            y1, y2 = (_ROW * number + _ROW / 2 + 4 for number in (query, key))
            x1, x2 = _COLUMN + 4, _COLUMN + _GAP - 4
            middle = (x1 + x2) / 2
            parts.append(
                f'<path class="arc" d="M{x1} {y1:.0f}C{middle:.0f} {y1:.0f} {middle:.0f} '
                f'{y2:.0f} {x2} {y2:.0f}" stroke-opacity="{_opacity(weight)}"'
                + (f">{_tooltip(tokens[query], tokens[key], weight)}</path>" if is_full else "/>")
            )
    for number, token in enumerate(tokens):
        y = _ROW * number + _ROW / 2 + 8
        if number < len(weights):
            parts.append(_draw_label(_COLUMN, y, token, "end"))
        parts.append(_draw_label(_COLUMN + _GAP, y, token, "start"))
    return _draw_picture(
        name, 2 * _COLUMN + _GAP, height, f"{title}: who attends to whom", weights, parts
    )


def draw_matrix(
    weights: npt.NDArray[np.float32], tokens: Sequence[str], title: str, name: str
) -> Markup:
    """A row per word that attends, a column per word that is attended to."""
    parts = []
    for query, row in enumerate(weights):
        parts.append(_draw_label(_LABEL - 6, _LABEL + _CELL * query + 14, tokens[query], "end"))
        for key, weight in enumerate(row):
            if weight >= MIN_WEIGHT:
                x, y = _LABEL + _CELL * key, _LABEL + _CELL * query
                parts.append(
                    f'<rect class="cell" x="{x}" y="{y}" width="{_CELL - 1}" height="{_CELL - 1}" '
                    f'fill-opacity="{_opacity(weight)}">'
                    f"{_tooltip(tokens[query], tokens[key], weight)}</rect>"
                )
    for number, token in enumerate(tokens):
        x, y = _LABEL + _CELL * number + 14, _LABEL - 6
        label = _draw_label(x, y, token, "start")
        parts.append(f'<g transform="rotate(-60 {x} {y})">{label}</g>')
    width, height = _LABEL + _CELL * len(tokens) + 60, _LABEL + _CELL * len(weights)
    return _draw_picture(name, width, height, f"{title}: matrix", weights, parts)


def _draw_picture(
    name: str,
    width: float,
    height: float,
    title: str,
    weights: npt.NDArray[np.float32],
    parts: Sequence[str],
) -> Markup:
    description = (
        f"{len(weights)} by {weights.shape[1]} weights; the table below names the largest of each "
        "row."
    )
    return Markup(  # noqa: S704 - every text in it was escaped here or by a function below
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="max-width: {width:.0f}px; --w: {width:.0f}px" role="img" '
        f'aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{escape(title)}</title>'
        f'<desc id="{name}-d">{escape(description)}</desc>{"".join(parts)}</svg>'
    )


def _draw_label(x: float, y: float, text: str, anchor: str) -> str:
    is_long = len(text) > _MAX_LABEL_CHARACTERS
    shown = f"{text[: _MAX_LABEL_CHARACTERS - 1]}\N{HORIZONTAL ELLIPSIS}" if is_long else text
    label = escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown))
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{label}</text>'


def _tooltip(query: str, token: str, weight: float) -> str:
    text = f"{query} \N{RIGHTWARDS ARROW} {token}: {weight:.2f}"
    shown = escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))
    return f"<title>{shown}</title>"


def _opacity(weight: float) -> str:
    return f"{min(1.0, 0.08 + 0.92 * float(weight) ** 0.7):.2f}"
