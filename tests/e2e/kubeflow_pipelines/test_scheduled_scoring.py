"""A schedule that scores: the window of its scheduled time, from and to gs://, and only once."""

from __future__ import annotations

import csv
import datetime
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.real_kfp.polling import wait_for
from tests.support.real_kfp.scoring_run import OUTPUT, read_output, upload
from tests.support.real_kfp.server import KubertCommand
from tests.support.real_kfp.small_run import build_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
NAME = "scoring"
PERIOD = datetime.timedelta(minutes=3)
ROWS = 1500
RUN_TIMEOUT_SECONDS = 900.0


@dataclass(frozen=True)
class ScheduledScoring:
    """The configuration, the scheduled time, where its day's output is, and what a run says."""

    config: Path
    slot: datetime.datetime
    source: str
    to: str
    shown: dict[str, Any]


def choose_slot(now: datetime.datetime) -> datetime.datetime:
    """The next scheduled time that leaves time to apply the schedule before it."""
    start = now.replace(minute=0, second=0, microsecond=0)
    return start + ((now + datetime.timedelta(seconds=40) - start) // PERIOD + 1) * PERIOD


def format_dated_texts(slot: datetime.datetime) -> str:
    """ROWS rows of the hour before the slot, between as many older ones and as many newer ones."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["id", "text", "time"])
    hour = datetime.timedelta(hours=1)
    for name, start in (("old", slot - 2 * hour), ("wanted", slot - hour), ("new", slot)):
        for number in range(ROWS):
            time = start + number * hour / ROWS
            writer.writerow([f"{name}-{number}", f"the {name} text {number}", time.isoformat()])
    return stream.getvalue()


@pytest.fixture(scope="module")
def scheduled_scoring(
    kubert: KubertCommand,
    scored_release: str,
    store_uri: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> ScheduledScoring:
    client = kubert.server.connect(kubert.experiment)
    slot = choose_slot(client.server_time())
    texts, scores = f"{store_uri}/daily/texts", f"{store_uri}/daily/scores"
    upload(f"{texts}/{slot:%Y-%m-%d}.csv", format_dated_texts(slot))
    values = build_config(f"{store_uri}/daily", backend="jobset")
    values |= {
        "data": {"text": ["text"], "time_column": "time", "window": "1h"},
        "score": {
            "release": scored_release,
            "source": f"{texts}/{{date}}.csv",
            "to": f"{scores}/{{date}}",
            "format": "csv",
            "keep": ["id"],
            "workers": 2,
        },
        "schedule": {"name": NAME, "cron": f"*/{PERIOD.seconds // 60} * * * *"},
    }
    config = tmp_path_factory.mktemp("config") / "scored.yaml"
    config.write_text(yaml.safe_dump(values), encoding="utf-8")

    applied = kubert.read_json("schedule", "apply", str(config), "--pipeline", "score")
    assert applied["next"] == slot.isoformat(timespec="minutes")

    def find_run() -> str:
        experiment_id = client.find_experiment(kubert.experiment)
        runs = client.list_runs(experiment_id) if experiment_id else []
        return next((run.id for run in runs if run.scheduled_time == slot), "")

    run = wait_for(find_run, "the scheduled run", PERIOD.seconds + 60 + 120)
    kubert.run("schedule", "pause", f"{NAME}-score")
    wait_for(lambda: client.get_run(run).has_ended, "its end", RUN_TIMEOUT_SECONDS)
    shown = kubert.read_json("runs", "show", run)
    source, to = (f"{each}/{slot:%Y-%m-%d}" for each in (texts, scores))
    return ScheduledScoring(config, slot, f"{source}.csv", to, shown)


def test_the_window_of_the_scheduled_time_is_scored(
    scheduled_scoring: ScheduledScoring, scored_release: str, kubert: KubertCommand, tmp_path: Path
) -> None:
    shown = scheduled_scoring.shown
    assert shown["verdict"] == f"scored {ROWS:,} rows: {scheduled_scoring.to}", shown
    output = read_output(scheduled_scoring.to)
    ids = [row["id"] for row in csv.DictReader(io.StringIO(output.decode()))]
    assert ids == [f"wanted-{number}" for number in range(ROWS)]
    here = kubert.run(
        *(
            "score",
            scored_release,
            "--source",
            scheduled_scoring.source,
            "--text",
            "text",
            "--keep",
            "id",
        ),
        *("--format", "csv", "--to", str(tmp_path), "--set", "data.time_column=time"),
        *("--set", "data.window=1h", "--set", f"data.end_time={scheduled_scoring.slot:%FT%TZ}"),
    )
    assert here.returncode == 0, here.stderr
    assert output == (tmp_path / OUTPUT).read_bytes()


def test_the_same_window_is_not_scored_again(
    scheduled_scoring: ScheduledScoring, scored_release: str, kubert: KubertCommand
) -> None:
    directory = scheduled_scoring.to.rpartition("/")[0]
    ended = kubert.run(
        *("score", scored_release, "--source", scheduled_scoring.source),
        *("--keep", "id", "--format", "csv", "--to", f"{directory}/{{date}}", "--workers", "2"),
        *(
            "--config",
            str(scheduled_scoring.config),
            "--set",
            f"data.end_time={scheduled_scoring.slot:%FT%TZ}",
        ),
        *("--cluster", "--wait"),
        timeout=RUN_TIMEOUT_SECONDS,
    )
    assert ended.returncode == 0, ended.stderr
    assert f"scored before: {scheduled_scoring.to}" in ended.stdout
