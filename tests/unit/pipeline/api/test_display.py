from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from components.progress import ProgressEvent, StepName
from pipeline.api.display import NotebookView, create_view, find_notebook_display, format_table
from pipeline.api.local_runs import FinishedRun

FIGURES = {
    "accuracy": 0.9,
    "accuracy_low": 0.85,
    "accuracy_high": 0.94,
    "majority_share": 0.3,
    "test_rows": 1200,
    "gate": {"passed": False, "reason": "Closed: <too low>"},
    "release": None,
    "step_seconds": {"tokenize": 1.26, "train": 0.0},
    "report": "/r/report.html",
}


def test_a_run_looks_like_its_figures_and_is_escaped() -> None:
    shown = FinishedRun(FIGURES)._repr_html_()
    assert "0.9000 (95% interval 0.8500 to 0.9400, 1,200 test rows)" in shown
    assert "Closed: &lt;too low&gt;" in shown
    assert "nothing released" in shown
    assert "tokenize 1.3, train 0.0" in shown


def test_names_and_values_are_escaped() -> None:
    assert "&lt;a&gt;" in format_table({"<a>": "<b>"})
    assert "<b>" not in format_table({"<a>": "<b>"})


def test_a_notebook_shows_one_table_that_changes() -> None:
    shown: list[str] = []
    calls: list[Any] = []

    def display(value: Any, display_id: bool) -> Any:
        calls.append(display_id)
        return SimpleNamespace(update=lambda each: shown.append(each._repr_html_()))

    view = NotebookView(display)
    view.show(ProgressEvent(StepName.TOKENIZE, kind="started"))
    view.show(ProgressEvent(StepName.TOKENIZE, "reading", done=50, total=200))
    view.show(ProgressEvent(StepName.TOKENIZE, kind="finished", seconds=2.5))
    assert calls == [True]
    assert "running</td>" in shown[0]
    assert "running  reading (25%)</td>" in shown[1]
    assert "finished, 2.5 s" in shown[2]
    assert shown[2].count("waiting</td>") == 4


def test_a_function_of_the_caller_receives_the_events() -> None:
    seen: list[ProgressEvent] = []
    with create_view(seen.append) as show:
        show(ProgressEvent(StepName.GATE, "x"))
    assert [event.message for event in seen] == ["x"]


@pytest.mark.parametrize(
    ("shell", "is_notebook"),
    [
        pytest.param(None, False, id="no-shell"),
        pytest.param(SimpleNamespace(config={}), False, id="terminal"),
        pytest.param(SimpleNamespace(config={"IPKernelApp": {}}), True, id="kernel"),
    ],
)
def test_only_a_notebooks_kernel_displays(
    monkeypatch: pytest.MonkeyPatch, shell: Any, is_notebook: bool
) -> None:
    display = SimpleNamespace(display=lambda value: None)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    assert find_notebook_display() is (display.display if is_notebook else None)
