"""How values of the API look in a notebook, and progress in a notebook or a terminal."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.progress import ProgressEvent
from pipeline.api.arguments import check_function
from pipeline.cross_validation.task_names import find_event_task, list_fold_tasks
from pipeline.run_state import RunState

ShowEvent = Callable[[ProgressEvent], None]
_CELL = "text-align: left; padding: 2px 16px 2px 0; vertical-align: top"
_SECONDS_BETWEEN_UPDATES = 0.25
"""A notebook keeps and sends the whole table with each update."""


def format_table(values: Mapping[str, object]) -> str:
    """Names and values as an HTML table."""
    rows = "".join(
        f'<tr><th scope="row" style="{_CELL}">{html.escape(name)}</th>'
        f'<td style="{_CELL}">{html.escape(str(value))}</td></tr>'
        for name, value in values.items()
    )
    return f"<table>{rows}</table>"


def format_path(location: str | Path) -> str:
    """A path below the current directory without that directory; any other location as it is."""
    try:
        return str(Path(location).relative_to(Path.cwd()))
    except ValueError:
        return str(location)


@contextmanager
def create_view(show: ShowEvent | None, folds: int = 0) -> Iterator[ShowEvent]:
    """What shows progress events while the block runs: `show`, the notebook, or the terminal.

    `folds`: the number of folds of a cross-validation.

    UsageError if `show` is no function.
    """
    check_function("show", show)
    if show is not None:
        yield show
    elif (display := find_notebook_display()) is not None:
        yield NotebookView(display, folds=folds).show
    else:
        from rich.console import Console

        from pipeline.progress_bar import ProgressView

        with ProgressView(Console(stderr=True, highlight=False), folds) as view:
            yield view.show


def find_notebook_display() -> Callable[..., Any] | None:
    """IPython's `display` in a notebook's kernel; None elsewhere.

    Only a loaded IPython is asked: kubert does not depend on it.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or "IPKernelApp" not in shell.config:
        return None
    from importlib import import_module

    display: Callable[..., Any] = import_module("IPython.display").display
    return display


class NotebookView:
    """Shows the steps of a run as one table that changes in its place, and notes below it.

    `display` is IPython's: `display(value, display_id=True)` gives a handle with `update`. Progress
    within a step is shown four times a second at most.
    """

    def __init__(
        self,
        display: Callable[..., Any],
        clock: Callable[[], float] = time.monotonic,
        folds: int = 0,
    ) -> None:
        self._state = RunState.of_steps(list_fold_tasks(folds)) if folds else RunState()
        self._texts: dict[str, str] = {}
        self._shares: dict[str, float] = {}
        self._notes: list[str] = []
        self._clock, self._shown_at = clock, clock()
        self._handle = display(self, display_id=True)

    def show(self, event: ProgressEvent) -> None:
        """Show one event."""
        from pipeline.progress_bar import describe_progress, describe_result

        self._state, task = self._state.apply(event), find_event_task(event)
        if event.kind == "note":
            self._notes.append(f"{task}: {event.message}")
        elif event.kind is None:
            self._texts[task] = describe_progress(event)
            if event.done is not None and event.total:
                self._shares[task] = event.done / event.total
        else:
            self._texts[task] = describe_result(event.figures or {}) or event.message
            self._shares.pop(task, None)
        if event.kind or self._clock() - self._shown_at >= _SECONDS_BETWEEN_UPDATES:
            self._shown_at = self._clock()
            self._handle.update(self)

    def __repr__(self) -> str:
        rows = [f"{name:<10}{text}".rstrip() for name, text in self._describe_steps().items()]
        return "\n".join([*rows, *(f"note: {note}" for note in self._notes)])

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self._notes)
        return format_table(self._describe_steps()) + (f"<ul>{notes}</ul>" if notes else "")

    def _describe_steps(self) -> dict[str, str]:
        rows = {}
        for step in self._state.steps.values():
            seconds = f", {step.seconds:.1f} s" if step.status == "finished" else ""
            share = self._shares.get(step.name)
            percent = "" if share is None else f" {share:.0%}"
            text = self._texts.get(step.name, "")
            rows[str(step.name)] = f"{step.status}{seconds}{percent}  {text}".strip()
        return rows
