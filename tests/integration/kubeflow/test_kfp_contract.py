"""One contract for both servers: the fake one, and the real one that KUBERT_TEST_KFP names.

The real one is sent the token of KUBERT_TEST_KFP_TOKEN, if there is one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.kubeflow import submit
from pipeline.kubeflow.client import KubeflowClient
from pipeline.kubeflow.errors import AmbiguousOutcomeError, InvalidRequestError, NotFoundError
from tests.support.fake_kfp.clients import build_submission, new_client
from tests.support.fake_kfp.server import run_server
from tests.support.real_kfp.server import SKIP_REASON, find_server


@pytest.fixture(params=["stand-in", "real"])
def api(request: pytest.FixtureRequest) -> Iterator[KubeflowClient]:
    experiment = f"kubert-test-{secrets.token_hex(4)}"
    if request.param == "real":
        real = find_server() or pytest.skip(SKIP_REASON)
        yield real.connect(experiment)
        return
    with run_server() as server:
        found = new_client(server.url, experiment=experiment)
        found.get_health()
        yield found


def run_body(api: KubeflowClient, tmp_path: Path, name: str, **more: object) -> dict:
    made = build_submission(tmp_path)
    pipeline, version = submit.upload_pipeline(api, made)
    return {
        "display_name": name,
        "description": "a test",
        "experiment_id": api.ensure_experiment(api.endpoint.experiment),
        "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": version},
        "runtime_config": made.runtime_config,
        **more,
    }


def schedule_body(
    api: KubeflowClient, tmp_path: Path, name: str, cron: str = "0 0 3 * * *", **more: object
) -> dict:
    return {
        **run_body(api, tmp_path, name),
        "max_concurrency": "1",
        "no_catchup": True,
        "mode": "DISABLE",
        "trigger": {"cron_schedule": {"cron": cron}},
        **more,
    }


def test_the_server_says_its_version_and_its_time(api: KubeflowClient) -> None:
    assert isinstance(api.get_health().multi_user, bool)
    assert (
        abs((api.server_time() - new_client(api.endpoint.url).server_time()).total_seconds()) < 600
    )


def test_an_experiment_is_made_once(api: KubeflowClient) -> None:
    name = api.endpoint.experiment
    assert api.find_experiment(name) is None
    made = api.ensure_experiment(name)
    assert api.ensure_experiment(name) == made == api.find_experiment(name)


@pytest.mark.parametrize("name", ["a%20b", "a+b", 'say "hi"', "ünï", "%"])
def test_a_name_is_found_whatever_it_holds(api: KubeflowClient, name: str) -> None:
    name = f"{name} {secrets.token_hex(4)}"
    assert api.find_experiment(name) is None
    assert api.ensure_experiment(name) == api.find_experiment(name)


def test_the_same_pipeline_is_uploaded_once_and_another_beside_it(
    api: KubeflowClient, tmp_path: Path
) -> None:
    change = secrets.token_hex(4)
    first = submit.upload_pipeline(api, build_submission(tmp_path, change))
    assert submit.upload_pipeline(api, build_submission(tmp_path, change)) == first
    other = submit.upload_pipeline(api, build_submission(tmp_path, change + "!"))
    assert other[0] == first[0]
    assert other[1] != first[1]


def test_a_run_keeps_what_it_was_created_with(api: KubeflowClient, tmp_path: Path) -> None:
    body = run_body(api, tmp_path, "one")
    made = api.create_run(body)
    run = api.get_run(made.id)
    assert (run.name, run.description, run.state, run.has_ended) == (
        "one",
        "a test",
        "PENDING",
        False,
    )
    assert run.finished_at is None
    assert run.parameters["epochs"] == 3
    assert run.parameters["learning_rate"] == 5e-5
    assert run.parameters["freeze"] is False
    assert run.parameters["model_store"] == "gs://models/x"
    api.terminate_run(run.id)
    assert api.get_run(run.id).stop_requested
    api.terminate_run(run.id)
    api.delete_run(run.id)
    api.delete_run(run.id)
    with pytest.raises(NotFoundError, match=run.id):
        api.get_run(run.id)


def test_runs_are_listed_newest_first_over_many_pages_and_found_by_their_exact_name(
    api: KubeflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kubeflow.transport.PAGE_SIZE", 2)
    body = run_body(api, tmp_path, "x")
    for name in ("a", "b", "B", "b", "c"):
        api.create_run({**body, "display_name": name})
    experiment = str(body["experiment_id"])
    found = api.list_runs(experiment)
    assert sorted(run.name for run in found) == ["B", "a", "b", "b", "c"]
    assert [run.created_at for run in found] == sorted(
        (run.created_at for run in found), reverse=True
    )
    assert [run.name for run in api.list_runs(experiment, display_name="b")] == ["b", "b"]
    assert len(api.list_runs(experiment, limit=3)) == 3
    for run in found:
        api.delete_run(run.id)


def test_a_schedule_keeps_what_it_was_created_with(api: KubeflowClient, tmp_path: Path) -> None:
    body = schedule_body(
        api,
        tmp_path,
        "nightly",
        trigger={"cron_schedule": {"cron": "0 0 3 * * 1", "start_time": "2026-01-02T03:04:05Z"}},
    )
    made = api.create_schedule(body)
    (schedule,) = api.list_schedules(str(body["experiment_id"]), display_name="nightly")
    assert schedule.id == made.id
    assert (schedule.cron, schedule.enabled, schedule.max_concurrent_runs, schedule.catch_up) == (
        "0 0 3 * * 1",
        False,
        1,
        False,
    )
    assert schedule.start_time is not None
    assert schedule.start_time.isoformat() == "2026-01-02T03:04:05+00:00"
    assert schedule.version_id == body["pipeline_version_reference"]["pipeline_version_id"]
    assert schedule.parameters["model_name"] == "news"
    api.set_schedule_enabled(schedule.id, True)
    api.set_schedule_enabled(schedule.id, True)
    assert api.list_schedules(str(body["experiment_id"]))[0].enabled
    api.set_schedule_enabled(schedule.id, False)
    assert not api.list_schedules(str(body["experiment_id"]))[0].enabled
    api.delete_schedule(schedule.id)
    api.delete_schedule(schedule.id)
    assert api.list_schedules(str(body["experiment_id"])) == []
    with pytest.raises(NotFoundError):
        api.set_schedule_enabled(schedule.id, True)


def test_catch_up_is_distinguished_from_no_catch_up(api: KubeflowClient, tmp_path: Path) -> None:
    made = api.create_schedule(schedule_body(api, tmp_path, "all", no_catchup=False))
    assert made.catch_up
    api.delete_schedule(made.id)


@pytest.mark.parametrize(
    "cron", ["TZ=UTC 0 0 3 * * *", "0 0 3 * * 7", "0 0 3 L * *", "0 0 24 * * *", "daily"]
)
def test_a_cron_that_the_server_cannot_read_is_refused_there(
    api: KubeflowClient, tmp_path: Path, cron: str
) -> None:
    with pytest.raises(InvalidRequestError, match="cron"):
        api.create_schedule(schedule_body(api, tmp_path, "bad", cron=cron))


def test_wrong_requests_are_refused_in_the_servers_words(
    api: KubeflowClient, tmp_path: Path
) -> None:
    body = run_body(api, tmp_path, "one")
    with pytest.raises(NotFoundError, match="not found"):
        api.create_run({**body, "experiment_id": "00000000-0000-4000-8000-000000000000"})
    with pytest.raises(InvalidRequestError, match="400"):
        api.create_run({**body, "colour": "red"})
    with pytest.raises(AmbiguousOutcomeError, match="500"):
        api.create_run({**body, "display_name": ""})
    with pytest.raises(InvalidRequestError, match="400"):
        api.create_schedule(schedule_body(api, tmp_path, "bad", max_concurrency="11"))
