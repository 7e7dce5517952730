"""Formats a worker group's failure: what failed, the remedy, the last lines, and the events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MAX_LINE_LENGTH = 200
MAX_LAST_LINES = 12
MAX_EVENTS = 8


def format_failure(
    message: str,
    *,
    remedy: str = "",
    worker: str = "",
    last_lines: Sequence[str] = (),
    events: Sequence[str] = (),
    command: str = "",
) -> str:
    """Return the sections that are not empty, so short that they fit on one screen.

    `last_lines` are those of `worker`; `command` shows more.
    """
    sections = [message]
    if remedy:
        sections.append(f"what to do: {remedy}")
    if last_lines:
        sections += [f"last lines of {worker}:", *_indent_lines(last_lines[-MAX_LAST_LINES:])]
    if events:
        sections += ["events:", *_indent_lines(events[-MAX_EVENTS:])]
    if command:
        sections.append(f"more: {command}")
    return "\n".join(_shorten_line(line) for section in sections for line in section.splitlines())


def _indent_lines(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _shorten_line(line: str) -> str:
    return line if len(line) <= MAX_LINE_LENGTH else f"{line[: MAX_LINE_LENGTH - 3]}..."
