"""`kubert schedule` as a person meets it, and what the server is told."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
import yaml

from components.errors import ConfigError
from pipeline import definition
from pipeline.kubeflow import schedules
from pipeline.kubeflow.submission import prepare_submission
from tests.support.fake_kfp.clients import (
    InvokeCommand,
    build_config,
    build_submission,
    compile_package,
    new_client,
    set_arguments,
    sleep_briefly,
)
from tests.support.fake_kfp.server import FakeServer

NIGHTLY = "schedule.cron=30 2 * * *"


@pytest.fixture
def apply(server: FakeServer, kubert: InvokeCommand):
    def call(*options: str, flags: tuple[str, ...] = ()) -> tuple[int, str, str]:
        return kubert(
            "schedule", "apply", *set_arguments(*options), "--endpoint", server.url, *flags
        )

    return call


def test_applying_makes_it_and_applying_again_does_nothing(server: FakeServer, apply) -> None:
    server.set_clock(datetime.datetime(2030, 5, 7, 12, 20, tzinfo=datetime.UTC))
    code, out, _ = apply(NIGHTLY)
    assert code == 0
    assert (
        out == "creating news\nenabling news\n"
        "schedule news: updated to the configuration; next run: 2030-05-08T02:30+00:00\n"
    )
    (made,) = server.state.schedules.values()
    assert made["trigger"] == {"cron_schedule": {"cron": "0 30 2 * * *"}}
    assert (made["max_concurrency"], made["no_catchup"], made["status"]) == ("1", True, "ENABLED")
    before = len(server.log)
    code, out, _ = apply(NIGHTLY)
    assert (code, out) == (
        0,
        "schedule news: unchanged; next run: 2030-05-08T02:30+00:00\n",
    )
    assert all(line.startswith("GET") for line in server.log[before:])


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        pytest.param(["schedule.max_concurrent_runs=3"], "max_concurrency", "3", id="concurrency"),
        pytest.param(["schedule.catch_up=true"], "no_catchup", None, id="catch-up"),
        pytest.param(["schedule.enabled=false"], "status", "DISABLED", id="paused"),
        pytest.param(["schedule.name=My own"], "display_name", "My own", id="name"),
        pytest.param(
            ["cluster.service_account=trainer"], "service_account", "trainer", id="account"
        ),
        pytest.param(
            ["schedule.time_zone=Asia/Kolkata"],
            "trigger",
            {"cron_schedule": {"cron": "0 0 21 * * *"}},
            id="zone",
        ),
    ],
)
def test_what_the_configuration_says_is_what_the_server_holds(
    server: FakeServer, apply, options: list[str], field: str, value: object
) -> None:
    assert apply(NIGHTLY, *options)[0] == 0
    (made,) = server.state.schedules.values()
    assert made.get(field) == value


def test_a_change_replaces_it_and_says_each_step(server: FakeServer, apply) -> None:
    apply(NIGHTLY)
    (old,) = server.state.schedules
    code, out, _ = apply(NIGHTLY, "train.epochs=9", flags=("--json",))
    shown = json.loads(out)
    (new,) = server.state.schedules.values()
    assert (code, shown["changed"], shown["id"]) == (0, True, new["recurring_run_id"])
    assert [step.split()[0] for step in shown["done"]] == [
        "pausing",
        "creating",
        "deleting",
        "enabling",
    ]
    assert old != new["recurring_run_id"]
    assert new["runtime_config"]["parameters"]["epochs"] == 9


def test_a_dry_run_says_what_would_be_done(server: FakeServer, apply) -> None:
    for would, options in (
        ("create", []),
        ("nothing", []),
        ("replace", ["train.epochs=9"]),
        ("enable or pause", ["schedule.enabled=false"]),
    ):
        before = len(server.log)
        code, out, _ = apply(NIGHTLY, *options, flags=("--dry-run",))
        planned = yaml.safe_load(out)
        assert (code, planned["would"]) == (0, would)
        assert len(planned["slots"]) == 5
        assert all(line.startswith("GET") for line in server.log[before:])
        if would == "create":
            apply(NIGHTLY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param([], "schedule.cron: not set", id="no-cron"),
        pytest.param(["schedule.cron=0 0 3 * * *"], "write five", id="six-fields"),
        pytest.param(
            [NIGHTLY, "schedule.time_zone=Europe/Berlin"],
            "cannot be converted exactly to UTC",
            id="summer-time",
        ),
        pytest.param(
            [NIGHTLY, "data.end_time=2030-01-01"],
            "a schedule sets it to each run's scheduled time",
            id="until",
        ),
        pytest.param(
            [NIGHTLY, "schedule.max_concurrent_runs=11"],
            "schedule.max_concurrent_runs",
            id="concurrency",
        ),
        pytest.param([NIGHTLY, "schedule.name='{{x}}'"], "schedule.name", id="a4-name"),
    ],
)
def test_a_user_error_is_reported_before_any_request(
    server: FakeServer, apply, options: list[str], message: str
) -> None:
    code, out, err = apply(*options)
    assert (code, out) == (2, "")
    assert message in err
    assert server.log == []


def test_an_older_server_that_tells_no_slot_is_refused(server: FakeServer, apply) -> None:
    server.state.version = "2.16.1"
    code, _, err = apply(NIGHTLY)
    assert code == 2
    assert "schedules need 2.17 or newer" in err


def test_a_schedule_of_that_name_that_is_not_kuberts_is_left_alone(
    server: FakeServer, apply
) -> None:
    apply(NIGHTLY)
    (theirs,) = server.state.schedules.values()
    theirs["description"] = "by hand"
    code, _, err = apply(NIGHTLY)
    assert code == 2
    assert "not kubert's; choose another name" in err
    assert list(server.state.schedules.values()) == [theirs]


def test_list_show_pause_resume_run_now_and_delete(
    server: FakeServer, apply, kubert: InvokeCommand
) -> None:
    server.set_clock(datetime.datetime(2030, 5, 7, 12, 20, tzinfo=datetime.UTC))
    at = ("--endpoint", server.url)
    assert "no schedules" in kubert("schedule", "list", *at)[1]
    apply("schedule.cron=0 9 * * 1-5", "schedule.time_zone=Asia/Kolkata")
    server.set_clock(datetime.datetime(2030, 5, 8, 3, 31, tzinfo=datetime.UTC))
    (run,) = server.state.start_all_due_runs()
    (row,) = json.loads(kubert("schedule", "list", *at, "--json")[1])
    assert (row["state"], row["next"], row["last run"]) == (
        "enabled",
        "2030-05-09T09:00+05:30",
        "pending",
    )
    shown = json.loads(kubert("schedule", "show", "news", *at, "--json")[1])
    assert shown["slots"][:2] == ["2030-05-09T09:00+05:30", "2030-05-10T09:00+05:30"]
    assert [(one["run"], one["slot"]) for one in shown["runs"]] == [
        (run["run_id"], "2030-05-08 03:30:00Z")
    ]
    assert "2030-05-09T09:00+05:30" in kubert("schedule", "show", "news", *at)[1]
    assert kubert("schedule", "pause", "news", *at)[1] == "schedule news is paused\n"
    assert kubert("schedule", "pause", "news", *at)[1] == "schedule news is paused already\n"
    assert (
        kubert("schedule", "resume", "news", *at)[1]
        == "schedule news is enabled; next run: 2030-05-09T09:00+05:30\n"
    )
    shown = json.loads(kubert("schedule", "run-now", "news", *at, "--json")[1])
    by_hand = server.state.runs[shown["run"]]
    assert by_hand["pipeline_version_reference"] == run["pipeline_version_reference"]
    assert (
        kubert("schedule", "delete", "news", *at)[1]
        == "schedule news is deleted; its runs are kept\n"
    )
    assert server.state.schedules == {}
    assert server.state.runs[run["run_id"]]["state"] == "PENDING"
    for action in ("show", "pause", "resume", "run-now", "delete"):
        code, _, err = kubert("schedule", action, "news", *at)
        assert code == 2
        assert "no schedule is called news" in err


def test_the_slot_is_the_end_of_the_data(tmp_path: Path) -> None:
    with prepare_submission(
        build_config(
            data={"source": "gs://bucket/{date}.csv", "time_column": "when", "window": "7d"},
            schedule={"cron": "0 3 * * *"},
        ),
        scheduled=True,
    ) as made:
        spec = next(yaml.safe_load_all(made.package.read_text()))
        until = spec["root"]["dag"]["tasks"]["tokenize"]["inputs"]["parameters"]["end_time"]
        assert until == {"runtimeValue": {"constant": "{{$.pipeline_job_schedule_time_utc}}"}}
        assert made.arguments["source"] == "gs://bucket/{date}.csv"
    assert (
        definition.PIPELINE_NAME.encode()
        in compile_package(scheduled=True)
        != compile_package(scheduled=False)
    )


def test_two_schedules_live_side_by_side(server: FakeServer, tmp_path: Path) -> None:
    api = new_client(server.url)
    api.get_health()
    for name in ("a", "b"):
        schedules.apply_schedule(
            api,
            build_submission(tmp_path, schedule={"cron": "0 3 * * *", "name": name}),
            lambda text: None,
            sleep_briefly,
        )
    assert sorted(item["display_name"] for item in server.state.schedules.values()) == ["a", "b"]


def test_constant_changes_by_others_are_an_error(server: FakeServer, tmp_path: Path) -> None:
    api = new_client(server.url)
    api.get_health()
    made = build_submission(tmp_path, schedule={"cron": "0 3 * * *"})

    def interfere(_text: str) -> None:
        for item in list(server.state.schedules.values()):
            item["status"] = "DISABLED"

    enabling = server.state.set_schedule_enabled
    server.state.set_schedule_enabled = lambda identifier, enabled: enabling(identifier, False)  # type: ignore[method-assign]
    with pytest.raises(schedules.ScheduleConflictError, match="kept changing"):
        schedules.apply_schedule(api, made, interfere, sleep_briefly)


def test_no_schedule_without_cron() -> None:
    with (
        pytest.raises(ConfigError, match=r"schedule\.cron"),
        prepare_submission(build_config(), scheduled=True) as made,
    ):
        schedules.desired_schedule(made)
