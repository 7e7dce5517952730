"""Schedules under faults: concurrency, lost replies, pauses, long runs, changes, crashes."""

from __future__ import annotations

import datetime
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.kubeflow import schedules
from pipeline.kubeflow.client import KubeflowClient
from tests.support.fake_kfp.clients import (
    build_submission,
    new_checked_client,
    run_concurrently,
    sleep_briefly,
)
from tests.support.fake_kfp.server import FakeServer

POST_RUN, POST_SCHEDULE = r"POST /apis/v2beta1/runs$", r"POST /apis/v2beta1/recurringruns$"
HOURLY = {"cron": "0 * * * *"}
NOON = datetime.datetime(2030, 5, 7, 12, 20, tzinfo=datetime.UTC)


def list_runs(server: FakeServer) -> list[dict[str, Any]]:
    return list(server.state.runs.values())


def test_concurrent_applies_make_one_schedule_with_one_run_per_time(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R1."""
    server.set_clock(NOON)
    made = build_submission(tmp_path, schedule=HOURLY)
    run_concurrently(
        [
            lambda: schedules.apply_schedule(
                new_checked_client(server), made, quiet, sleep=sleep_briefly
            )
            for _ in range(6)
        ]
    )
    (left,) = server.state.schedules.values()
    assert left["status"] == "ENABLED"
    assert count_runs_per_time(server, 3) == Counter(
        {"2030-05-07T13:00:00Z": 1, "2030-05-07T14:00:00Z": 1, "2030-05-07T15:00:00Z": 1}
    )


@pytest.mark.parametrize("kind", ["lost", "cut"])
@pytest.mark.parametrize(
    "call",
    [
        POST_SCHEDULE,
        r"POST .*:enable",
        r"POST .*:disable",
        r"DELETE",
        r"POST .*upload_version",
        r"POST .*pipelines$",
    ],
)
def test_a_lost_reply_makes_one_schedule(
    server: FakeServer, client: KubeflowClient, tmp_path: Path, kind: str, call: str
) -> None:
    """Fault R1."""
    server.set_clock(NOON)
    server.add_fault(call, kind, times=2)
    schedules.apply_schedule(
        client, build_submission(tmp_path, schedule=HOURLY), quiet, sleep=sleep_briefly
    )
    schedules.apply_schedule(
        client,
        build_submission(tmp_path, schedule={"cron": "0 */2 * * *"}),
        quiet,
        sleep=sleep_briefly,
    )
    (left,) = server.state.schedules.values()
    assert (left["status"], left["trigger"]["cron_schedule"]["cron"]) == (
        "ENABLED",
        "0 0 " + ",".join(map(str, range(0, 24, 2))) + " * * *",
    )


def test_run_now_with_one_key_is_one_run(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R1."""
    schedules.apply_schedule(
        client, build_submission(tmp_path, schedule=HOURLY), quiet, sleep=sleep_briefly
    )
    server.add_fault(POST_RUN, "lost", times=1)
    schedule = schedules.get_schedule(client, "news")
    first = schedules.run_schedule_now(client, schedule, "backfill", sleep=sleep_briefly)
    assert (
        schedules.run_schedule_now(client, schedule, "backfill", sleep=sleep_briefly).run.id
        == first.run.id
    )
    (left,) = list_runs(server)
    assert left["runtime_config"]["parameters"] == schedule.parameters
    assert "recurring_run_id" not in left


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        pytest.param(False, ["18"], id="the-latest"),
        pytest.param(True, ["13", "14", "15", "16", "17", "18"], id="each"),
    ],
)
def test_after_a_pause_the_times_are_run_as_configured(
    server: FakeServer, client: KubeflowClient, tmp_path: Path, catch_up: bool, expected: list[str]
) -> None:
    """Fault R2."""
    server.set_clock(NOON)
    schedules.apply_schedule(
        client,
        build_submission(tmp_path, schedule={**HOURLY, "catch_up": catch_up}),
        quiet,
        sleep=sleep_briefly,
    )
    schedule = schedules.get_schedule(client, "news")
    client.set_schedule_enabled(schedule.id, False)
    server.set_clock(NOON + datetime.timedelta(hours=6))
    assert server.state.start_all_due_runs() == []
    client.set_schedule_enabled(schedule.id, True)
    assert [run["scheduled_at"][11:13] for run in finish(server)] == expected


def test_a_run_longer_than_its_period_is_followed_by_the_latest_time_alone(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R2."""
    server.set_clock(NOON)
    schedules.apply_schedule(
        client, build_submission(tmp_path, schedule=HOURLY), quiet, sleep=sleep_briefly
    )
    server.set_clock(NOON + datetime.timedelta(hours=1))
    (long,) = server.state.start_all_due_runs()
    server.set_clock(NOON + datetime.timedelta(hours=5))
    assert server.state.start_all_due_runs() == [], "one at a time"
    server.state.move_run(long["run_id"], "SUCCEEDED")
    assert [run["scheduled_at"][11:13] for run in finish(server)] == ["17"]


def test_apply_resumes_and_pauses_as_configured(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R2."""
    made = build_submission(tmp_path, schedule=HOURLY)
    schedules.apply_schedule(client, made, quiet, sleep=sleep_briefly)
    client.set_schedule_enabled(schedules.get_schedule(client, "news").id, False)
    assert schedules.apply_schedule(client, made, quiet, sleep=sleep_briefly).actions == (
        "enabling news",
    )
    paused = schedules.apply_schedule(
        client,
        build_submission(tmp_path, schedule={**HOURLY, "enabled": False}),
        quiet,
        sleep=sleep_briefly,
    )
    assert (paused.actions, paused.schedule.enabled) == (("pausing news",), False)


def test_a_change_does_not_affect_the_run_in_progress(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R4."""
    server.set_clock(NOON)
    schedules.apply_schedule(
        client, build_submission(tmp_path, schedule=HOURLY), quiet, sleep=sleep_briefly
    )
    server.set_clock(NOON + datetime.timedelta(hours=1))
    (running,) = server.state.start_all_due_runs()
    server.state.move_run(running["run_id"], "RUNNING")
    schedules.apply_schedule(
        client,
        build_submission(tmp_path, schedule=HOURLY, train={"epochs": 9}),
        quiet,
        sleep=sleep_briefly,
    )
    assert server.state.runs[running["run_id"]]["state"] == "RUNNING"
    (left,) = server.state.schedules.values()
    assert left["runtime_config"]["parameters"]["epochs"] == 9
    server.state.move_run(running["run_id"], "SUCCEEDED")
    assert count_runs_per_time(server, 2) == Counter(
        {f"2030-05-07T{hour}:00:00Z": 1 for hour in (13, 14, 15)}
    )


class CrashError(Exception):
    pass


@pytest.mark.parametrize(
    "minutes",
    [
        pytest.param(5, id="before-the-slot"),
        pytest.param(45, id="over-a-slot"),
        pytest.param(105, id="over-two"),
    ],
)
@pytest.mark.parametrize("step", range(4))
def test_a_change_that_crashed_before_any_action_is_completed_by_the_next_apply(
    server: FakeServer, client: KubeflowClient, tmp_path: Path, step: int, minutes: int
) -> None:
    """Fault R4."""
    server.set_clock(NOON)
    schedules.apply_schedule(
        client, build_submission(tmp_path, schedule=HOURLY), quiet, sleep=sleep_briefly
    )
    before = count_runs_per_time(server, 1)
    changed = build_submission(tmp_path, schedule=HOURLY, train={"epochs": 9})
    with pytest.raises(CrashError):
        schedules.apply_schedule(client, changed, crash_at(step), sleep=sleep_briefly)
    for _ in range(minutes // 5):
        server.set_clock(server.clock() + datetime.timedelta(minutes=5))
        finish(server)
    schedules.apply_schedule(client, changed, quiet, sleep=sleep_briefly)
    found = count_runs_per_time(server, 2)
    (left,) = server.state.schedules.values()
    assert (left["status"], left["runtime_config"]["parameters"]["epochs"]) == ("ENABLED", 9)
    assert set(found.values()) == {1}, "no slot is run twice"
    hours = sorted(int(slot[11:13]) for slot in found)
    due = range(13, hours[-1] + 1)
    missed = [hour for hour in due if hour not in hours]
    # Without catch_up, of the slots missed meanwhile the latest is run.
    assert missed == ([14] if minutes == 105 and step > 0 else [])
    assert before == Counter({"2030-05-07T13:00:00Z": 1})


def test_another_cron_expression_does_not_run_its_past_times(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R4."""
    server.set_clock(NOON)
    schedules.apply_schedule(
        client,
        build_submission(tmp_path, schedule={"cron": "0 3 * * *", "catch_up": True}),
        quiet,
        sleep=sleep_briefly,
    )
    schedules.apply_schedule(
        client,
        build_submission(tmp_path, schedule={"cron": "*/10 * * * *", "catch_up": True}),
        quiet,
        sleep=sleep_briefly,
    )
    assert finish(server) == []
    server.set_clock(NOON + datetime.timedelta(minutes=10))
    assert [run["scheduled_at"] for run in finish(server)] == ["2030-05-07T12:30:00Z"]


def test_a_change_at_a_scheduled_time_waits_for_its_run(
    server: FakeServer, client: KubeflowClient, tmp_path: Path
) -> None:
    """Fault R4."""
    server.set_clock(NOON)
    schedules.apply_schedule(
        client, build_submission(tmp_path, schedule=HOURLY), quiet, sleep=sleep_briefly
    )
    server.set_clock(NOON.replace(minute=59, second=55))
    waits = itertools.count()

    def later(_seconds: float) -> None:
        server.set_clock(server.clock() + datetime.timedelta(seconds=5))
        if next(waits) == 4:
            server.state.start_due_runs()

    applied = schedules.apply_schedule(
        client, build_submission(tmp_path, schedule=HOURLY, train={"epochs": 9}), quiet, sleep=later
    )
    assert applied.actions[0] == "waiting until the run that is due now has started"
    assert count_runs_per_time(server, 1) == Counter(
        {"2030-05-07T13:00:00Z": 1, "2030-05-07T14:00:00Z": 1}
    )
    assert [run["runtime_config"]["parameters"]["epochs"] for run in list_runs(server)] == [3, 9]


def finish(server: FakeServer) -> list[dict[str, Any]]:
    """Let the controller run what is due; each run succeeds at once."""
    made = []
    while started := server.state.start_due_runs():
        for run in started:
            server.state.move_run(run["run_id"], "SUCCEEDED")
        made += started
    return made


def count_runs_per_time(server: FakeServer, hours: int) -> Counter[str]:
    """How often each slot has been run, after so many more hours in which each run succeeds."""
    finish(server)
    for _ in range(hours):
        server.set_clock(server.clock() + datetime.timedelta(hours=1))
        finish(server)
    return Counter(run["scheduled_at"] for run in list_runs(server))


def quiet(_text: str) -> None:
    pass


def crash_at(step: int) -> Any:
    steps = itertools.count()

    def say(_text: str) -> None:
        if next(steps) == step:
            raise CrashError

    return say
