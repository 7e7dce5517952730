"""Submitting and scheduling under faults: two at once, lost replies, crashes after each step, changes during a run, hostile values."""

from __future__ import annotations

import datetime
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.errors import ConfigError
from pipeline import cluster, schedules
from pipeline.cluster import Mark
from pipeline.kfp_api import KfpApi
from pipeline.server_failures import Uncertain
from pipeline.submission import prepared
from tests.pipeline.kfp_clients import client, command, config, sets, short, started, submission
from tests.pipeline.kfp_server import Server, serving

POST_RUN, POST_SCHEDULE = r"POST /apis/v2beta1/runs$", r"POST /apis/v2beta1/recurringruns$"
HOURLY = {"cron": "0 * * * *"}
NOON = datetime.datetime(2030, 5, 7, 12, 20, tzinfo=datetime.UTC)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def api(server: Server) -> KfpApi:
    found = client(server.url)
    found.health()
    return found


def runs(server: Server) -> list[dict[str, Any]]:
    return list(server.state.runs.values())


# R3: the same submit twice with one key is one run


def test_r3_the_same_key_again_is_the_same_run(server: Server, api: KfpApi, tmp_path: Path) -> None:
    made = submission(tmp_path)
    first = cluster.submit(api, made, "nightly", sleep=short)
    again = cluster.submit(api, made, "nightly", sleep=short)
    assert (first.created, again.created) == (True, False)
    assert first.run.id == again.run.id
    assert len(runs(server)) == 1
    cluster.submit(api, made, "other", sleep=short)
    cluster.submit(api, made, None, sleep=short)
    cluster.submit(api, made, None, sleep=short)
    assert len(runs(server)) == 4


def test_r3_a_key_with_other_content_is_refused(api: KfpApi, tmp_path: Path) -> None:
    cluster.submit(api, submission(tmp_path), "nightly", sleep=short)
    for other in (submission(tmp_path, train={"epochs": 9}), submission(tmp_path, "other code")):
        with pytest.raises(ConfigError, match=r"--key nightly: run .* other options or another pipeline"):
            cluster.submit(api, other, "nightly", sleep=short)


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
def test_r3_a_create_that_fails_is_one_run(server: Server, api: KfpApi, tmp_path: Path, kind: str, options: dict, key: str | None) -> None:
    server.fault(POST_RUN, kind, times=2, **options)
    submitted = cluster.submit(api, submission(tmp_path), key, sleep=short)
    assert submitted.created
    assert [run["run_id"] for run in runs(server)] == [submitted.run.id]


def test_r3_a_create_that_always_fails_is_no_run_and_says_so(server: Server, api: KfpApi, tmp_path: Path) -> None:
    server.fault(POST_RUN, "refuse", status=500)
    with pytest.raises(Uncertain, match="failed to create the run: 500"):
        cluster.submit(api, submission(tmp_path), "nightly", sleep=short)
    assert runs(server) == []
    assert server.count(POST_RUN) == cluster.FAILURES + 1


@pytest.mark.slow
def test_r3_many_at_once_with_one_key_are_one_run(server: Server, api: KfpApi, tmp_path: Path) -> None:
    cluster.upload(api, made := submission(tmp_path))
    server.fault(POST_RUN, "late", seconds=0.5, times=4)
    outcomes = at_once([lambda: cluster.submit(settled_client(server), made, "nightly") for _ in range(8)])
    (left,) = runs(server)
    assert {outcome.run.id for outcome in outcomes} == {left["run_id"]}
    assert sum(outcome.created for outcome in outcomes) == 1
    assert server.count(POST_RUN) > 1, "they did not meet"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["late", "unseen"])
def test_r3_one_whose_create_takes_long_yields(server: Server, api: KfpApi, tmp_path: Path, kind: str) -> None:
    """The others have decided when it can be seen, even if by its time it was the first."""
    cluster.upload(api, made := submission(tmp_path))
    api.create_experiment("kubert")
    server.fault(POST_RUN, kind, seconds=9.0, times=1)
    first = threading.Thread(target=lambda: outcomes.append(cluster.submit(settled_client(server), made, "nightly")))
    outcomes: list[cluster.Submitted] = []
    first.start()
    while not server.count(POST_RUN):
        time.sleep(0.05)
    outcomes.append(cluster.submit(settled_client(server), made, "nightly"))
    assert outcomes[0].created
    assert first.is_alive()
    first.join()
    (left,) = runs(server)
    assert [outcome.run.id for outcome in outcomes] == [left["run_id"]] * 2


def test_r3_a_later_one_takes_itself_back(server: Server, api: KfpApi, tmp_path: Path) -> None:
    """Also where the first one's creator is gone and can remove nothing."""
    cluster.upload(api, made := submission(tmp_path))
    experiment = api.create_experiment("kubert")
    server.fault(POST_RUN, "late", seconds=1.5, times=1)
    outcomes: list[cluster.Submitted] = []
    later = threading.Thread(target=lambda: outcomes.append(cluster.submit(settled_client(server), made, "nightly", sleep=short)))
    later.start()
    while not server.count(POST_RUN):
        time.sleep(0.05)
    pipeline, version = cluster.upload(api, made)
    first = api.create_run({
        "display_name": "nightly", "experiment_id": experiment, "description": f"x {Mark('nightly', made.digest, 'dead')}",
        "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": version},
    })  # fmt: skip
    later.join()
    assert [run["run_id"] for run in runs(server)] == [first.id]
    assert [(outcome.run.id, outcome.created) for outcome in outcomes] == [(first.id, False)]


@pytest.mark.slow
def test_r3_replies_lost_to_all_who_submit_at_once(server: Server, api: KfpApi, tmp_path: Path) -> None:
    cluster.upload(api, made := submission(tmp_path))
    server.fault(POST_RUN, "lost", times=3)
    outcomes = at_once([lambda: cluster.submit(settled_client(server), made, "nightly") for _ in range(3)])
    (left,) = runs(server)
    assert {outcome.run.id for outcome in outcomes} == {left["run_id"]}


def test_r3_what_a_crashed_submit_left_is_taken_over(server: Server, api: KfpApi, tmp_path: Path) -> None:
    made = submission(tmp_path)
    experiment = api.create_experiment("kubert")
    pipeline, version = cluster.upload(api, made)
    left = api.create_run({
        "display_name": "nightly", "experiment_id": experiment, "description": f"x {Mark('nightly', made.digest, 'dead')}",
        "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": version}, "runtime_config": made.runtime,
    })  # fmt: skip
    taken = cluster.submit(api, made, "nightly", sleep=short)
    assert (taken.run.id, taken.created) == (left.id, False)
    assert len(runs(server)) == 1


def test_r3_a_run_of_that_name_that_is_not_kuberts_is_left_alone(server: Server, api: KfpApi, tmp_path: Path) -> None:
    made = submission(tmp_path)
    experiment = api.create_experiment("kubert")
    pipeline, version = cluster.upload(api, made)
    reference = {"pipeline_id": pipeline, "pipeline_version_id": version}
    theirs = api.create_run({"display_name": "nightly", "experiment_id": experiment, "pipeline_version_reference": reference})
    ours = cluster.submit(api, made, "nightly", sleep=short)
    assert ours.created
    assert {run["run_id"] for run in runs(server)} == {theirs.id, ours.run.id}


@pytest.mark.slow
def test_r3_two_commands_at_once(server: Server) -> None:
    processes = [started("submit", *sets(), "--endpoint", server.url, "--key", "nightly", "--json") for _ in range(2)]
    told = [json.loads(process.communicate(timeout=240)[0]) for process in processes]
    (left,) = runs(server)
    assert [one["run"] for one in told] == [left["run_id"]] * 2
    assert len(server.state.versions) == 1
    assert len(server.state.pipelines) == 1


# R1: two schedulers, or a retry after a lost reply, are one run for one slot


def test_r1_two_applies_at_once_are_one_schedule_with_one_run_per_slot(server: Server, api: KfpApi, tmp_path: Path) -> None:
    server.set_clock(NOON)
    made = submission(tmp_path, schedule=HOURLY)
    at_once([lambda: schedules.apply(settled_client(server), made, quiet, sleep=short) for _ in range(6)])
    (left,) = server.state.schedules.values()
    assert left["status"] == "ENABLED"
    assert slots(server, 3) == Counter({"2030-05-07T13:00:00Z": 1, "2030-05-07T14:00:00Z": 1, "2030-05-07T15:00:00Z": 1})


@pytest.mark.parametrize("kind", ["lost", "cut"])
@pytest.mark.parametrize(
    "call", [POST_SCHEDULE, r"POST .*:enable", r"POST .*:disable", r"DELETE", r"POST .*upload_version", r"POST .*pipelines$"]
)
def test_r1_a_lost_reply_is_one_schedule(server: Server, api: KfpApi, tmp_path: Path, kind: str, call: str) -> None:
    server.set_clock(NOON)
    server.fault(call, kind, times=2)
    schedules.apply(api, submission(tmp_path, schedule=HOURLY), quiet, sleep=short)
    schedules.apply(api, submission(tmp_path, schedule={"cron": "0 */2 * * *"}), quiet, sleep=short)
    (left,) = server.state.schedules.values()
    assert (left["status"], left["trigger"]["cron_schedule"]["cron"]) == (
        "ENABLED",
        "0 0 " + ",".join(map(str, range(0, 24, 2))) + " * * *",
    )


def test_r1_run_now_with_one_key_is_one_run(server: Server, api: KfpApi, tmp_path: Path) -> None:
    schedules.apply(api, submission(tmp_path, schedule=HOURLY), quiet, sleep=short)
    server.fault(POST_RUN, "lost", times=1)
    schedule = schedules.named(api, "news")
    first = schedules.run_now(api, schedule, "backfill", sleep=short)
    assert schedules.run_now(api, schedule, "backfill", sleep=short).run.id == first.run.id
    (left,) = runs(server)
    assert left["runtime_config"]["parameters"] == schedule.parameters
    assert "recurring_run_id" not in left


# R2: a run longer than its period; a pause, then catch-up


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [pytest.param(False, ["18"], id="the-latest"), pytest.param(True, ["13", "14", "15", "16", "17", "18"], id="each")],
)
def test_r2_after_a_pause_the_declared_slots_are_run(
    server: Server, api: KfpApi, tmp_path: Path, catch_up: bool, expected: list[str]
) -> None:
    server.set_clock(NOON)
    schedules.apply(api, submission(tmp_path, schedule={**HOURLY, "catch_up": catch_up}), quiet, sleep=short)
    schedule = schedules.named(api, "news")
    api.enable_schedule(schedule.id, False)
    server.set_clock(NOON + datetime.timedelta(hours=6))
    assert server.state.settle() == []
    api.enable_schedule(schedule.id, True)
    assert [run["scheduled_at"][11:13] for run in finish(server)] == expected


def test_r2_a_run_longer_than_its_period_is_followed_by_the_latest_slot_alone(server: Server, api: KfpApi, tmp_path: Path) -> None:
    server.set_clock(NOON)
    schedules.apply(api, submission(tmp_path, schedule=HOURLY), quiet, sleep=short)
    server.set_clock(NOON + datetime.timedelta(hours=1))
    (long,) = server.state.settle()
    server.set_clock(NOON + datetime.timedelta(hours=5))
    assert server.state.settle() == [], "one at a time"
    server.state.move(long["run_id"], "SUCCEEDED")
    assert [run["scheduled_at"][11:13] for run in finish(server)] == ["17"]


def test_r2_resuming_by_apply_is_what_the_configuration_says(server: Server, api: KfpApi, tmp_path: Path) -> None:
    made = submission(tmp_path, schedule=HOURLY)
    schedules.apply(api, made, quiet, sleep=short)
    api.enable_schedule(schedules.named(api, "news").id, False)
    assert schedules.apply(api, made, quiet, sleep=short).done == ("enabling news",)
    paused = schedules.apply(api, submission(tmp_path, schedule={**HOURLY, "enabled": False}), quiet, sleep=short)
    assert (paused.done, paused.schedule.enabled) == (("pausing news",), False)


# R4: a schedule changed during a run; the running one is unaffected, and no slot is lost or run twice


def test_r4_the_running_one_is_unaffected(server: Server, api: KfpApi, tmp_path: Path) -> None:
    server.set_clock(NOON)
    schedules.apply(api, submission(tmp_path, schedule=HOURLY), quiet, sleep=short)
    server.set_clock(NOON + datetime.timedelta(hours=1))
    (running,) = server.state.settle()
    server.state.move(running["run_id"], "RUNNING")
    schedules.apply(api, submission(tmp_path, schedule=HOURLY, train={"epochs": 9}), quiet, sleep=short)
    assert server.state.runs[running["run_id"]]["state"] == "RUNNING"
    (left,) = server.state.schedules.values()
    assert left["runtime_config"]["parameters"]["epochs"] == 9
    server.state.move(running["run_id"], "SUCCEEDED")
    assert slots(server, 2) == Counter({f"2030-05-07T{hour}:00:00Z": 1 for hour in (13, 14, 15)})


class Crash(Exception):
    pass


@pytest.mark.parametrize(
    "minutes", [pytest.param(5, id="before-the-slot"), pytest.param(45, id="over-a-slot"), pytest.param(105, id="over-two")]
)
@pytest.mark.parametrize("step", range(4))
def test_r4_a_crash_before_each_step_of_a_change_heals(server: Server, api: KfpApi, tmp_path: Path, step: int, minutes: int) -> None:
    server.set_clock(NOON)
    schedules.apply(api, submission(tmp_path, schedule=HOURLY), quiet, sleep=short)
    before = slots(server, 1)
    changed = submission(tmp_path, schedule=HOURLY, train={"epochs": 9})
    with pytest.raises(Crash):
        schedules.apply(api, changed, crash_at(step), sleep=short)
    for _ in range(minutes // 5):
        server.set_clock(server.clock() + datetime.timedelta(minutes=5))
        finish(server)
    schedules.apply(api, changed, quiet, sleep=short)
    found = slots(server, 2)
    (left,) = server.state.schedules.values()
    assert (left["status"], left["runtime_config"]["parameters"]["epochs"]) == ("ENABLED", 9)
    assert set(found.values()) == {1}, "no slot is run twice"
    hours = sorted(int(slot[11:13]) for slot in found)
    due = range(13, hours[-1] + 1)
    missed = [hour for hour in due if hour not in hours]
    # Without catch_up, of the slots missed meanwhile the latest is run.
    assert missed == ([14] if minutes == 105 and step > 0 else [])
    assert before == Counter({"2030-05-07T13:00:00Z": 1})


def test_r4_another_cron_line_does_not_run_its_past(server: Server, api: KfpApi, tmp_path: Path) -> None:
    server.set_clock(NOON)
    schedules.apply(api, submission(tmp_path, schedule={"cron": "0 3 * * *", "catch_up": True}), quiet, sleep=short)
    schedules.apply(api, submission(tmp_path, schedule={"cron": "*/10 * * * *", "catch_up": True}), quiet, sleep=short)
    assert finish(server) == []
    server.set_clock(NOON + datetime.timedelta(minutes=10))
    assert [run["scheduled_at"] for run in finish(server)] == ["2030-05-07T12:30:00Z"]


def test_r4_a_change_at_a_slot_waits_for_its_run(server: Server, api: KfpApi, tmp_path: Path) -> None:
    server.set_clock(NOON)
    schedules.apply(api, submission(tmp_path, schedule=HOURLY), quiet, sleep=short)
    server.set_clock(NOON.replace(minute=59, second=55))
    waits = itertools.count()

    def later(_seconds: float) -> None:
        server.set_clock(server.clock() + datetime.timedelta(seconds=5))
        if next(waits) == 4:
            server.state.tick()

    applied = schedules.apply(api, submission(tmp_path, schedule=HOURLY, train={"epochs": 9}), quiet, sleep=later)
    assert applied.done[0] == "waiting until the slot that is due now has been run"
    assert slots(server, 1) == Counter({"2030-05-07T13:00:00Z": 1, "2030-05-07T14:00:00Z": 1})
    assert [run["runtime_config"]["parameters"]["epochs"] for run in runs(server)] == [3, 9]


# A4, A5, A8: hostile values, places that pods must not reach, images that move


@pytest.mark.parametrize(
    "value", ['"; rm -rf / #', "$(reboot)", "!!python/object:os.system", "a\nb: c", "--flag", "' OR 1=1", "%7B%7B", "é‮"]
)
def test_a4_values_reach_the_run_as_they_are(server: Server, api: KfpApi, tmp_path: Path, value: str) -> None:
    made = submission(tmp_path, data={"label": value, "text": [value]})
    cluster.submit(api, made, None)
    (run,) = runs(server)
    assert json.loads(run["runtime_config"]["parameters"]["data"]) == {"label": value, "text": [value]}


@pytest.mark.parametrize(
    "value", ["gs://bucket/[[RunUUID]].csv", "gs://bucket/{{workflow.name}}.csv", "gs://bucket/{{$.pipeline_job_name}}"]
)
def test_a4_placeholders_are_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="placeholder"), prepared(config(data={"source": value})):
        pass


@pytest.mark.parametrize(
    ("section", "option", "place"),
    [
        ("data", "source", "train.csv"),
        ("data", "source", "file:///etc/passwd"),
        ("data", "source", "http://169.254.169.254/latest/meta-data"),
        ("data", "source", "gs://169.254.169.254/x.csv"),
        ("data", "source", "s3://metadata.google.internal/x.csv"),
        ("data", "source", "s3://user:secret@bucket/x.csv"),
        ("data", "source", "gs://bucket/../other/x.csv"),
        ("data", "test_source", "/data/test.csv"),
        ("data", "tfds_data_dir", "/data/tfds"),
        ("model", "encoder", "hf:/models/bert"),
        ("export", "model_store", "models"),
        ("export", "model_store", "ftp://host/models"),
        ("export", "model_store", "gs://b@d/models"),
        ("cluster", "pipeline_root", "gs://bucket/../root"),
        ("cluster", "state", "s3://localhost/state"),
    ],
)
def test_a5_places_that_pods_cannot_or_must_not_reach_are_refused(section: str, option: str, place: str) -> None:
    with pytest.raises(ConfigError, match=rf"{section}\.{option}") as caught, prepared(config(**{section: {option: place}})):
        pass
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("option", ["train_image", "tools_image"])
def test_a8_an_image_without_a_digest_is_refused(option: str) -> None:
    moving = config(cluster={option: "images.example/train:1.0"})
    with pytest.raises(ConfigError, match=rf"cluster\.{option}=images.example/train:1.0: has no digest"), prepared(moving):
        pass
    with prepared(moving, allow_tags=True) as submitted:
        assert "images.example/train:1.0" in json.loads(str(submitted.arguments["cluster"])).values()


def test_a8_latest_is_refused_whatever_is_allowed() -> None:
    with (
        pytest.raises(ConfigError, match="names no fixed version"),
        prepared(config(cluster={"train_image": "x/train:latest"}), allow_tags=True),
    ):
        pass


@pytest.mark.slow
def test_a6_a_token_is_in_nothing_that_is_shown_or_sent_beyond_its_header(server: Server) -> None:
    server.token = "canary-right"
    wrong = command("submit", *sets(), "--endpoint", server.url, KUBERT_TOKEN="canary-wrong")
    assert wrong.returncode == 2
    assert "canary" not in wrong.stdout + wrong.stderr
    right = command("submit", *sets(), "--endpoint", server.url, "--json", KUBERT_TOKEN="canary-right")
    assert right.returncode == 0
    assert "canary" not in right.stdout + right.stderr + json.dumps(runs(server))


def settled_client(server: Server) -> KfpApi:
    found = client(server.url)
    found.health()
    return found


def at_once(calls: list[Any]) -> list[Any]:
    """What the calls return, each in a thread of its own, started together."""
    together, results = threading.Barrier(len(calls)), [None] * len(calls)

    def one(index: int) -> None:
        together.wait()
        results[index] = calls[index]()

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def finish(server: Server) -> list[dict[str, Any]]:
    """Let the controller run what is due; each run succeeds at once."""
    made = []
    while started := server.state.tick():
        for run in started:
            server.state.move(run["run_id"], "SUCCEEDED")
        made += started
    return made


def slots(server: Server, hours: int) -> Counter[str]:
    """How often each slot has been run, after so many more hours in which each run succeeds."""
    finish(server)
    for _ in range(hours):
        server.set_clock(server.clock() + datetime.timedelta(hours=1))
        finish(server)
    return Counter(run["scheduled_at"] for run in runs(server))


def quiet(_text: str) -> None:
    pass


def crash_at(step: int) -> Any:
    steps = itertools.count()

    def say(_text: str) -> None:
        if next(steps) == step:
            raise Crash

    return say
