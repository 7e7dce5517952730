"""SVG primitives and linear axes: equal input gives equal bytes, colours are CSS classes.

Coordinates are SVG user units with the origin at the top left; data coordinates grow to the right
and upwards.
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
    """A rectangle of the picture, and the ranges of data (low, high), low < high, that it shows."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def to_x(self, value: float) -> float:
        """Horizontal position of a data value, clipped to the range."""
        return self.left + self.width * _share_of_range(value, self.x)

    def to_y(self, value: float) -> float:
        """Vertical position of a data value, clipped to the range."""
        return self.top + self.height * (1 - _share_of_range(value, self.y))

    def draw_frame(
        self,
        x_ticks: Sequence[float],
        y_ticks: Sequence[float],
        x_format: Callable[[float], str],
        y_format: Callable[[float], str],
        x_title: str,
        y_title: str,
    ) -> str:
        """Horizontal grid lines, base line, tick labels and axis titles, the y title on top."""
        bottom = self.top + self.height
        parts = [
            draw_text(self.left - 8, self.to_y(v) + 4, y_format(v), "tick", "end") for v in y_ticks
        ]
        parts += [
            draw_line((self.left, self.to_y(v)), (self.left + self.width, self.to_y(v)), "grid")
            for v in y_ticks
        ]
        parts += [
            draw_text(self.to_x(v), bottom + 18, x_format(v), "tick", "middle") for v in x_ticks
        ]
        parts.append(draw_line((self.left, bottom), (self.left + self.width, bottom), "axis"))
        parts.append(draw_text(self.left + self.width / 2, bottom + 36, x_title, "title", "middle"))
        parts.append(draw_text(self.left - 8, self.top - 12, y_title, "title", "start"))
        return "".join(parts)

    def draw_path(self, points: Sequence[Point], style: str) -> str:
        """A line through data points, in their order."""
        moves = " ".join(
            f"{format_coordinate(self.to_x(x))},{format_coordinate(self.to_y(y))}"
            for x, y in points
        )
        return f'<polyline class="{style}" points="{moves}"/>'


def draw_picture(
    name: str, width: float, height: float, title: str, description: str, parts: Sequence[str]
) -> Markup:
    """A complete `<svg>` with title and description for screen readers; `name` is its id."""
    view_box = f"0 0 {format_coordinate(width)} {format_coordinate(height)}"
    return Markup(  # noqa: S704 - every text in it was escaped here or by a function below
        f'<svg viewBox="{view_box}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(title)}</title>'
        f'<desc id="{name}-d">{escape(description)}</desc>{"".join(parts)}</svg>'
    )


def draw_text(x: float, y: float, content: str, style: str, anchor: str) -> str:
    """Escaped text; anchor is start, middle or end."""
    position = format_attributes(x=x, y=y)
    return f'<text class="{style}" {position} text-anchor="{anchor}">{escape(content)}</text>'


def draw_line(start: Point, end: Point, style: str) -> str:
    """A straight line between two points of the picture."""
    (x1, y1), (x2, y2) = start, end
    return f'<line class="{style}" {format_attributes(x1=x1, y1=y1, x2=x2, y2=y2)}/>'


def draw_rectangle(
    x: float, y: float, width: float, height: float, style: str, tooltip: str
) -> str:
    """A bar with a tooltip."""
    shape = format_attributes(x=x, y=y, width=width, height=height)
    return f'<rect class="{style}" {shape}><title>{escape(tooltip)}</title></rect>'


def draw_dot(x: float, y: float, radius: float, style: str, tooltip: str) -> str:
    """A marker with a tooltip."""
    shape = format_attributes(cx=x, cy=y, r=radius)
    return f'<circle class="{style}" {shape}><title>{escape(tooltip)}</title></circle>'


def draw_circle(x: float, y: float, radius: float, style: str) -> str:
    """A marker of one of many points, without a tooltip."""
    return f'<circle class="{style}" {format_attributes(cx=x, cy=y, r=radius)}/>'


def format_attributes(**values: float) -> str:
    """Coordinates as XML attributes, in the order of the arguments."""
    return " ".join(f'{name}="{format_coordinate(value)}"' for name, value in values.items())


def format_coordinate(value: float) -> str:
    """A coordinate with one decimal, never -0."""
    rounded = round(value, 1) + 0.0
    return f"{rounded:.1f}".removesuffix(".0")


def round_ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round values (1, 2 or 5 times a power of ten apart) within [low, high]."""
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def _share_of_range(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(1.0, max(0.0, (value - low) / (high - low)))
