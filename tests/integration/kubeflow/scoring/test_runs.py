"""Runs and schedules of the pipeline that scores, as the server gets and shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.errors import ConfigError, UsageError
from pipeline.kubeflow import submit
from pipeline.kubeflow.follow_run import read_run
from pipeline.kubeflow.records import Task
from pipeline.kubeflow.submission import prepare_scoring
from tests.support.fake_kfp.clients import (
    IMAGES,
    InvokeCommand,
    build_config,
    new_client,
    set_arguments,
)
from tests.support.fake_kfp.run_states import play_states
from tests.support.fake_kfp.server import FakeServer

SCORE: dict[str, Any] = {"source": "gs://texts/{date}.csv", "to": "gs://scores/{date}"}
DAY = {"end_time": "2030-05-07T02:30:00Z"}
OPTIONS = ("score.source=gs://texts/{date}.csv", "score.to=gs://scores/{date}")
NIGHTLY = "schedule.cron=30 2 * * *"


def test_a_run_is_of_a_pipeline_of_its_own_and_names_the_champion(server: FakeServer) -> None:
    client = new_client(server.url)
    with prepare_scoring(build_config(score=SCORE, data=DAY)) as submission:
        submitted = submit.submit_run(client, submission, None)
    assert submitted.run.name.startswith("news-score-")
    (pipeline,) = server.state.pipelines.values()
    assert pipeline["display_name"] == "kubert-score"
    parameters = submitted.run.parameters
    assert parameters["release"] == "gs://models/x/news"
    assert (parameters["source"], parameters["target"]) == (SCORE["source"], SCORE["to"])
    assert parameters["end_time"] == DAY["end_time"]
    assert "fingerprint" not in parameters


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        pytest.param({"score": {"to": "gs://x/y"}}, "score.source is not set", id="no-source"),
        pytest.param({"score": {"source": "gs://x/y"}}, "score.to is not set", id="no-target"),
        pytest.param({"score": SCORE}, r"score.source: .* has \{date\}", id="date-without-time"),
        pytest.param(
            {"score": {**SCORE, "to": "out"}, "data": DAY},
            "score.to: out is on this machine",
            id="local-target",
        ),
        pytest.param(
            {"score": {**SCORE, "source": "a.csv"}}, "a.csv is on this machine", id="local-source"
        ),
        pytest.param(
            {"score": {**SCORE, "release": "models/news"}, "data": DAY},
            "score.release: models/news is on this machine",
            id="local-release",
        ),
    ],
)
def test_what_pods_cannot_use_is_refused_before_anything_is_sent(
    sections: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message), prepare_scoring(build_config(**sections)):
        pass


def test_a_release_must_be_a_model_reference() -> None:
    config = build_config(score={**SCORE, "release": "gs://models/news@new"}, data=DAY)
    with pytest.raises(UsageError, match="with a whole number"), prepare_scoring(config):
        pass


def test_a_run_that_scored_is_complete_without_a_release(server: FakeServer) -> None:
    client = new_client(server.url)
    with prepare_scoring(build_config(score=SCORE, data=DAY)) as submission:
        run = submit.submit_run(client, submission, None).run
    play_states(server, ("SUCCEEDED", {"resolve": "SUCCEEDED", "score": "SUCCEEDED"}))
    result = read_run(client, run.id, None)
    assert (result.exit_code, result.verdict) == (0, "scored")
    assert [*result.run_state.steps] == ["resolve", "score"]
    assert isinstance(result.run.tasks[0], Task)


def test_a_run_whose_scoring_failed_names_the_step(server: FakeServer) -> None:
    client = new_client(server.url)
    with prepare_scoring(build_config(score=SCORE, data=DAY)) as submission:
        run = submit.submit_run(client, submission, None).run
    play_states(server, ("FAILED", {"resolve": "SUCCEEDED", "score": "FAILED"}))
    result = read_run(client, run.id, None)
    assert result.exit_code == 1
    assert result.verdict.startswith("failed: score: ")


def test_a_schedule_scores_the_day_of_its_scheduled_time(
    server: FakeServer, kubert: InvokeCommand
) -> None:
    arguments = set_arguments(NIGHTLY, *OPTIONS)
    train = kubert("schedule", "apply", *arguments, "--endpoint", server.url, "--skip-check")
    score = ("--pipeline", "score", "--endpoint", server.url, "--skip-check")
    first = kubert("schedule", "apply", *arguments, *score)
    again = kubert("schedule", "apply", *arguments, *score, "--json")
    assert (train[0], first[0], again[0]) == (0, 0, 0), (train, first, again)
    assert json.loads(again[1])["changed"] is False
    names = {made["display_name"] for made in server.state.schedules.values()}
    assert names == {"news", "news-score"}
    (made,) = [
        found for found in server.state.schedules.values() if found["display_name"] == "news-score"
    ]
    assert made["runtime_config"]["parameters"]["target"] == "gs://scores/{date}"


def test_the_compiled_schedule_passes_its_time_to_both_steps(tmp_path: Path) -> None:
    import yaml

    with prepare_scoring(build_config(score=SCORE), scheduled=True) as submission:
        spec = next(yaml.safe_load_all(submission.package.read_text(encoding="utf-8")))
    placeholder = {"runtimeValue": {"constant": "{{$.pipeline_job_schedule_time_utc}}"}}
    tasks = spec["root"]["dag"]["tasks"]
    assert [tasks[name]["inputs"]["parameters"]["end_time"] for name in ("resolve", "score")] == [
        placeholder,
        placeholder,
    ]


def test_kubert_score_submits_what_its_options_say(
    server: FakeServer, kubert: InvokeCommand
) -> None:
    options = ("--source", "gs://texts/a.csv", "--to", "gs://scores/a", "--keep", "id,title")
    images = [f"cluster.{name}={image}" for name, image in IMAGES.items()]
    assignments = [part for option in images for part in ("--set", option)]
    where = ("--cluster", "--endpoint", server.url, "--skip-check", "--key", "scores-a")
    code, out, err = kubert(
        "score", "gs://models/x/news@3", *options, "--workers", "4", *assignments, *where
    )
    assert (code, err) == (0, "")
    assert "(scores-a) created" in out
    (run,) = server.state.runs.values()
    parameters = run["runtime_config"]["parameters"]
    assert (parameters["release"], parameters["workers"]) == ("gs://models/x/news@3", 4)
    assert json.loads(parameters["score"]) == {"keep": ["id", "title"]}
