"""What a person sees while a run goes on: one line per finished step, and a bar for the one that runs.

Without a terminal (a pipe, a CI log) there is no bar; a step that takes long then says where it is now and then.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from components.progress import ProgressEvent
from pipeline.run_state import STEP_NAMES

_WIDTH = max(len(step) for step in STEP_NAMES)
_QUIET_SECONDS = 15.0
_FIGURES = {
    "loss": "loss {:.3f}",
    "accuracy": "accuracy {:.3f}",
    "examples_per_second": "{:,.0f} examples/s",
}
_CLOSING = (
    "{train_rows:,} training, {validation_rows:,} validation and {test_rows:,} test rows",
    "{steps:,} steps, {examples_per_second:,.1f} examples/s",
    "accuracy {accuracy:.4f} on {test_rows:,} test rows",
    "{reason}",
    "version {version}",
)


class ProgressView:
    """Shows progress events as they come; a context manager, so that the bar is gone when the block ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._task: TaskID | None = None
        self._started = self._last_line = time.monotonic()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn(f"{{task.fields[step]:<{_WIDTH}}}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[message]}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> ProgressView:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, event: ProgressEvent) -> None:
        """Show one event; events that say nothing to a person are passed over."""
        step, kind = event.step, event.kind
        if kind == "started":
            self._started = self._last_line = time.monotonic()
            self._clear()
            self._task = self._bar.add_task("", step=step, message="starting", total=None)
        elif kind in ("finished", "reused", "error"):
            self._clear()
            self._line(step, kind, event)
        elif self._console.is_terminal and self._task is not None:
            self._bar.update(
                self._task,
                completed=event.done,
                total=event.total,
                message=describe(event),
            )
        elif event.message and time.monotonic() - self._last_line > _QUIET_SECONDS:
            self._line(step, "message", event)

    def _clear(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None

    def _line(self, step: str, kind: str, event: ProgressEvent) -> None:
        line = Text(f"{step:<{_WIDTH}}  ")
        if kind == "finished":
            line.append(f"{event.seconds or 0.0:7.1f} s  ", style="green").append(
                _closing(event.figures or {})
            )
        elif kind == "reused":
            line.append("   reused", style="cyan")
        elif kind == "error":
            line.append(f"{time.monotonic() - self._started:7.1f} s  failed", style="red")
        else:
            line.append(
                f"{time.monotonic() - self._started:7.1f} s  {describe(event)}", style="dim"
            )
        self._last_line = time.monotonic()
        self._console.print(line, soft_wrap=True)


def describe(event: ProgressEvent) -> str:
    """The message of a progress event in one line, with its figures while something is being worked through."""
    if not event.metrics.get("examples_per_second"):
        return event.message
    figures = [
        form.format(event.metrics[name])
        for name, form in _FIGURES.items()
        if isinstance(event.metrics.get(name), int | float)
    ]
    if isinstance(left := event.metrics.get("seconds_left"), int | float):
        figures.append(f"{duration(left)} left")
    return "  ".join([event.message, *figures]).strip()


def duration(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any: 1:05, 2:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _closing(figures: Mapping[str, Any]) -> str:
    for form in _CLOSING:
        with suppress(KeyError):
            return form.format_map(figures)
    return ""
