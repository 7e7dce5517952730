"""`kubert runs`, and what a run's steps say of themselves where their logs can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.progress import ProgressEvent
from pipeline.kubeflow import submit
from pipeline.kubeflow.errors import NotFoundError
from pipeline.kubeflow.follow_run import RunResult, follow_run, read_run
from pipeline.kubeflow.run_logs import parse_progress_events
from tests.support.fake_kfp.clients import (
    InvokeCommand,
    build_submission,
    new_client,
    sleep_briefly,
)
from tests.support.fake_kfp.run_states import SUCCEEDED_TASKS, make_task
from tests.support.fake_kfp.server import FakeServer
from tests.support.progress_events import make_event


class Pods:
    """Stands for a run's pods by what they wrote."""

    def __init__(self, *events: dict) -> None:
        self._events = [make_event(**event) for event in events]

    def read_new_events(self) -> list[ProgressEvent]:
        found, self._events = self._events, []
        return found


def submit_package(server: FakeServer, tmp_path: Path, name: str | None = None) -> str:
    api = new_client(server.url)
    api.get_health()
    return submit.submit_run(api, build_submission(tmp_path), name, sleep=sleep_briefly).run.id


def test_list_show_and_stop(server: FakeServer, kubert: InvokeCommand, tmp_path: Path) -> None:
    first, second = submit_package(server, tmp_path, "one"), submit_package(server, tmp_path, "two")
    at = ("--endpoint", server.url)
    code, out, _ = kubert("runs", "list", *at)
    assert code == 0
    assert first in out
    assert "two" in out
    assert [
        row["name"] for row in json.loads(kubert("runs", "list", *at, "--limit", "1", "--json")[1])
    ] in (["one"], ["two"])
    shown = json.loads(kubert("runs", "show", "one", *at, "--json")[1])
    assert (shown["run"], shown["state"], shown["verdict"]) == (first, "pending", None)
    assert shown["parameters"]["epochs"] == 3
    assert kubert("runs", "stop", "two", *at)[:2] == (0, f"run {second} is stopping\n")
    assert server.state.runs[second]["state"] == "CANCELING"
    server.state.move_run(second, "FAILED")
    assert kubert("runs", "stop", second, *at)[1] == f"run {second} has ended already: failed\n"
    assert "stopped" in kubert("runs", "show", second, *at)[1]


def test_no_such_run(server: FakeServer, kubert: InvokeCommand) -> None:
    for action in ("show", "stop", "logs"):
        code, _, err = kubert("runs", action, "nope", "--endpoint", server.url)
        assert code == 2
        assert "no run has the id or the name nope" in err
    assert "no runs in experiment kubert" in kubert("runs", "list", "--endpoint", server.url)[1]


def test_logs_without_a_kubeconfig_say_where_they_are(
    server: FakeServer, kubert: InvokeCommand, tmp_path: Path
) -> None:
    run = submit_package(server, tmp_path)
    code, _, err = kubert("runs", "logs", run, "--endpoint", server.url)
    assert code == 2
    assert f"pods in namespace kubeflow (label pipeline/runid={run})" in err


def follow_to_end(server: FakeServer, tmp_path: Path, *events: dict) -> RunResult:
    run = submit_package(server, tmp_path)
    server.state.move_run(
        run, "SUCCEEDED", [make_task(name, "SUCCEEDED") for name in (*SUCCEEDED_TASKS, "export")]
    )
    return follow_run(new_client(server.url), run, Pods(*events), lambda event: None, sleep_briefly)  # type: ignore[arg-type]


def test_a_run_that_had_nothing_to_do_says_so(server: FakeServer, tmp_path: Path) -> None:
    unchanged = [
        {
            "step": "train",
            "message": "these rows were learned with these options before; "
            "nothing is trained again",
            "unchanged": True,
        },
        {
            "step": "export",
            "message": "nothing new is released: version 4 is this checkpoint",
            "unchanged": True,
        },
    ]
    ended = follow_to_end(server, tmp_path, *unchanged)
    assert ended.notes == tuple(event["message"] for event in unchanged)
    assert ended.exit_code == 0


def test_figures_come_from_the_steps_own_words(server: FakeServer, tmp_path: Path) -> None:
    finished = {
        "step": "export",
        "kind": "finished",
        "seconds": 9.0,
        "figures": {"version": 7, "release": "gs://models/x/news/7"},
    }
    assert (
        follow_to_end(server, tmp_path, {"step": "export", "kind": "started"}, finished).verdict
        == "released version 7: gs://models/x/news/7"
    )


@pytest.mark.parametrize(("step_code", "code"), [(65, 2), (78, 2), (70, 1)])
def test_a_mistake_that_a_step_found_is_the_users(
    server: FakeServer, tmp_path: Path, step_code: int, code: int
) -> None:
    run = submit_package(server, tmp_path)
    server.state.move_run(run, "FAILED", [make_task("tokenize", "FAILED")])
    error = {
        "step": "tokenize",
        "kind": "error",
        "message": "row 3: no label",
        "exit_code": step_code,
    }
    ended = read_run(new_client(server.url), run, Pods(error))  # type: ignore[arg-type]
    assert (ended.exit_code, ended.verdict) == (code, "failed: tokenize: row 3: no label")


def test_events_are_distinguished_from_a_launchers_own_lines() -> None:
    event = {"step": "train", "kind": "started"}
    lines = [
        "I1124 15:00:00 launcher.go:1] starting",
        json.dumps(event),
        '{"step": "else"}',
        '{"cut',
        "",
        '{"a": 1}',
        "[1]",
    ]
    assert parse_progress_events(lines) == [make_event(**event)]


def test_a_run_that_is_gone_while_it_is_followed(server: FakeServer, tmp_path: Path) -> None:
    run = submit_package(server, tmp_path)
    server.state.delete_run(run)
    with pytest.raises(NotFoundError):
        follow_run(new_client(server.url), run, None, lambda event: None, sleep_briefly)
