"""What people and programs read at the end of `kubert run`."""

from __future__ import annotations

import dataclasses
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from components.artifacts.predictions import PredictionsWriter, read_first_texts
from components.artifacts.report import Abstention, AnsweredRows
from pipeline.cli.run_summary import choose_example_text, print_summary
from pipeline.local.run_summary import RunSummary
from pipeline.local.runner import LocalRun
from pipeline.run_state import RunState, StepState, StepStatus
from tests.support.releases.made_report import report_content

LABELS = np.repeat(np.array([0, 1, 2], np.int32), [180, 40, 20])


def make_summary(**report: Any) -> RunSummary:
    """The summary of a run that released a model; `report` goes to `report_content`."""
    steps = {
        "evaluate": StepState("evaluate", "finished", outputs={"report": "/srv/report"}),
        "gate": StepState("gate", "finished", figures={"passed": True, "reason": "Passed."}),
        "export": StepState("export", "finished", figures={"release": "/models/x/1", "version": 1}),
    }
    return RunSummary(
        run=LocalRun(Path("/srv"), Path("/srv/runs/a")),
        run_state=RunState({**RunState().steps, **steps}),
        report=report_content(**report),
        rows={"train": 3, "validation": 1, "test": 1},
        train_examples_per_second=1.0,
    )


def read_printed(
    summary: RunSummary, source: str | tuple[str, ...] = "sample", texts: Sequence[str] = ()
) -> str:
    stream = io.StringIO()
    print_summary(summary, Console(file=stream, width=200), choose_example_text(source, texts))
    return stream.getvalue()


LONG = "a parcel that has not arrived " * 9


@pytest.mark.parametrize(
    ("source", "texts", "text"),
    [
        pytest.param(
            "sample",
            ["another"],
            "Shares of the chip maker fell after it cut its forecast",
            id="sample",
        ),
        pytest.param("/data/reviews.csv", [], "a text of your own", id="report-without-texts"),
        pytest.param(
            "/data/a.csv", [LONG, 'It\'s $HOME\nor "!"'], 'It\'s $HOME or "!"', id="short"
        ),
        pytest.param("/data/a.csv", [LONG], LONG[:77].rstrip(), id="long-is-cut-after-a-word"),
        pytest.param("/data/a.csv", ["x" * 500], "x" * 80, id="one-long-word"),
        pytest.param(
            ("/a.csv", "/b.csv"),
            ["--json", "-", __file__, "\x1b[31mred", "", "fine"],
            "fine",
            id="options-files-and-control-characters",
        ),
    ],
)
def test_the_suggested_text_belongs_to_the_data(
    source: str | tuple[str, ...], texts: list[str], text: str
) -> None:
    last_line = read_printed(make_summary(), source, texts).splitlines()[-1]
    words = shlex.split(last_line.partition("Try it: ")[2])
    assert words[1:] == ["predict", "/models/x/1", text]
    assert len(text) <= 80


@pytest.mark.parametrize("texts", [["first", "second", "third"], None], ids=["texts", "no-texts"])
def test_the_texts_are_those_of_the_first_test_rows(
    texts: list[str] | None, tmp_path: Path
) -> None:
    scores = np.full((3, 2), 0.5, np.float32)
    with PredictionsWriter(tmp_path) as predictions:
        predictions.add(np.zeros(3, np.int32), scores, texts)
    assert read_first_texts(tmp_path, 2) == (texts or [])[:2]


def test_programs_read_the_majority_class_beside_the_accuracy() -> None:
    printed = make_summary(labels=LABELS).to_dict()
    assert (printed["majority_class"], printed["majority_share"]) == ("calm", 0.75)
    assert list(printed)[:5] == [
        "accuracy", "accuracy_low", "accuracy_high", "majority_class", "majority_share",
    ]  # fmt: skip


def make_confident_summary(status: StepStatus) -> RunSummary:
    """That of a run with a threshold of 0 for a precision; `status` is that of the evaluation."""
    summary = make_summary()
    rows = AnsweredRows(threshold=0, rows=50, answered=50, correct=50)
    test = AnsweredRows(threshold=0, rows=200, answered=200, correct=196)
    found = Abstention(threshold=0, precision=0.99, validation=rows, test=test, curve=(test,))
    steps = summary.run_state.steps
    state = RunState({**steps, "evaluate": dataclasses.replace(steps["evaluate"], status=status)})
    report = summary.report.model_copy(update={"abstention": found})
    return dataclasses.replace(summary, report=report, run_state=state)


def test_programs_read_the_threshold_and_what_it_leaves() -> None:
    printed = make_confident_summary("finished").to_dict()
    assert printed["confident_answers"] == {"threshold": 0, "coverage": 1, "precision": 0.98}
    assert printed["notes"] == [
        "All 50 validation rows are right: the threshold is 0 and every answer is confident; "
        "0.9800 of the test rows are right."
    ]
    assert make_summary().to_dict()["confident_answers"] is None


@pytest.mark.parametrize(("status", "shown"), [("reused", 1), ("finished", 0)])
def test_notes_of_a_reused_evaluation_are_shown_again(status: StepStatus, shown: int) -> None:
    printed = read_printed(make_confident_summary(status))
    assert printed.count("note: All 50 validation rows are right") == shown


def test_people_read_the_majority_class_beside_the_accuracy() -> None:
    printed = read_printed(make_summary(labels=LABELS))
    (line,) = [line for line in printed.splitlines() if "accuracy" in line]
    assert " on 240 test rows, 95% interval " in line
    assert line.strip().endswith('; always predicting "calm" reaches 0.7500')
