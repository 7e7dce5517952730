from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from components.workers.kubernetes.client import JobSetClient
from components.workers.kubernetes.log_follower import LogFollower
from components.workers.kubernetes.status import WorkerPod
from components.workers.log_lines import unwrap_log_line
from tests.support.training import local_training

PROGRESS = (
    '{"time": 1.0, "step": "train", "message": "epoch 1 of 2", "done": 3, "total": 9, "loss": 0.5}'
)


class CutLog:
    """A pod's log over connections that end early; each repeats earlier lines."""

    def __init__(self, *connections: list[str]) -> None:
        self.connections = list(connections)
        self.asked: list[int | None] = []

    def stream_log(self, pod: str, since_seconds: int | None) -> Iterator[str]:
        self.asked.append(since_seconds)
        yield from self.connections.pop(0) if self.connections else []


def chief(*, started: bool = True) -> WorkerPod:
    return WorkerPod(
        uid="1",
        name="x-worker-0-0-abcde",
        rank=0,
        attempt=0,
        phase="Running" if started else "Pending",
        has_started=started,
    )


def test_the_chief_s_progress_is_the_launcher_s_and_no_line_comes_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.workers.kubernetes.log_follower.RECONNECT_SECONDS", 0.01)
    monkeypatch.setenv("KUBERT_PROGRESS", str(tmp_path / "progress.jsonl"))
    first = [
        f"2026-11-24T15:00:0{second}.123456789Z {text}"
        for second, text in enumerate(["a warning", PROGRESS])
    ]
    again = [*first, "2026-11-24T15:00:02.000000001Z the end"]
    server = CutLog(first, again)
    log = LogFollower(cast(JobSetClient, server))
    log.follow([chief()])
    log.follow([chief()])
    log.drain()
    (event,) = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert (event["message"], event["done"], event["total"], event["loss"]) == (
        "epoch 1 of 2",
        3,
        9,
        0.5,
    )
    assert log.last_lines(chief()) == ["a warning", "the end"]
    assert server.asked[0] is None
    assert all(asked is not None for asked in server.asked[1:])


def test_a_pod_that_has_not_started_has_no_log_yet() -> None:
    server = CutLog()
    log = LogFollower(cast(JobSetClient, server))
    log.follow([chief(started=False)])
    log.drain()
    assert server.asked == []


def test_a_pod_that_vanished_is_asked_once_more_and_never_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("components.workers.kubernetes.log_follower.RECONNECT_SECONDS", 0.01)
    server = CutLog()
    log = LogFollower(cast(JobSetClient, server))
    log.follow([chief()])
    log.follow([])  # at a restart Kubernetes deletes the pods
    local_training.wait_for(
        lambda: not any(thread.is_alive() for thread in log._threads.values()),
        "the end of the log",
        seconds=10,
    )
    asked = len(server.asked)
    time.sleep(0.1)
    assert len(server.asked) == asked


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"level": "ERROR", "logger": "x", "message": "no space left"}', "ERROR no space left"),
        ('{"other": 1}', '{"other": 1}'),
        ("{not JSON", "{not JSON"),
        ("Traceback", "Traceback"),
    ],
)
def test_json_log_messages_are_shown_as_text(line: str, shown: str) -> None:
    assert unwrap_log_line(line) == shown
