"""Numbers as text: no insignificant digits, and never "100%" for less than all."""

from __future__ import annotations

import math

ABSENT = "–"  # noqa: RUF001 - an en dash, as tables of numbers use it


def format_percent(value: float | None) -> str:
    """A share with one decimal; "<0.1%" and ">99.9%" for what would round to none or all."""
    if value is None:
        return ABSENT
    text = f"{value:.1%}"
    if text == "100.0%" and value < 1:
        return ">99.9%"
    if text == "0.0%" and value > 0:
        return "<0.1%"
    return f"{value:.0%}" if value in (0, 1) else text


def format_decimal(value: float | None, digits: int = 3) -> str:
    """A number with fixed decimals; a value below 1 is never shown as 1."""
    if value is None:
        return ABSENT
    text = f"{value:.{digits}f}"
    if value < 1 and text == f"{1:.{digits}f}":
        return f">0.{'9' * digits}"
    return text


def format_count(value: float) -> str:
    """An integer with thousands separators."""
    return f"{round(value):,}"


def format_tick(value: float) -> str:
    """A tick label without trailing zeros."""
    return f"{value:,.10f}".rstrip("0").rstrip(".")


def format_duration(seconds: float) -> str:
    """Seconds in their two largest units, such as 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours:,} h {minutes_left:02d} min" if hours else f"{minutes} min {rest:02d} s"


def format_rate(value: float) -> str:
    """A learning rate in its shortest form, such as 5e-05 or 0.001."""
    return f"{value:.3g}"


def format_number(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits; very large and small ones in powers of ten."""
    if value is None:
        return ABSENT
    if value == round(value) and abs(value) < 1e9:
        return f"{round(value):,}"
    exponent = math.floor(math.log10(abs(value)))
    if not -4 <= exponent < 9:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def format_axis(value: float) -> str:
    """A tick label of numbers of any size: 1,500, 2.5 and 2e-07."""
    size = abs(value)
    return format_tick(value) if size == 0 or 1e-4 <= size < 1e7 else f"{value:.4g}"
