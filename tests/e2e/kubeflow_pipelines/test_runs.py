"""Runs on a real Kubeflow Pipelines, by the command: verdicts, keys, lists, logs, cache."""

from __future__ import annotations

import datetime
import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from pipeline.run_state import STEP_NAMES
from tests.support.real_kfp.dated_rows import upload_rows
from tests.support.real_kfp.run_objects import RunObjects
from tests.support.real_kfp.server import KubertCommand, RealServer
from tests.support.real_kfp.step_costs import format_table, measure_steps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
RUN_TIMEOUT_SECONDS = 900.0
CACHED = ("tokenize", "train", "evaluate")


@pytest.fixture(scope="module")
def key() -> str:
    return f"released-{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def released_run(kubert: KubertCommand, jobset_config: Path, key: str) -> dict[str, Any]:
    """What `kubert submit --wait --json` says of a run that releases a model."""
    ended = kubert.run(
        "submit",
        str(jobset_config),
        "--key",
        key,
        "--wait",
        "--json",
        timeout=RUN_TIMEOUT_SECONDS,
    )
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


@pytest.fixture(scope="module")
def objects(server: RealServer, released_run: dict[str, Any]) -> RunObjects:
    return RunObjects(released_run["run"], server.namespace)


def read_statuses(kubert: KubertCommand, run: str) -> dict[str, str]:
    """The status of each step, as `kubert runs show` prints it."""
    return {step["step"]: step["status"] for step in kubert.read_json("runs", "show", run)["steps"]}


def test_a_released_run_names_its_version(
    released_run: dict[str, Any], key: str, store_uri: str
) -> None:
    assert released_run["created"] and released_run["state"] == "SUCCEEDED"
    assert released_run["name"] == key
    assert released_run["verdict"] == f"released version 1: {store_uri}/models/news/1"


def test_one_key_is_one_run_also_for_submissions_at_the_same_time(
    kubert: KubertCommand, jobset_config: Path, released_run: dict[str, Any], key: str
) -> None:
    arguments = ("submit", str(jobset_config), "--key", key, "--json")
    again = [kubert.start(*arguments) for _ in range(3)]
    outputs = [process.communicate(timeout=300) for process in again]
    assert [process.returncode for process in again] == [0, 0, 0], outputs
    answers = [json.loads(out) for out, _ in outputs]
    assert {answer["run"] for answer in answers} == {released_run["run"]}
    assert not any(answer["created"] for answer in answers)


def test_the_same_key_with_other_options_is_refused(
    kubert: KubertCommand, jobset_config: Path, released_run: dict[str, Any], key: str
) -> None:
    ended = kubert.run("submit", str(jobset_config), "--key", key, "--set", "train.epochs=7")
    assert ended.returncode == 2
    assert key in ended.stderr and "Traceback" not in ended.stderr


def test_a_run_is_listed_and_shown(
    kubert: KubertCommand, released_run: dict[str, Any], key: str
) -> None:
    rows = kubert.read_json("runs", "list")
    assert [row["state"] for row in rows if row["run"] == released_run["run"]] == ["succeeded"]
    shown = kubert.read_json("runs", "show", key)
    assert (shown["run"], shown["verdict"]) == (released_run["run"], released_run["verdict"])
    assert {step["step"]: step["status"] for step in shown["steps"]} == dict.fromkeys(
        STEP_NAMES, "finished"
    )
    assert shown["parameters"]["workers"] == 2


def test_the_logs_of_a_step_are_those_of_its_pod(
    kubert: KubertCommand, released_run: dict[str, Any]
) -> None:
    ended = kubert.run("runs", "logs", released_run["run"], "--step", "train")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("==> ")
    assert "epoch 6 of 6" in ended.stdout
    (last,) = kubert.run(
        "runs", "logs", released_run["run"], "--step", "gate", "--tail", "1"
    ).stdout.splitlines()[1:]
    assert last


def test_the_server_has_the_log_of_each_step_in_its_archive(
    server: RealServer, released_run: dict[str, Any], objects: RunObjects
) -> None:
    nodes = objects.list_archived_nodes()
    assert len(nodes) > len(STEP_NAMES)  # drivers have logs as well
    if server.multi_user:
        pytest.skip("2.17 passes no credential on there, and answers with 403")
    logs = "".join(server.read_archived_log(released_run["run"], node_id) for node_id in nodes)
    for step in STEP_NAMES:
        assert f'"step": "{step}", "kind": "finished"' in logs, step


def test_the_costs_of_each_step_can_be_measured(
    objects: RunObjects,
) -> None:
    costs = measure_steps(objects)
    print(format_table(costs))
    assert [cost.step for cost in costs] == list(STEP_NAMES)
    assert all(cost.overhead_seconds > 0 for cost in costs)


def test_the_training_left_one_jobset_that_has_completed(objects: RunObjects) -> None:
    (jobset,) = objects.list_jobsets()
    assert jobset["status"]["terminalState"] == "Completed"
    assert jobset["status"].get("restarts", 0) == 0


def test_equal_steps_are_reused_and_release_nothing_new(
    kubert: KubertCommand, jobset_config: Path, released_run: dict[str, Any], objects: RunObjects
) -> None:
    again = kubert.read_json("submit", str(jobset_config), "--wait", timeout=RUN_TIMEOUT_SECONDS)
    assert again["run"] != released_run["run"]
    assert again["verdict"] == released_run["verdict"]
    statuses = read_statuses(kubert, again["run"])
    assert statuses == {step: "reused" if step in CACHED else "finished" for step in STEP_NAMES}
    assert RunObjects(again["run"], objects.namespace).list_jobsets() == []


def test_a_run_whose_model_is_too_bad_ends_with_3(
    kubert: KubertCommand, jobset_config: Path, released_run: dict[str, Any]
) -> None:
    ended = kubert.run(
        "submit",
        str(jobset_config),
        "--set",
        "evaluate.min_accuracy=1.0",
        "--wait",
        "--json",
        timeout=RUN_TIMEOUT_SECONDS,
    )
    assert ended.returncode == 3, ended.stderr
    answer = json.loads(ended.stdout)
    assert answer["state"] == "SUCCEEDED"
    assert answer["verdict"].startswith("nothing released: ")
    assert "min_accuracy 1.0000" in answer["verdict"]
    assert read_statuses(kubert, answer["run"])["export"] == "waiting"


def test_a_mistake_that_only_a_step_sees_ends_with_2_and_its_reason(
    kubert: KubertCommand, jobset_config: Path, store_uri: str
) -> None:
    source = f"{store_uri}/rows.csv"
    upload_rows(source, [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)] * 20)
    ended = kubert.run(
        "submit",
        str(jobset_config),
        *("--set", f"data.source={source}", "--set", "data.text=[text]"),
        *("--set", "data.label=colour"),
        "--wait",
        "--json",
        timeout=RUN_TIMEOUT_SECONDS,
    )
    assert ended.returncode == 2, ended.stderr
    answer = json.loads(ended.stdout)
    assert answer["verdict"].startswith("failed: tokenize: ")
    assert "'colour'" in answer["verdict"]
    shown = kubert.read_json("runs", "show", answer["run"])
    assert shown["verdict"] == answer["verdict"]
    assert shown["state"] == "failed"


def test_a_mistake_that_can_be_seen_here_is_refused_before_anything_is_sent(
    kubert: KubertCommand, jobset_config: Path
) -> None:
    before = kubert.read_json("runs", "list")
    ended = kubert.run("submit", str(jobset_config), "--set", "train.batch_size=1")
    assert ended.returncode == 2
    assert "batch_size 1 is smaller than workers 2" in ended.stderr
    assert kubert.read_json("runs", "list") == before
