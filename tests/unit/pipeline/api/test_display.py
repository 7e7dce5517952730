from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.errors import UsageError
from components.progress import ProgressEvent, StepName
from pipeline.api.display import (
    NotebookView,
    create_view,
    find_notebook_display,
    format_path,
    format_table,
)
from pipeline.api.local_runs import FinishedRun, Report

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


@pytest.mark.parametrize(("kind", "metric"), [("multi_label", "micro_f1"), ("regression", "rmse")])
def test_the_accuracy_of_another_kind_of_model_names_the_figure_to_use(
    kind: str, metric: str
) -> None:
    assert FinishedRun(FIGURES).accuracy == 0.9
    with pytest.raises(UsageError, match=rf"task.kind={kind} has none; .*figures\['{metric}'\]"):
        print(FinishedRun({"task": kind, metric: 0.5}).accuracy)


@pytest.mark.parametrize(
    ("figures", "shown", "metric"),
    [
        (
            {"micro_f1": 0.8, "micro_f1_low": 0.7, "micro_f1_high": 0.9, "baseline_micro_f1": 0.4},
            ("micro-F1", "0.8000 (95% interval 0.7000 to 0.9000, 9 test rows)", "same labels"),
            "micro-F1 0.8000",
        ),
        (
            {"rmse": 12.5, "baseline_rmse": 20.0},
            ("RMSE", "12.5000 (9 test rows)", "always the mean"),
            "RMSE 12.5000",
        ),
        (
            {"rmse": 3.2e-6, "rmse_low": 3e-6, "rmse_high": 4e-6, "baseline_rmse": 234567.8},
            ("3.2e-06 (95% interval 3e-06 to 4e-06, 9 test rows)", "234568"),
            "RMSE 3.2e-06",
        ),
        (
            {"micro_f1": None, "baseline_micro_f1": None},
            ("undefined (9 test rows)",),
            "micro-F1 undefined",
        ),
    ],
    ids=["multi_label", "regression", "numbers-of-other-sizes", "no-labels"],
)
def test_a_run_of_another_task_shows_its_own_metric(
    figures: dict[str, float | None], shown: tuple[str, ...], metric: str
) -> None:
    names = ("gate", "release", "step_seconds", "report")
    run = FinishedRun({**{name: FIGURES[name] for name in names}, **figures, "test_rows": 9})
    page = run._repr_html_()
    assert all(words in page for words in shown) and "accuracy" not in page
    assert repr(run) == f"<FinishedRun {metric}, nothing released>"


def test_names_and_values_are_escaped() -> None:
    assert "&lt;a&gt;" in format_table({"<a>": "<b>"})
    assert "<b>" not in format_table({"<a>": "<b>"})


class Notebook:
    """A notebook's display, which keeps what it shows, and a clock that a test moves."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.display_ids: list[bool] = []
        self.seconds = 0.0

    def display(self, value: Any, display_id: bool) -> Any:
        self.display_ids.append(display_id)
        self.shown.append(value._repr_html_())
        return SimpleNamespace(update=lambda each: self.shown.append(each._repr_html_()))


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def view(notebook: Notebook) -> NotebookView:
    return NotebookView(notebook.display, lambda: notebook.seconds)


def test_a_notebook_shows_one_table_that_changes(notebook: Notebook, view: NotebookView) -> None:
    view.show(ProgressEvent(StepName.TOKENIZE, kind="started"))
    assert "running</td>" in notebook.shown[-1]
    notebook.seconds = 1.0
    view.show(ProgressEvent(StepName.TOKENIZE, "reading", done=50, total=200))
    assert "running 25%  reading</td>" in notebook.shown[-1]
    counts = {"train_rows": 5, "validation_rows": 1, "test_rows": 2}
    view.show(ProgressEvent(StepName.TOKENIZE, kind="finished", seconds=2.5, figures=counts))
    text = "finished, 2.5 s  5 training, 1 validation and 2 test rows"
    assert text in notebook.shown[-1]
    assert notebook.shown[-1].count("waiting</td>") == 4
    assert repr(view).splitlines()[0] == f"tokenize  {text}"
    assert notebook.display_ids == [True]


def test_progress_is_shown_four_times_a_second_and_the_end_of_a_step_at_once(
    notebook: Notebook, view: NotebookView
) -> None:
    for number in range(1, 101):
        notebook.seconds = number / 100
        view.show(ProgressEvent(StepName.TRAIN, "epoch 1", done=number, total=100))
    assert len(notebook.shown) <= 1 + 4
    view.show(ProgressEvent(StepName.TRAIN, kind="finished", seconds=1.0))
    assert "finished, 1.0 s" in notebook.shown[-1]


def test_notes_stay_below_the_table(notebook: Notebook, view: NotebookView) -> None:
    view.show(ProgressEvent(StepName.TOKENIZE, "a class <b> is rare", kind="note"))
    view.show(ProgressEvent(StepName.TOKENIZE, kind="finished", seconds=1.0))
    assert "<li>tokenize: a class &lt;b&gt; is rare</li>" in notebook.shown[-1]
    assert repr(view).endswith("note: tokenize: a class <b> is rare")


def test_the_error_of_a_failed_step_is_shown(notebook: Notebook, view: NotebookView) -> None:
    view.show(ProgressEvent(StepName.TRAIN, "the loss is NaN", kind="error"))
    assert "failed  the loss is NaN</td>" in notebook.shown[-1]


def test_paths_below_the_current_directory_are_relative(tmp_path: Path) -> None:
    assert format_path(Path.cwd() / ".kubert" / "models") == ".kubert/models"
    assert format_path(tmp_path / "models") == str(tmp_path / "models")
    assert format_path("gs://bucket/models") == "gs://bucket/models"


def test_values_are_one_line_where_there_is_no_page(tmp_path: Path) -> None:
    run = FinishedRun({**FIGURES, "release": str(Path.cwd() / "models" / "news" / "1")})
    assert repr(run) == "<FinishedRun accuracy 0.9000, models/news/1>"
    assert repr(FinishedRun(FIGURES)) == "<FinishedRun accuracy 0.9000, nothing released>"
    assert repr(Report(tmp_path / "report.html")) == f"<Report {tmp_path / 'report.html'}>"


def test_a_report_is_shown_in_a_frame_of_its_own_without_scripts(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text('<p title="a">1 &lt; 2</p><script>alert(1)</script>', encoding="utf-8")
    shown = Report(page)._repr_html_()
    assert shown.startswith("<iframe ") and " sandbox " in shown
    assert "<script" not in shown and "&lt;p title=&quot;a&quot;&gt;1 &amp;lt; 2" in shown


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
