"""What people and programs read at the end of `kubert run`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pipeline.cli.run_summary import RunSummary, choose_example_text
from pipeline.local.runner import LocalRun
from pipeline.run_state import RunState, StepState
from tests.support.releases.made_report import report_content

LABELS = np.repeat(np.array([0, 1, 2], np.int32), [180, 40, 20])


def make_summary(source: str = "sample", **report: Any) -> RunSummary:
    """The summary of a run that released a model; `report` goes to `report_content`."""
    steps = {
        "evaluate": StepState("evaluate", "finished", outputs={"report": "/work/report"}),
        "gate": StepState("gate", "finished", figures={"passed": True, "reason": "Passed."}),
        "export": StepState("export", "finished", figures={"release": "/models/x/1", "version": 1}),
    }
    return RunSummary(
        run=LocalRun(Path("/work"), Path("/work/runs/a")),
        run_state=RunState({**RunState().steps, **steps}),
        report=report_content(**report),
        rows={"train": 3, "validation": 1, "test": 1},
        train_examples_per_second=1.0,
        example_text=choose_example_text(source),
    )


def print_summary(summary: RunSummary, width: int = 80) -> str:
    stream = io.StringIO()
    summary.print(Console(file=stream, width=width))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        pytest.param("sample", "Shares of the chip maker fell after it cut", id="sample"),
        pytest.param("/data/reviews.csv", "a text of your own", id="own-data"),
    ],
)
def test_the_suggested_text_belongs_to_the_data(source: str, text: str) -> None:
    last_line = print_summary(make_summary(source)).splitlines()[-1]
    assert last_line.startswith("Try it: ")
    assert f'predict /models/x/1 "{text}' in last_line


def test_programs_read_the_majority_class_beside_the_accuracy() -> None:
    printed = make_summary(labels=LABELS).to_dict()
    assert (printed["majority_class"], printed["majority_share"]) == ("calm", 0.75)
    assert list(printed)[:5] == [
        "accuracy", "accuracy_low", "accuracy_high", "majority_class", "majority_share",
    ]  # fmt: skip


def test_people_read_the_majority_class_beside_the_accuracy() -> None:
    printed = print_summary(make_summary(labels=LABELS), width=200)
    (line,) = [line for line in printed.splitlines() if "accuracy" in line]
    assert " on 240 test rows, 95% interval " in line
    assert line.strip().endswith('; always predicting "calm" reaches 0.7500')
