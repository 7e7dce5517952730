"""`kubert runs`, and what a run's steps say of themselves where their logs can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.progress import ProgressEvent, StepName
from pipeline.kubeflow import submit
from pipeline.kubeflow.errors import NotFoundError
from pipeline.kubeflow.follow_run import (
    NO_REASON,
    WORKFLOW_DELETED,
    RunResult,
    follow_run,
    read_run,
)
from pipeline.kubeflow.run_logs import find_fatal_line, parse_progress_events
from tests.support.fake_kfp.clients import (
    InvokeCommand,
    build_submission,
    new_client,
    sleep_briefly,
)
from tests.support.fake_kfp.documents import Object
from tests.support.fake_kfp.run_states import SUCCEEDED_TASKS, make_task, make_workflow
from tests.support.fake_kfp.server import FakeServer
from tests.support.progress_events import make_event


class Pods:
    """Stands for a run's pods by what they wrote."""

    def __init__(self, *events: dict, **fatal_lines: str) -> None:
        self._events = [make_event(**event) for event in events]
        self.graph_failure = fatal_lines.pop("graph", "")
        self.fatal_lines = fatal_lines
        self.deleted: list[bool] = []
        """What the next calls of `is_deleted` answer; the last one is repeated."""

    def is_deleted(self) -> bool:
        return bool(self.deleted) and (
            self.deleted.pop(0) if len(self.deleted) > 1 else self.deleted[0]
        )

    def read_new_events(self, first_step: StepName) -> list[ProgressEvent]:
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
    assert {step["seconds"] for step in shown["steps"]} == {None}
    code, out, err = kubert("runs", "stop", "two", *at)
    assert (code, out) == (0, f"run {second} is stopping\n")
    assert err.startswith("training workers of the run, if any, end by themselves within a minute")
    assert server.state.runs[second]["state"] == "CANCELING"
    server.state.move_run(second, "FAILED")
    assert kubert("runs", "stop", second, *at)[1] == f"run {second} has ended already: stopped\n"
    assert "stopped" in kubert("runs", "show", second, *at)[1]
    rows = json.loads(kubert("runs", "list", *at, "--json")[1])
    assert {row["name"]: row["state"] for row in rows} == {"one": "pending", "two": "stopped"}


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


def test_the_rules_that_closed_the_gate_are_known(server: FakeServer, tmp_path: Path) -> None:
    run = submit_package(server, tmp_path)
    server.state.move_run(
        run, "SUCCEEDED", [make_task(name, "SUCCEEDED") for name in SUCCEEDED_TASKS]
    )
    figures = {"passed": False, "reason": "Closed: x.", "failed_rules": ["recall[spam]"]}
    events = [{"step": "gate", "kind": "started"}, {
        "step": "gate", "kind": "finished", "seconds": 1.0, "figures": figures
    }]  # fmt: skip
    ended = follow_run(
        new_client(server.url), run, Pods(*events), lambda event: None, sleep_briefly  # type: ignore[arg-type]
    )  # fmt: skip
    assert (ended.exit_code, ended.verdict) == (3, "nothing released: Closed: x.")
    assert ended.failed_rules == ["recall[spam]"]


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


def end_run(
    server: FakeServer, tmp_path: Path, pods: Pods | None, workflow: Object, **tasks: str
) -> RunResult:
    """A run that failed with these tasks and this workflow, as it is read afterwards."""
    run = submit_package(server, tmp_path)
    made = [make_task(name, state) for name, state in tasks.items()]
    server.state.move_run(run, "FAILED", made)
    server.state.workflows[run] = workflow
    return read_run(new_client(server.url), run, pods)  # type: ignore[arg-type]


TRAINED = {"step": "train", "kind": "finished", "seconds": 60.0, "figures": {}}
NO_ACCOUNT = 'serviceaccount "kubert-pipeline" not found'
NOT_UPLOADED = 'failed to upload output artifact "checkpoint"'


@pytest.mark.parametrize(
    ("pods", "workflow", "tasks", "verdict", "code"),
    [
        pytest.param(
            None,
            make_workflow(("root.train.executor", "Failed", "Error (exit code 1)"), stopped=True),
            {"tokenize": "SUCCEEDED", "train": "FAILED"},
            "stopped",
            1,
            id="stopped-although-the-step-failed",
        ),
        pytest.param(
            Pods({"step": "train", "kind": "error", "message": "lost", "exit_code": 78}),
            make_workflow(stopped=True),
            {"train": "FAILED"},
            "stopped",
            1,
            id="stopped-although-the-step-reported-an-error",
        ),
        pytest.param(
            None,
            make_workflow(("root-driver(0)", "Error", NO_ACCOUNT)),
            {},
            f"failed: root-driver: {NO_ACCOUNT}",
            1,
            id="no-step-started",
        ),
        pytest.param(
            None,
            make_workflow(message="quota exceeded"),
            {},
            "failed: quota exceeded",
            1,
            id="only-the-workflow-has-a-message",
        ),
        pytest.param(
            None,
            make_workflow(
                ("root.train.executor(0)", "Error", "node lost"),
                ("root.train.executor(1)", "Failed", "OOMKilled (exit code 137)"),
            ),
            {"train": "FAILED"},
            "failed: train: OOMKilled (exit code 137)",
            1,
            id="the-last-attempt-counts",
        ),
        pytest.param(
            None,
            make_workflow(("root.tokenize-driver(0)", "Failed", "Error (exit code 1)")),
            {"tokenize": "FAILED"},
            "failed: tokenize: Error (exit code 1)",
            1,
            id="the-driver-of-a-step",
        ),
        pytest.param(
            Pods(TRAINED, train=NOT_UPLOADED),
            make_workflow(("root.train.executor(0)", "Failed", "Error (exit code 1)")),
            {"tokenize": "SUCCEEDED", "train": "FAILED"},
            f"failed: train: {NOT_UPLOADED}",
            1,
            id="the-upload-failed-after-the-step",
        ),
        pytest.param(
            Pods(graph="root.condition-1-driver: two tasks have the same task name"),
            make_workflow(("root.condition-1-driver(0)", "Failed", "Error (exit code 1)")),
            {"gate": "SUCCEEDED"},
            "failed: root.condition-1-driver: two tasks have the same task name",
            1,
            id="the-driver-of-the-graph",
        ),
        pytest.param(
            Pods(), {}, {"train": "FAILED"}, "failed: train: failed; its pod's", 1, id="nothing"
        ),
    ],
)
def test_the_verdict_is_what_is_known(
    server: FakeServer,
    tmp_path: Path,
    pods: Pods | None,
    workflow: Object,
    tasks: dict[str, str],
    verdict: str,
    code: int,
) -> None:
    ended = end_run(server, tmp_path, pods, workflow, **tasks)
    assert ended.verdict.startswith(verdict)
    assert ended.exit_code == code


def test_a_step_that_a_stop_interrupted_is_stopped(server: FakeServer, tmp_path: Path) -> None:
    ended = end_run(server, tmp_path, None, make_workflow(stopped=True), train="FAILED")
    assert ended.step_status("train") == "stopped"
    assert ended.step_status("gate") == "waiting"


def test_a_server_without_the_first_api_version_only_lacks_the_reason(
    server: FakeServer, tmp_path: Path
) -> None:
    server.add_fault("GET /apis/v1beta1", "refuse", status=404)
    ended = end_run(server, tmp_path, None, make_workflow(("root-driver", "Error", NO_ACCOUNT)))
    assert ended.verdict == f"failed: {NO_REASON}"


def test_steps_of_the_cache_are_reused(
    server: FakeServer, tmp_path: Path, kubert: InvokeCommand
) -> None:
    run = submit_package(server, tmp_path)
    cached = [make_task(name, "SUCCEEDED", seconds=0) for name in ("tokenize", "train")]
    executed = [make_task(name, "SUCCEEDED", seconds=20) for name in ("evaluate", "gate")]
    server.state.move_run(run, "SUCCEEDED", [*cached, *executed])
    shown = json.loads(kubert("runs", "show", run, "--endpoint", server.url, "--json")[1])
    assert {step["step"]: (step["status"], step["seconds"]) for step in shown["steps"]} == {
        "tokenize": ("reused", None),
        "train": ("reused", None),
        "evaluate": ("finished", 20.0),
        "gate": ("finished", 20.0),
        "export": ("waiting", None),
    }


def test_the_launchers_last_line_is_read_from_its_log() -> None:
    lines = [
        "I1129 10:00:00.123456       1 launcher_v2.go:150] input",
        '{"step": "train", "kind": "finished"}',
        "F1129 10:00:09.123456       1 main.go:59] failed to execute component: access denied",
    ]
    assert find_fatal_line(lines) == "failed to execute component: access denied"
    assert find_fatal_line(lines[:2]) is None


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


def test_a_run_whose_workflow_was_deleted_is_given_up(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server shows it as running for ever."""
    monkeypatch.setattr("pipeline.kubeflow.follow_run.DELETED_AFTER_SECONDS", 0.01)
    run = submit_package(server, tmp_path)
    server.state.move_run(run, "RUNNING", [make_task("train", "RUNNING")])
    pods = Pods()
    pods.deleted = [True, False, True]
    ended = follow_run(
        new_client(server.url), run, pods, lambda event: None, sleep_briefly  # type: ignore[arg-type]
    )  # fmt: skip
    assert (ended.run.state, ended.is_deleted, ended.exit_code) == ("RUNNING", True, 1)
    assert ended.verdict == f"failed: {WORKFLOW_DELETED}"
    assert pods.deleted == [True]  # one reading, and one after which it was there, were not enough
    shown = read_run(new_client(server.url), run, pods)  # type: ignore[arg-type]
    assert shown.is_deleted
    server.state.move_run(run, "SUCCEEDED", [])
    assert not read_run(new_client(server.url), run, pods).is_deleted  # type: ignore[arg-type]
