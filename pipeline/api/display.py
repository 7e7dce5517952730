"""How values of the API look in a notebook, and progress in a notebook or a terminal."""

from __future__ import annotations

import html
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from components.progress import ProgressEvent
from pipeline.run_state import RunState

ShowEvent = Callable[[ProgressEvent], None]
_CELL = "text-align: left; padding: 2px 16px 2px 0; vertical-align: top"


def format_table(values: Mapping[str, object]) -> str:
    """Names and values as an HTML table."""
    rows = "".join(
        f'<tr><th scope="row" style="{_CELL}">{html.escape(name)}</th>'
        f'<td style="{_CELL}">{html.escape(str(value))}</td></tr>'
        for name, value in values.items()
    )
    return f"<table>{rows}</table>"


@contextmanager
def create_view(show: ShowEvent | None) -> Iterator[ShowEvent]:
    """What shows progress events while the block runs: `show`, the notebook, or the terminal."""
    if show is not None:
        yield show
    elif (display := find_notebook_display()) is not None:
        yield NotebookView(display).show
    else:
        from rich.console import Console

        from pipeline.progress_bar import ProgressView

        with ProgressView(Console(stderr=True, highlight=False)) as view:
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
    """Shows the steps of a run as one table that changes in its place.

    `display` is IPython's: `display(value, display_id=True)` gives a handle with `update`.
    """

    def __init__(self, display: Callable[..., Any]) -> None:
        self._state = RunState()
        self._messages: dict[str, str] = {}
        self._handle = display(self, display_id=True)

    def show(self, event: ProgressEvent) -> None:
        """Show one event."""
        self._state = self._state.apply(event)
        if event.message:
            share = f" ({event.done / event.total:.0%})" if event.done and event.total else ""
            self._messages[event.step] = f"{event.message}{share}"
        self._handle.update(self)

    def _repr_html_(self) -> str:
        rows = {}
        for step in self._state.steps.values():
            seconds = f", {step.seconds:.1f} s" if step.status == "finished" else ""
            message = self._messages.get(step.name, "") if step.status != "waiting" else ""
            rows[step.name] = f"{step.status}{seconds}  {message}".strip()
        return format_table(rows)
