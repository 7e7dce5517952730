"""`kubert submit`: what is checked first, what is sent, what is shown, how it ends."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline.kubeflow import transport
from tests.support.fake_kfp.clients import (
    IMAGES,
    InvokeCommand,
    run_command,
    set_arguments,
    start_command,
)
from tests.support.fake_kfp.documents import format_time
from tests.support.fake_kfp.run_states import SUCCEEDED_TASKS, play_states
from tests.support.fake_kfp.server import FakeServer


@pytest.mark.parametrize(
    ("states", "code", "message"),
    [
        pytest.param(
            [
                ("RUNNING", {"tokenize": "RUNNING"}),
                ("SUCCEEDED", {**SUCCEEDED_TASKS, "export": "SUCCEEDED"}),
            ],
            0,
            "released",
            id="released",
        ),
        pytest.param(
            [("SUCCEEDED", {**SUCCEEDED_TASKS, "condition-1": "SKIPPED"})],
            3,
            "nothing released: the gate closed",
            id="gate-closed",
        ),
        pytest.param(
            [("FAILED", {"tokenize": "SUCCEEDED", "train": "FAILED"})],
            1,
            "failed: train: failed; its pod's log",
            id="failed",
        ),
        pytest.param(
            [("CANCELING", {"tokenize": "RUNNING"}), ("FAILED", {"tokenize": "RUNNING"})],
            1,
            "stopped",
            id="stopped",
        ),
    ],
)
def test_waiting_shows_the_steps_and_ends_as_the_run_does(
    server: FakeServer,
    kubert: InvokeCommand,
    fast_polling: None,
    states: list,
    code: int,
    message: str,
) -> None:
    play_states(server, *states)
    ended, out, err = kubert("submit", *set_arguments(), "--endpoint", server.url, "--wait")
    assert (ended, err) == (code, "")
    assert message in out.splitlines()[-1]
    for name, state in states[-1][1].items():
        if state == "SUCCEEDED":
            assert f"\n{name:<8}     60.0 s" in out


def test_json_is_the_last_line_and_alone_on_standard_output(
    server: FakeServer, kubert: InvokeCommand, fast_polling: None
) -> None:
    play_states(server, ("SUCCEEDED", {**SUCCEEDED_TASKS, "export": "SUCCEEDED"}))
    code, out, err = kubert(
        "submit",
        *set_arguments("cluster.ui=https://kubeflow.example/pipeline/"),
        "--endpoint",
        server.url,
        "--wait",
        "--json",
    )
    (run,) = server.state.runs.values()
    shown = json.loads(out)
    assert (code, shown["run"], shown["state"], shown["created"]) == (
        0,
        run["run_id"],
        "SUCCEEDED",
        True,
    )
    assert shown["url"] == f"https://kubeflow.example/pipeline/#/runs/details/{run['run_id']}"
    assert "tokenize" in err


def test_the_server_may_be_away_while_a_run_is_followed(
    server: FakeServer, kubert: InvokeCommand, fast_polling: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = dataclasses.replace(transport.REQUEST_RETRIES, max_attempts=2)
    monkeypatch.setattr(transport, "REQUEST_RETRIES", policy)
    server.add_fault(r"GET /apis/v2beta1/runs/.", "refuse", status=503, times=5)
    play_states(server, ("SUCCEEDED", {**SUCCEEDED_TASKS, "export": "SUCCEEDED"}))
    assert kubert("submit", *set_arguments(), "--endpoint", server.url, "--wait")[0] == 0


@pytest.mark.slow
def test_an_interrupt_leaves_the_run_going_and_says_how_to_stop_it(server: FakeServer) -> None:
    process = start_command(
        "submit", *set_arguments(), "--endpoint", server.url, "--wait", "--key", "mine"
    )
    while server.count(r"GET /apis/v2beta1/runs/.") < 2:
        time.sleep(0.2)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    (run,) = server.state.runs.values()
    assert process.returncode == 130
    assert f"kubert runs stop {run['run_id']}" in out
    assert run["state"] == "PENDING"
    assert "Traceback" not in out + err


def test_what_is_sent(server: FakeServer, kubert: InvokeCommand) -> None:
    options = (
        "cluster.pipeline_root=gs://bucket/root",
        "cluster.service_account=trainer",
        "train.epochs=7",
        "data.source=gs://bucket/x.csv",
    )
    code, out, _ = kubert(
        "submit",
        *set_arguments(*options),
        "--endpoint",
        server.url,
        "--experiment",
        "mine",
        "--key",
        "k-1",
    )
    (run,), (version,), (experiment,) = (
        items.values()
        for items in (server.state.runs, server.state.versions, server.state.experiments)
    )
    assert code == 0
    assert run["run_id"] in out
    assert run["display_name"] == "k-1"
    assert experiment["display_name"] == "mine"
    assert run["experiment_id"] == experiment["experiment_id"]
    assert run["service_account"] == "trainer"
    assert run["runtime_config"]["pipeline_root"] == "gs://bucket/root"
    values = run["runtime_config"]["parameters"]
    assert (values["epochs"], values["source"]) == (7, "gs://bucket/x.csv")
    assert values["fingerprint"], (
        "what lies in a bucket may change unseen: the cache must not answer for it"
    )
    assert run["pipeline_version_reference"] == {
        "pipeline_id": version["pipeline_id"],
        "pipeline_version_id": version["pipeline_version_id"],
    }
    assert version["name"].startswith("sha256-")


def test_the_same_pipeline_is_uploaded_once(server: FakeServer, kubert: InvokeCommand) -> None:
    for epochs in (1, 2):
        assert (
            kubert("submit", *set_arguments(f"train.epochs={epochs}"), "--endpoint", server.url)[0]
            == 0
        )
    assert (len(server.state.versions), len(server.state.runs)) == (1, 2)
    assert server.count("upload_version") == 1
    assert [
        run["runtime_config"]["parameters"].get("fingerprint", "")
        for run in server.state.runs.values()
    ] == ["", ""]
    kubert("submit", *set_arguments(), "--endpoint", server.url, "--no-cache")
    assert (
        sum(
            1
            for run in server.state.runs.values()
            if run["runtime_config"]["parameters"].get("fingerprint")
        )
        == 1
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_a_dry_run_shows_what_would_be_sent_and_sends_nothing(
    server: FakeServer, kubert: InvokeCommand, as_json: bool
) -> None:
    code, out, _ = kubert(
        "submit",
        *set_arguments(),
        "--endpoint",
        server.url,
        "--key",
        "k",
        "--dry-run",
        *(["--json"] if as_json else []),
    )
    planned = json.loads(out) if as_json else yaml.safe_load(out)
    assert code == 0
    assert not [line for line in server.log if not line.startswith("GET")]
    assert planned["run"]["display_name"] == "k"
    assert planned["pipeline"]["uploaded"] is False
    assert planned["run"]["runtime_config"]["parameters"]["model_store"] == "gs://models/x"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["--set", "export.model_store=models"],
            "export.model_store: models is on this machine",
            id="local-store",
        ),
        pytest.param(
            ["--set", "data.source=train.csv"],
            "data.source: train.csv is on this machine",
            id="local-data",
        ),
        pytest.param(["--set", "cluster.train_image=x/train:1"], "--allow-tags", id="a8-tag"),
        pytest.param(["--key", "a b"], "--key a b: use letters", id="key"),
        pytest.param(
            ["--endpoint", "kfp.example.com"], "cluster.endpoint", id="endpoint-without-scheme"
        ),
        pytest.param(["--namespace", "Team"], "cluster.namespace", id="namespace"),
        pytest.param(
            ["--set", "data.window=3d", "--set", "data.time_column=when"],
            "data.window: 3d has no end",
            id="window-without-end",
        ),
    ],
)
def test_a_user_error_is_reported_before_any_request(
    server: FakeServer, kubert: InvokeCommand, arguments: list[str], message: str
) -> None:
    code, out, err = kubert("submit", *set_arguments(), "--endpoint", server.url, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert server.log == []


@pytest.mark.parametrize(
    ("prepare", "code", "message"),
    [
        pytest.param(
            lambda server: setattr(server, "token", "t"),
            2,
            "could not authenticate the request",
            id="401",
        ),
        pytest.param(
            lambda server: setattr(server, "forbidden", "POST .*/runs"),
            2,
            "not allowed to create the run",
            id="403",
        ),
        pytest.param(
            lambda server: setattr(server.state, "version", "1.8.5"),
            2,
            "is Kubeflow Pipelines 1.8.5; kubert needs 2.0",
            id="old",
        ),
        pytest.param(
            lambda server: server.add_fault("GET", "sign-in"),
            2,
            "does not answer as a Kubeflow Pipelines API",
            id="sign-in",
        ),
        pytest.param(
            lambda server: server.add_fault("GET", "redirect"),
            2,
            "could not authenticate the request (302: Found)",
            id="redirect",
        ),
    ],
)
def test_the_servers_no_is_one_clear_message(
    server: FakeServer, kubert: InvokeCommand, prepare: Callable, code: int, message: str
) -> None:
    prepare(server)
    ended, out, err = kubert("submit", *set_arguments(), "--endpoint", server.url)
    assert (ended, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
    assert len(err.splitlines()) < 8
    assert not server.state.runs


@pytest.mark.slow
def test_a_process_with_settings_from_a_file_and_the_environment(
    server: FakeServer, tmp_path: Path
) -> None:
    configuration = {
        "cluster": {**IMAGES, "endpoint": "http://127.0.0.1:1", "experiment": "from-file"},
        "export": {"model_store": "gs://models/x"},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(configuration))
    ended = run_command("submit", "mine.yaml", cwd=tmp_path, KUBERT_ENDPOINT=server.url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [item["display_name"] for item in server.state.experiments.values()] == ["from-file"]
    (run,) = server.state.runs.values()
    listed = run_command(
        "runs", "list", "--json", "--config", "mine.yaml", cwd=tmp_path, KUBERT_ENDPOINT=server.url
    )
    assert [row["run"] for row in json.loads(listed.stdout)] == [run["run_id"]]
    assert format_time(server.clock())
