from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

from components.progress import ProgressEvent, StepName
from pipeline.progress_bar import ProgressView, describe_progress, format_duration
from tests.support.progress_events import make_event

METRICS = {"loss": 0.5, "accuracy": 0.75, "examples_per_second": 120.0, "seconds_left": 65.0}
TRAIN_FIGURES = {"steps": 1200, "examples_per_second": 31.25}
GATE_FIGURES = {"passed": False, "reason": "accuracy 0.5 < 0.9 [bold]"}
EVENTS: list[dict[str, Any]] = [
    {"step": "tokenize", "kind": "reused", "outputs": {}},
    {"step": "train", "kind": "started"},
    {"step": "train", "message": "epoch 1 of 2", "done": 5, "total": 10, **METRICS},
    {"step": "train", "kind": "finished", "seconds": 12.34, "figures": TRAIN_FIGURES},
    {"step": "gate", "kind": "started"},
    {"step": "gate", "kind": "finished", "seconds": 0.5, "figures": GATE_FIGURES},
]


def render_progress(terminal: bool) -> str:
    stream = io.StringIO()
    with ProgressView(
        Console(file=stream, force_terminal=terminal, width=120, highlight=False)
    ) as view:
        for event in EVENTS:
            view.show(make_event(**event))
            time.sleep(0.15 if terminal else 0)  # the bar is drawn ten times a second
    return stream.getvalue()


def test_without_a_terminal_there_is_one_plain_line_per_step() -> None:
    assert [line.rstrip() for line in render_progress(terminal=False).splitlines()] == [
        "tokenize     reused",
        "train        12.3 s  1,200 steps, 31.2 examples/s",
        "gate          0.5 s  accuracy 0.5 < 0.9 [bold]",
    ]


def test_a_long_note_is_one_line_which_can_be_searched_for() -> None:
    stream = io.StringIO()
    with ProgressView(Console(file=stream, width=80, highlight=False)) as view:
        view.show(make_event(step="train", kind="note", message="GPUs not used: " + "x " * 60))
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("train     note: GPUs not used: x x ")


def test_on_a_terminal_a_bar_shows_the_figures() -> None:
    assert "epoch 1 of 2  loss 0.500  accuracy 0.750  120 examples/s  1:05 left" in render_progress(
        terminal=True
    )


def test_figures_that_are_missing_are_left_out() -> None:
    assert describe_progress(ProgressEvent(StepName.TRAIN, "reading", done=3)) == "reading"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:00"), (65, "1:05"), (3600, "1:00:00"), (7325.6, "2:02:06")]
)
def test_durations_are_minutes_and_seconds_with_hours_where_needed(
    seconds: float, text: str
) -> None:
    assert format_duration(seconds) == text
