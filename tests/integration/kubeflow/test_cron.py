"""Cron lines: what is sent to the server means there what it means here, or is refused."""

from __future__ import annotations

import datetime
import itertools

import pytest
from cronsim import CronSim

from components.config.loading import validate_config
from components.errors import ConfigError
from pipeline.kubeflow.cron import parse_cron, parse_server_cron

START = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)


def build_cron(cron: str, zone: str = "UTC", server: str = "UTC"):
    return parse_cron(
        validate_config(
            {"schedule": {"cron": cron, "time_zone": zone, "server_time_zone": server}}
        ).schedule
    )


@pytest.mark.parametrize(
    ("cron", "zone", "sent"),
    [
        pytest.param("30 2 * * 1", "UTC", "0 30 2 * * 1", id="weekly"),
        pytest.param("30  2 * * 7", "UTC", "0 30 2 * * 0", id="sunday-is-0-there"),
        pytest.param("*/15 * * * *", "UTC", "0 0,15,30,45 * * * *", id="steps-as-numbers"),
        pytest.param(
            "5/20 */6 * jan-mar MON-fri", "UTC", "0 5,25,45 0,6,12,18 * 1,2,3 1,2,3,4,5", id="names"
        ),
        pytest.param("0 3 * * 1-5", "Asia/Kolkata", "0 30 21 * * 0,1,2,3,4", id="the-day-before"),
        pytest.param("0 23,1 * * *", "Asia/Tokyo", "0 0 14,16 * * *", id="over-midnight-each-day"),
        pytest.param(
            "*/15 * * * *",
            "Europe/Berlin",
            "0 0,15,30,45 * * * *",
            id="every-hour-is-alike-anywhere",
        ),
        pytest.param("0 3 * * *", "Etc/GMT+5", "0 0 8 * * *", id="fixed-offset"),
    ],
)
def test_the_expression_that_is_sent(cron: str, zone: str, sent: str) -> None:
    found = build_cron(cron, zone)
    assert found.server_expression == sent
    ours = [
        time.astimezone(datetime.UTC)
        for time in itertools.islice(CronSim(cron, START.astimezone(found.zone)), 200)
    ]
    theirs = list(itertools.islice(CronSim(sent, START), 200))
    assert ours == theirs
    assert list(itertools.islice(found.times_after(START), 200)) == theirs


@pytest.mark.parametrize(
    ("cron", "zone", "message"),
    [
        pytest.param("0 0 3 * * *", "UTC", "has 6 fields; write five", id="six-fields"),
        pytest.param("TZ=UTC 0 3 * * *", "UTC", "has 6 fields", id="zone-in-the-line"),
        pytest.param("@daily", "UTC", "has 1 fields", id="descriptor"),
        pytest.param("61 * * * *", "UTC", "bad minute", id="minute-61"),
        pytest.param("0 0 31 2 *", "UTC", "schedule.cron", id="never"),
        pytest.param("0 0 L * *", "UTC", "L and LW", id="last-day"),
        pytest.param("0 0 * * 1#2", "UTC", "only numbers", id="second-monday"),
        pytest.param("0 0 1 * 1", "UTC", "use one of them", id="both-days"),
        pytest.param("0 0 1; rm * *", "UTC", "6 fields", id="shell"),
        pytest.param("0 0 * * {{x}}", "UTC", "only numbers", id="template"),
        pytest.param(
            "0 3 * * *", "Mars/Olympus", "no time zone is called 'Mars/Olympus'", id="unknown-zone"
        ),
        pytest.param("0 3 * * *", "../../etc/passwd", "no time zone", id="path-as-zone"),
        pytest.param(
            "30 2 * * *", "Europe/Berlin", "cannot be converted exactly to UTC", id="summer-time"
        ),
        pytest.param(
            "0 2 1 * *", "Asia/Kolkata", "cannot be converted exactly", id="first-of-month-moves"
        ),
        pytest.param(
            "0 23,4 * * 1", "Asia/Tokyo", "cannot be converted exactly", id="two-days-of-the-week"
        ),
    ],
)
def test_invalid_expressions_are_refused(cron: str, zone: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"schedule\.(cron|time_zone)") as caught:
        build_cron(cron, zone)
    assert message in str(caught.value)


def test_the_servers_own_zone_needs_no_conversion() -> None:
    found = build_cron("30 2 * * *", "Europe/Berlin", "Europe/Berlin")
    assert found.server_expression == "0 30 2 * * *"
    assert [time.isoformat() for time in itertools.islice(found.times_after(START), 1)] == [
        "2026-11-25T02:30:00+01:00"
    ]


def test_the_latest_time_includes_the_given_one() -> None:
    found = build_cron("0 12 * * *")
    assert found.last_time_until(START) == START
    assert found.last_time_until(
        START - datetime.timedelta(seconds=1)
    ) == START - datetime.timedelta(days=1)
    assert next(found.times_after(START)) == START + datetime.timedelta(days=1)


def test_expressions_of_others_are_not_parsed() -> None:
    assert parse_server_cron("0 0 3 * * *", "UTC", "UTC") is not None
    assert parse_server_cron("@daily", "UTC", "UTC") is None
    assert parse_server_cron("*/5 * * * * *", "UTC", "UTC") is None
    assert parse_server_cron("0 0 3 * * *", "Mars/Olympus", "UTC") is None


def test_no_cron_no_schedule() -> None:
    with pytest.raises(ConfigError, match=r"schedule\.cron: not set"):
        parse_cron(validate_config({}).schedule)
