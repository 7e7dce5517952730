from __future__ import annotations

from functools import reduce
from pathlib import Path

from pipeline.run_state import RunState, StepFailure
from tests.support.progress_events import make_event


def fold_events(*events: dict) -> RunState:
    return reduce(RunState.apply, (make_event(**event) for event in events), RunState())


def test_steps_go_from_waiting_to_finished() -> None:
    outcome = fold_events(
        {"step": "tokenize", "kind": "reused", "outputs": {"shards": "/a/shards"}},
        {"step": "train", "kind": "started"},
        {"step": "train", "message": "epoch 1", "done": 1, "total": 2},
        {
            "step": "train",
            "kind": "finished",
            "seconds": 2.5,
            "outputs": {"checkpoint": "/a/checkpoint"},
        },
        {"step": "evaluate", "kind": "started"},
    )
    assert [step.status for step in outcome.steps.values()] == [
        "reused",
        "finished",
        "running",
        "waiting",
        "waiting",
    ]
    assert outcome.output_path("tokenize", "shards") == Path("/a/shards")
    assert outcome.steps["train"].seconds == 2.5
    assert (
        outcome.is_complete("tokenize"),
        outcome.is_complete("train"),
        outcome.is_complete("evaluate"),
    ) == (
        True,
        True,
        False,
    )


def test_the_first_failure_stays() -> None:
    first = {"step": "train", "kind": "error", "message": "a", "exit_code": 78}
    outcome = fold_events(
        first, {"step": "evaluate", "kind": "error", "message": "b", "exit_code": 1}
    )
    assert outcome.failure == StepFailure("train", "a", 78)
    assert outcome.steps["train"].status == "failed"


def test_progress_without_a_kind_changes_nothing() -> None:
    assert fold_events({"step": "train", "message": "epoch 1", "done": 1, "total": 2}) == RunState()
