"""How figures are written for people: no digit that means nothing, and never "100%" for what is not all."""

from __future__ import annotations

ABSENT = "–"  # noqa: RUF001 - an en dash, as tables of figures use it


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal; what would round to all or nothing without being it says so."""
    if value is None:
        return ABSENT
    written = f"{value:.1%}"
    if written == "100.0%" and value < 1:
        return ">99.9%"
    if written == "0.0%" and value > 0:
        return "<0.1%"
    return f"{value:.0%}" if value in (0, 1) else written


def decimal(value: float | None, digits: int = 3) -> str:
    """A figure with a fixed number of decimals; one below 1 is never written as 1."""
    if value is None:
        return ABSENT
    written = f"{value:.{digits}f}"
    if value < 1 and written == f"{1:.{digits}f}":
        return f">0.{'9' * digits}"
    return written


def count(value: float) -> str:
    """A whole number with thousands separated."""
    return f"{round(value):,}"


def short(value: float) -> str:
    """A tick's number without trailing zeros."""
    return f"{value:,.10f}".rstrip("0").rstrip(".")


def duration(seconds: float) -> str:
    """Seconds in the two largest units that matter, such as 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours:,} h {minutes_left:02d} min" if hours else f"{minutes} min {rest:02d} s"


def rate(value: float) -> str:
    """A learning rate in its shortest form, such as 5e-05 or 0.001."""
    return f"{value:.3g}"
