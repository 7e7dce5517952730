"""A schedule on a real Kubeflow Pipelines, from apply to delete, over three scheduled times.

The source has old rows, new ones between the first two times, none between the second and the
third, and more after the last. While the run of the first time is under way, the schedule gets
another version of the pipeline.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.kubeflow.client import KubeflowClient
from tests.support.real_kfp.dated_rows import upload_rows
from tests.support.real_kfp.polling import wait_for
from tests.support.real_kfp.run_objects import RunObjects
from tests.support.real_kfp.server import KubertCommand
from tests.support.real_kfp.small_run import build_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
NAME = "e2e"
PERIOD = datetime.timedelta(minutes=3)
OLD_ROWS, NEW_ROWS = 600, 20
SPLITS = ("train", "validation", "test")


@dataclass
class ScheduledRuns:
    """What the commands printed, and the runs of the three times, in their order."""

    slots: list[datetime.datetime]
    applied: dict[str, Any] = field(default_factory=dict)
    unchanged: dict[str, Any] = field(default_factory=dict)
    planned: dict[str, Any] = field(default_factory=dict)
    replaced: dict[str, Any] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)


def choose_slots(now: datetime.datetime) -> list[datetime.datetime]:
    """The next three scheduled times; the first is far enough away to apply before it."""
    start = now.replace(minute=0, second=0, microsecond=0)
    count = (now + datetime.timedelta(seconds=40) - start) // PERIOD + 1
    return [start + (count + number) * PERIOD for number in range(3)]


def format_slot(time: datetime.datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%SZ}"


def choose_row_times(slots: list[datetime.datetime]) -> list[datetime.datetime]:
    """Old rows, rows between the first two times, and rows at and after the last one."""
    second = datetime.timedelta(seconds=1)
    old = [slots[0] - datetime.timedelta(minutes=1 + number) for number in range(OLD_ROWS)]
    new = [slots[0] + number * second for number in range(NEW_ROWS)]
    later = [slots[2] + number * second for number in range(NEW_ROWS)]
    return [*old, *new, *later]


@pytest.fixture(scope="module")
def config(store_uri: str, kubert: KubertCommand, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration with a schedule; its source is not written yet."""
    values = build_config(f"{store_uri}/scheduled", backend="local")
    values["data"] = {
        "source": f"{store_uri}/scheduled/rows.csv",
        "text": ["text"],
        "label": "label",
        "time_column": "time",
        "window": "30d",
    }
    minutes = PERIOD.seconds // 60
    values["schedule"] = {"name": NAME, "cron": f"*/{minutes} * * * *", "catch_up": True}
    path = tmp_path_factory.mktemp("config") / "scheduled.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def list_scheduled_runs(client: KubeflowClient) -> list[dict[str, Any]]:
    """Id, state and scheduled time of the runs that schedules have started, oldest time first."""
    experiment_id = client.find_experiment(client.endpoint.experiment)
    runs = client.list_runs(experiment_id) if experiment_id else []
    return sorted(
        (
            {"run": run.id, "slot": format_slot(run.scheduled_time), "ended": run.has_ended}
            for run in runs
            if run.schedule_id and run.scheduled_time
        ),
        key=lambda row: row["slot"],
    )


@pytest.fixture(scope="module")
def three_runs(kubert: KubertCommand, config: Path, store_uri: str) -> ScheduledRuns:
    client = kubert.server.connect(kubert.experiment)
    done = ScheduledRuns(choose_slots(client.server_time()))
    upload_rows(f"{store_uri}/scheduled/rows.csv", choose_row_times(done.slots))
    arguments = ("schedule", "apply", str(config))
    changed = (*arguments, "--set", "cluster.step_cpu=210m")

    done.applied = kubert.read_json(*arguments)
    done.unchanged = kubert.read_json(*arguments)
    wait_for(
        lambda: list_scheduled_runs(client),
        "the run of the first time",
        PERIOD.seconds + 60 + 120,
    )
    done.planned = kubert.read_json(*changed, "--dry-run")
    done.replaced = kubert.read_json(*changed, timeout=300)

    def have_three_ended() -> bool:
        return [run["ended"] for run in list_scheduled_runs(client)[:3]] == [True] * 3

    wait_for(have_three_ended, "the end of three scheduled runs", 4 * PERIOD.seconds + 600)
    kubert.run("schedule", "pause", NAME)
    done.runs = [
        kubert.read_json("runs", "show", run["run"]) for run in list_scheduled_runs(client)[:3]
    ]
    return done


def count_rows(kubert: KubertCommand, run: str) -> int:
    """How many rows the run's tokenize step has read."""
    events = RunObjects(run, kubert.server.namespace).read_events().values()
    (figures,) = [
        event.figures
        for found in events
        for event in found
        if (event.step, event.kind) == ("tokenize", "finished") and event.figures
    ]
    return sum(figures[f"{split}_rows"] for split in SPLITS)


def test_applying_creates_it_and_applying_again_changes_nothing(three_runs: ScheduledRuns) -> None:
    assert three_runs.applied["changed"]
    assert three_runs.applied["next"] == three_runs.slots[0].isoformat(timespec="minutes")
    assert (three_runs.unchanged["changed"], three_runs.unchanged["done"]) == (False, [])
    assert three_runs.unchanged["id"] == three_runs.applied["id"]


def test_each_time_has_one_run_also_when_the_schedule_was_replaced_meanwhile(
    three_runs: ScheduledRuns,
) -> None:
    assert [run["slot"] for run in three_runs.runs] == [
        format_slot(slot) for slot in three_runs.slots
    ]
    assert [run["state"] for run in three_runs.runs] == ["succeeded"] * 3, [
        run["verdict"] for run in three_runs.runs
    ]


def test_a_run_goes_on_when_its_schedule_gets_another_version_of_the_pipeline(
    three_runs: ScheduledRuns,
) -> None:
    assert three_runs.planned["would"] == "replace"
    assert three_runs.replaced["changed"]
    assert three_runs.replaced["id"] != three_runs.applied["id"]
    assert [run["schedule"] for run in three_runs.runs] == [
        three_runs.applied["id"],
        three_runs.replaced["id"],
        three_runs.replaced["id"],
    ]


def test_a_run_reads_the_rows_before_its_time(
    kubert: KubertCommand, three_runs: ScheduledRuns
) -> None:
    assert [count_rows(kubert, run["run"]) for run in three_runs.runs] == [
        OLD_ROWS,
        OLD_ROWS + NEW_ROWS,
        OLD_ROWS + NEW_ROWS,
    ]


def test_a_time_without_new_rows_trains_and_releases_nothing(three_runs: ScheduledRuns) -> None:
    first, second, third = (run["verdict"] for run in three_runs.runs)
    assert first.startswith("released version 1: ")
    assert second.startswith("released version 2: ")
    assert third == second
    assert any("nothing is trained again" in note for note in three_runs.runs[2]["notes"])


def test_a_schedule_is_shown_paused_resumed_run_by_hand_and_deleted(
    kubert: KubertCommand, three_runs: ScheduledRuns
) -> None:
    (row,) = kubert.read_json("schedule", "list")
    assert (row["name"], row["state"], row["next"]) == (NAME, "paused", None)
    shown = kubert.read_json("schedule", "show", NAME)
    assert three_runs.runs[2]["run"] in [run["run"] for run in shown["runs"]]
    resumed = kubert.run("schedule", "resume", NAME)
    assert resumed.stdout.startswith(f"schedule {NAME} is enabled; next run: ")
    assert kubert.run("schedule", "pause", NAME).stdout == f"schedule {NAME} is paused\n"

    by_hand = kubert.read_json("schedule", "run-now", NAME, "--key", f"{NAME}-by-hand")
    assert by_hand["created"]
    again = kubert.read_json("schedule", "run-now", NAME, "--key", f"{NAME}-by-hand")
    assert (again["created"], again["run"]) == (False, by_hand["run"])
    assert kubert.run("runs", "stop", by_hand["run"]).returncode == 0

    deleted = kubert.run("schedule", "delete", NAME)
    assert deleted.stdout == f"schedule {NAME} is deleted; its runs are kept\n"
    assert kubert.read_json("schedule", "list") == []
    assert kubert.run("schedule", "show", NAME).returncode == 2
    kept = {row["run"] for row in kubert.read_json("runs", "list")}
    assert {run["run"] for run in three_runs.runs} <= kept
