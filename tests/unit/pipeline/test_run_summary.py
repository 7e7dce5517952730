"""What a person reads at the end of `kubert run`."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.cli.run_summary import RunSummary, choose_example_text
from pipeline.local.runner import LocalRun
from pipeline.run_state import RunState, StepState
from tests.support.releases.made_report import report_content


def print_summary(source: str) -> str:
    steps = {
        "evaluate": StepState("evaluate", "finished", outputs={"report": "/work/report"}),
        "gate": StepState("gate", "finished", figures={"passed": True, "reason": "Passed."}),
        "export": StepState("export", "finished", figures={"release": "/models/x/1", "version": 1}),
    }
    summary = RunSummary(
        run=LocalRun(Path("/work"), Path("/work/runs/a")),
        run_state=RunState({**RunState().steps, **steps}),
        report=report_content(),
        rows={"train": 3, "validation": 1, "test": 1},
        train_examples_per_second=1.0,
        example_text=choose_example_text(source),
    )
    stream = io.StringIO()
    summary.print(Console(file=stream, width=80))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        pytest.param("sample", "Shares of the chip maker fell after it cut", id="sample"),
        pytest.param("/data/reviews.csv", "a text of your own", id="own-data"),
    ],
)
def test_the_suggested_text_belongs_to_the_data(source: str, text: str) -> None:
    last_line = print_summary(source).splitlines()[-1]
    assert last_line.startswith("Try it: ")
    assert f'predict /models/x/1 "{text}' in last_line
