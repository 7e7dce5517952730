"""Submitting under faults: two at once, lost replies, crashes. One key is one run."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from components.errors import ConfigError
from pipeline.kubeflow import deduplication, submit
from pipeline.kubeflow.client import KubeflowClient
from pipeline.kubeflow.deduplication import RunMarker
from pipeline.kubeflow.errors import AmbiguousOutcomeError
from tests.support.fake_kfp.clients import (
    build_submission,
    new_checked_client,
    run_concurrently,
    set_arguments,
    sleep_briefly,
    start_command,
)
from tests.support.fake_kfp.server import FakeServer

POST_RUN = r"POST /apis/v2beta1/runs$"


def list_runs(server: FakeServer) -> list[dict[str, Any]]:
    return list(server.state.runs.values())


def test_the_same_key_again_is_the_same_run(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R3."""
    made = build_submission(tmp_path)
    first = submit.submit_run(client, made, "nightly", sleep=sleep_briefly)
    again = submit.submit_run(client, made, "nightly", sleep=sleep_briefly)
    assert (first.created, again.created) == (True, False)
    assert first.run.id == again.run.id
    assert len(list_runs(server)) == 1
    submit.submit_run(client, made, "other", sleep=sleep_briefly)
    submit.submit_run(client, made, None, sleep=sleep_briefly)
    submit.submit_run(client, made, None, sleep=sleep_briefly)
    assert len(list_runs(server)) == 4


def test_a_key_with_other_content_is_refused(client: KubeflowClient, tmp_path: Path) -> None:
    """Fault R3."""
    submit.submit_run(client, build_submission(tmp_path), "nightly", sleep=sleep_briefly)
    for other in (
        build_submission(tmp_path, train={"epochs": 9}),
        build_submission(tmp_path, "other code"),
    ):
        with pytest.raises(
            ConfigError, match=r"--key nightly: run .* other options or another pipeline"
        ):
            submit.submit_run(client, other, "nightly", sleep=sleep_briefly)


@pytest.mark.parametrize("key", ["nightly", None])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param("lost", {}, id="lost-reply"),
        pytest.param("cut", {}, id="cut-before-it-took-effect"),
        pytest.param("refuse", {"status": 503}, id="503"),
        pytest.param("refuse", {"status": 500}, id="500"),
        pytest.param("refuse", {"status": 429, "retry_after": "1"}, id="429"),
    ],
)
def test_a_create_that_fails_once_makes_one_run(
    server: FakeServer,
    client: KubeflowClient,
    tmp_path: Path,
    kind: str,
    options: dict,
    key: str | None,
) -> None:
    """Fault R3."""
    server.add_fault(POST_RUN, kind, times=2, **options)
    submitted = submit.submit_run(client, build_submission(tmp_path), key, sleep=sleep_briefly)
    assert submitted.created
    assert [run["run_id"] for run in list_runs(server)] == [submitted.run.id]


def test_a_create_that_always_fails_is_an_error(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R3."""
    server.add_fault(POST_RUN, "refuse", status=500)
    with pytest.raises(AmbiguousOutcomeError, match="failed to create the run: 500"):
        submit.submit_run(client, build_submission(tmp_path), "nightly", sleep=sleep_briefly)
    assert list_runs(server) == []
    assert server.count(POST_RUN) == deduplication.MAX_CREATE_FAILURES + 1


@pytest.mark.slow
def test_concurrent_submissions_of_one_key_make_one_run(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R3."""
    submit.upload_pipeline(client, made := build_submission(tmp_path))
    server.add_fault(POST_RUN, "late", seconds=0.5, times=4)
    outcomes = run_concurrently(
        [lambda: submit.submit_run(new_checked_client(server), made, "nightly") for _ in range(8)]
    )
    (left,) = list_runs(server)
    assert {outcome.run.id for outcome in outcomes} == {left["run_id"]}
    assert sum(outcome.created for outcome in outcomes) == 1
    assert server.count(POST_RUN) > 1, "they did not meet"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["late", "unseen"])
def test_a_submitter_whose_create_is_slow_deletes_its_own_run(
    server: FakeServer, client: KubeflowClient, tmp_path: Path, kind: str
) -> None:
    """Fault R3. The others have decided when it becomes visible, even if it was created first."""
    submit.upload_pipeline(client, made := build_submission(tmp_path))
    client.ensure_experiment("kubert")
    server.add_fault(POST_RUN, kind, seconds=9.0, times=1)
    first = threading.Thread(
        target=lambda: outcomes.append(
            submit.submit_run(new_checked_client(server), made, "nightly")
        )
    )
    outcomes: list[deduplication.SubmittedRun] = []
    first.start()
    while not server.count(POST_RUN):
        time.sleep(0.05)
    outcomes.append(submit.submit_run(new_checked_client(server), made, "nightly"))
    assert outcomes[0].created
    assert first.is_alive()
    first.join()
    (left,) = list_runs(server)
    assert [outcome.run.id for outcome in outcomes] == [left["run_id"]] * 2


def test_a_later_submitter_deletes_its_own_run(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R3. Also where the first one's creator is gone and can remove nothing."""
    pipeline, version = submit.upload_pipeline(client, made := build_submission(tmp_path))
    experiment = client.ensure_experiment("kubert")
    server.add_fault(POST_RUN, "late", seconds=1.5, times=1)
    outcomes: list[deduplication.SubmittedRun] = []
    later = threading.Thread(
        target=lambda: outcomes.append(
            submit.submit_run(new_checked_client(server), made, "nightly", sleep=sleep_briefly)
        )
    )
    later.start()
    while not server.count(POST_RUN):
        time.sleep(0.05)
    first = client.create_run(
        {
            "display_name": "nightly",
            "experiment_id": experiment,
            "description": f"x {RunMarker('nightly', made.content_digest, 'dead')}",
            "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": version},
        }
    )
    later.join()
    assert [run["run_id"] for run in list_runs(server)] == [first.id]
    assert [(outcome.run.id, outcome.created) for outcome in outcomes] == [(first.id, False)]


@pytest.mark.slow
def test_lost_replies_of_concurrent_submissions_make_one_run(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R3."""
    submit.upload_pipeline(client, made := build_submission(tmp_path))
    server.add_fault(POST_RUN, "lost", times=3)
    outcomes = run_concurrently(
        [lambda: submit.submit_run(new_checked_client(server), made, "nightly") for _ in range(3)]
    )
    (left,) = list_runs(server)
    assert {outcome.run.id for outcome in outcomes} == {left["run_id"]}


def test_the_run_of_a_crashed_submitter_is_returned(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R3."""
    made = build_submission(tmp_path)
    experiment = client.ensure_experiment("kubert")
    pipeline, version = submit.upload_pipeline(client, made)
    left = client.create_run(
        {
            "display_name": "nightly",
            "experiment_id": experiment,
            "description": f"x {RunMarker('nightly', made.content_digest, 'dead')}",
            "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": version},
            "runtime_config": made.runtime_config,
        }
    )
    taken = submit.submit_run(client, made, "nightly", sleep=sleep_briefly)
    assert (taken.run.id, taken.created) == (left.id, False)
    assert len(list_runs(server)) == 1


def test_a_run_of_that_name_that_is_not_kuberts_is_ignored(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R3."""
    made = build_submission(tmp_path)
    experiment = client.ensure_experiment("kubert")
    pipeline, version = submit.upload_pipeline(client, made)
    reference = {"pipeline_id": pipeline, "pipeline_version_id": version}
    theirs = client.create_run(
        {
            "display_name": "nightly",
            "experiment_id": experiment,
            "pipeline_version_reference": reference,
        }
    )
    ours = submit.submit_run(client, made, "nightly", sleep=sleep_briefly)
    assert ours.created
    assert {run["run_id"] for run in list_runs(server)} == {theirs.id, ours.run.id}


@pytest.mark.slow
def test_two_concurrent_commands_make_one_run(server: FakeServer) -> None:
    """Fault R3."""
    processes = [
        start_command(
            "submit", *set_arguments(), "--endpoint", server.url, "--key", "nightly", "--json"
        )
        for _ in range(2)
    ]
    reports = [json.loads(process.communicate(timeout=240)[0]) for process in processes]
    (left,) = list_runs(server)
    assert [one["run"] for one in reports] == [left["run_id"]] * 2
    assert len(server.state.versions) == 1
    assert len(server.state.pipelines) == 1
