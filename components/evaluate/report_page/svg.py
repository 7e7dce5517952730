"""Linear axes for inline SVG: equal input gives equal bytes, and every colour is a CSS class, so a page can restyle them.

Coordinates are in SVG user units, the origin at the top left; data coordinates grow to the right and upwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

Point = tuple[float, float]


@dataclass(frozen=True)
class Axes:
    """A rectangle of the picture and the ranges of data, (low, high) with low < high, that it shows."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def px(self, value: float) -> float:
        """Horizontal position of a data value; values out of range are put at the edge."""
        return self.left + self.width * _share(value, self.x)

    def py(self, value: float) -> float:
        """Vertical position of a data value; values out of range are put at the edge."""
        return self.top + self.height * (1 - _share(value, self.y))

    def frame(
        self,
        x_ticks: Sequence[float],
        y_ticks: Sequence[float],
        x_format: Callable[[float], str],
        y_format: Callable[[float], str],
        x_title: str,
        y_title: str,
    ) -> str:
        """Horizontal grid lines, the base line, the ticks' texts and the axes' titles; the y title stands above the axis."""
        bottom = self.top + self.height
        parts = [text(self.left - 8, self.py(v) + 4, y_format(v), "tick", "end") for v in y_ticks]
        parts += [
            line((self.left, self.py(v)), (self.left + self.width, self.py(v)), "grid")
            for v in y_ticks
        ]
        parts += [text(self.px(v), bottom + 18, x_format(v), "tick", "middle") for v in x_ticks]
        parts.append(line((self.left, bottom), (self.left + self.width, bottom), "axis"))
        parts.append(text(self.left + self.width / 2, bottom + 36, x_title, "title", "middle"))
        parts.append(text(self.left - 8, self.top - 12, y_title, "title", "start"))
        return "".join(parts)

    def path(self, points: Sequence[Point], style: str) -> str:
        """A line through data points, in their order."""
        moves = " ".join(f"{number(self.px(x))},{number(self.py(y))}" for x, y in points)
        return f'<polyline class="{style}" points="{moves}"/>'


def picture(
    name: str, width: float, height: float, title: str, description: str, parts: Sequence[str]
) -> Markup:
    """A self-contained `<svg>` that a screen reader announces by title and description; `name` is its id in the page."""
    return Markup(  # noqa: S704 - every text in it was escaped here or by `text`, `rectangle` and `dot`
        f'<svg viewBox="0 0 {number(width)} {number(height)}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(description)}</desc>{"".join(parts)}</svg>'
    )


def text(x: float, y: float, content: str, style: str, anchor: str) -> str:
    """Escaped text; anchor is start, middle or end."""
    return f'<text class="{style}" x="{number(x)}" y="{number(y)}" text-anchor="{anchor}">{escape(content)}</text>'


def line(start: Point, end: Point, style: str) -> str:
    """A straight line between two points of the picture."""
    (x1, y1), (x2, y2) = start, end
    return f'<line class="{style}" x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}"/>'


def rectangle(x: float, y: float, width: float, height: float, style: str, tooltip: str) -> str:
    """A bar with a tooltip."""
    return (
        f'<rect class="{style}" x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}">'
        f"<title>{escape(tooltip)}</title></rect>"
    )


def dot(x: float, y: float, radius: float, style: str, tooltip: str) -> str:
    """A marker with a tooltip."""
    return f'<circle class="{style}" cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"><title>{escape(tooltip)}</title></circle>'


def number(value: float) -> str:
    """A coordinate with one decimal, never -0."""
    rounded = round(value, 1) + 0.0
    return f"{rounded:.1f}".removesuffix(".0")


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round values (1, 2 or 5 times a power of ten apart) within [low, high]."""
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def _share(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(1.0, max(0.0, (value - low) / (high - low)))
