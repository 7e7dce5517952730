"""Progress events: what is written is parsed to the same, and other lines are not events."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.config.environment import ENV_PROGRESS
from components.progress import (
    ProgressEvent,
    ProgressFile,
    StepName,
    parse_progress_event,
    report,
    write_progress_event,
)


@pytest.fixture
def progress_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv(ENV_PROGRESS, str(path))
    return path


def test_report_writes_one_json_object_without_empty_fields(progress_file: Path) -> None:
    report(StepName.TRAIN, "epoch 1 of 2", done=3, total=9, loss=0.5)
    report(StepName.GATE)
    first, second = (json.loads(line) for line in progress_file.read_text().splitlines())
    assert first.pop("time") > 0 and second.pop("time") > 0
    assert list(first.items()) == [
        ("step", "train"),
        ("message", "epoch 1 of 2"),
        ("done", 3),
        ("total", 9),
        ("loss", 0.5),
    ]
    assert second == {"step": "gate"}


@pytest.mark.parametrize(
    "event",
    [
        ProgressEvent(StepName.TRAIN, "epoch 1", done=1, total=2.5, metrics={"loss": 0.5}),
        ProgressEvent(StepName.TOKENIZE, kind="started"),
        ProgressEvent(StepName.EVALUATE, "row 3", kind="error", exit_code=65),
        ProgressEvent(
            StepName.EXPORT,
            kind="finished",
            seconds=1.5,
            outputs={"release": "/r"},
            figures={"version": 3},
        ),
        ProgressEvent(StepName.GATE, kind="finished", seconds=0.0, outputs={}, figures={}),
    ],
)
def test_a_written_event_is_parsed_to_the_same(event: ProgressEvent) -> None:
    assert parse_progress_event(event.to_json()) == event
    assert parse_progress_event(event.to_json().encode() + b"\n") == event


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[1]",
        "{not JSON",
        '{"no": "step"}',
        '{"step": 3}',
        '{"step": "other"}',
        '{"step": "train", "kind": "odd"}',
        '{"step": "train", "kind": []}',
        '{"step": "train", "message": 1}',
        '{"step": "train", "done": "1"}',
        '{"step": "train", "time": true}',
        '{"step": "train", "outputs": []}',
        "Traceback (most recent call last):",
        ' {"step": "train"}',
    ],
)
def test_other_lines_are_not_events(line: str) -> None:
    assert parse_progress_event(line) is None
    assert parse_progress_event(line.encode()) is None


def test_a_forwarded_event_gets_the_current_time(progress_file: Path) -> None:
    write_progress_event(ProgressEvent(StepName.TRAIN, "epoch 1", time=1.0))
    event = parse_progress_event(progress_file.read_text())
    assert event is not None and event.message == "epoch 1" and event.time > 1e9


def test_a_progress_file_that_cannot_be_written_stops_no_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ENV_PROGRESS, str(tmp_path / "missing" / "progress.jsonl"))
    report(StepName.TRAIN, "going on")


def test_without_a_file_events_go_to_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(ENV_PROGRESS, raising=False)
    report(StepName.EXPORT, "publishing")
    event = parse_progress_event(capsys.readouterr().out)
    assert event is not None and event.step == "export"


def test_each_complete_line_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = ProgressFile(path)
    assert list(events.read_new_events()) == []
    path.write_bytes(b'{"step": "train"}\nnot json\n[1]\n{"step": "other"}\n{"step": "eva')
    assert list(events.read_new_events()) == [ProgressEvent(StepName.TRAIN)]
    with path.open("ab") as stream:
        stream.write(b'luate"}\n')
    assert list(events.read_new_events()) == [ProgressEvent(StepName.EVALUATE)]
    assert list(events.read_new_events()) == []
