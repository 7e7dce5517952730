"""The progress of a run: one line per finished step, and a progress bar for the running one.

Without a terminal (a pipe, a CI log) there is no bar; a long step prints a line every 15 seconds.
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

_STEP_WIDTH = max(len(step) for step in STEP_NAMES)
_MIN_SECONDS_BETWEEN_LINES = 15.0
_FIGURE_FORMATS = {
    "loss": "loss {:.3f}",
    "accuracy": "accuracy {:.3f}",
    "subset_accuracy": "subset accuracy {:.3f}",
    "examples_per_second": "{:,.0f} examples/s",
    "rows_per_second": "{:,.0f} rows/s",
}
_RATES = ("examples_per_second", "rows_per_second")
_SPLIT_SIZES = "{train_rows:,} training, {validation_rows:,} validation and {test_rows:,} test rows"
_RESULT_FORMATS = (
    _SPLIT_SIZES + "; {longer_texts:,} long texts, {lost_share:.1%} of all word pieces not read",
    _SPLIT_SIZES,
    "{steps:,} steps, {examples_per_second:,.1f} examples/s",
    "accuracy {accuracy:.4f} on {test_rows:,} test rows",
    "micro-F1 {micro_f1:.4f} on {test_rows:,} test rows",
    "RMSE {rmse:.6g} on {test_rows:,} test rows",
    "{reason}",
    "version {version}",
    "{result}",
)
"""The first one whose figures a finished step has is shown."""


class ProgressView:
    """Shows progress events; a context manager that removes the bars when its block ends.

    In a cross-validation, each fold has a bar.
    """

    def __init__(self, console: Console, folds: int = 0) -> None:
        self._console = console
        self._width = _STEP_WIDTH + (len(_label_fold(folds)) if folds else 0)
        self._tasks: dict[int | None, TaskID] = {}
        self._step_start: dict[int | None, float] = {}
        self._last_line: dict[int | None, float] = {}
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[step]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[message]}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> ProgressView:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Show the bar from now on."""
        self._bar.start()

    def stop(self) -> None:
        """Remove the bar; nothing happens if there is none."""
        self._bar.stop()

    def show(self, event: ProgressEvent) -> None:
        """Show one event; events without a message or a change of a step are ignored."""
        kind, fold = event.kind, event.fold
        step = f"{event.step:<{self._width}}"
        if fold is not None:
            label = _label_fold(fold)
            step = label + f"{event.step:<{max(_STEP_WIDTH, self._width - len(label))}}"
        if kind == "started":
            self._step_start[fold] = self._last_line[fold] = time.monotonic()
            self._clear_bar(fold)
            self._tasks[fold] = self._bar.add_task("", step=step, message="starting", total=None)
        elif kind in ("finished", "reused", "error"):
            self._clear_bar(fold)
            self._print_line(step, kind, event, fold)
        elif kind == "note":
            note = Text(f"{step}  note: {event.message}")
            self._console.print(note, soft_wrap=True)
        elif self._console.is_terminal and fold in self._tasks:
            self._bar.update(
                self._tasks[fold],
                completed=event.done,
                total=event.total,
                message=describe_progress(event),
            )
        elif event.message and self._find_seconds_since(self._last_line, fold) > (
            _MIN_SECONDS_BETWEEN_LINES
        ):
            self._print_line(step, "message", event, fold)

    def _clear_bar(self, fold: int | None) -> None:
        if (task := self._tasks.pop(fold, None)) is not None:
            self._bar.remove_task(task)

    def _find_seconds_since(self, times: dict[int | None, float], fold: int | None) -> float:
        now = time.monotonic()
        return now - times.setdefault(fold, now)

    def _print_line(self, step: str, kind: str, event: ProgressEvent, fold: int | None) -> None:
        elapsed = f"{self._find_seconds_since(self._step_start, fold):7.1f} s  "
        line = Text(f"{step}  ")
        if kind == "finished":
            line.append(f"{event.seconds or 0.0:7.1f} s  ", style="green")
            line.append(describe_result(event.figures or {}))
        elif kind == "reused":
            line.append("   reused", style="cyan")
        elif kind == "error":
            line.append(f"{elapsed}failed", style="red")
        else:
            line.append(f"{elapsed}{describe_progress(event)}", style="dim")
        self._last_line[fold] = time.monotonic()
        self._console.print(line, soft_wrap=True)


def _label_fold(fold: int) -> str:
    return f"fold {fold:<2} "


def describe_progress(event: ProgressEvent) -> str:
    """The message of a progress event, with its figures and time left while rows are processed."""
    if not any(event.metrics.get(name) for name in _RATES):
        return event.message
    parts = [event.message]
    for name, template in _FIGURE_FORMATS.items():
        if isinstance(event.metrics.get(name), int | float):
            parts.append(template.format(event.metrics[name]))
    if (left := _estimate_seconds_left(event)) is not None:
        parts.append(f"{format_duration(left)} left")
    return "  ".join(parts).strip()


def _estimate_seconds_left(event: ProgressEvent) -> float | None:
    if isinstance(left := event.metrics.get("seconds_left"), int | float):
        return left
    rate = event.metrics.get("rows_per_second")
    if not isinstance(rate, int | float) or rate <= 0 or event.total is None:
        return None
    return (event.total - (event.done or 0)) / rate


def format_duration(seconds: float) -> str:
    """Minutes and seconds, with hours from an hour on: 1:05, 2:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe_result(figures: Mapping[str, Any]) -> str:
    """The figures of a finished step in a few words; empty if they have none that is shown."""
    for template in _RESULT_FORMATS:
        with suppress(KeyError):
            return template.format_map(figures)
    return ""
