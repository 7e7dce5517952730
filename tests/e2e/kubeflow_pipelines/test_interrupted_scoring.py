"""Scorings by two workers that are harmed: which rows are scored twice, and what is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.storage.store import open_store
from tests.support.real_kfp.polling import wait_for
from tests.support.real_kfp.run_objects import RunObjects
from tests.support.real_kfp.scoring_run import (
    UNIT_ROWS,
    ScoringCommand,
    format_texts,
    list_units,
    read_output,
    upload,
)
from tests.support.real_kfp.server import KubertCommand
from tests.support.real_kfp.worker_logs import WorkerLogs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
UNITS = 48
ROWS = UNITS * UNIT_ROWS
RUN_TIMEOUT_SECONDS = 900.0
WORKERS_GONE_SECONDS = 60.0
UNITS_BEFORE_HARM = 8


@dataclass(frozen=True)
class Scoring:
    """The command, what it must write, and the configuration of its pods."""

    command: ScoringCommand
    expected: bytes
    config: Path

    def start(self, to: str) -> tuple[RunObjects, str]:
        """A run of two workers under way, and the name of its JobSet."""
        kubert = self.command.kubert
        submitted = self.command.submit(to, self.config)
        assert submitted["created"]
        run = RunObjects(submitted["run"], kubert.server.namespace)
        (jobset,) = wait_for(run.list_jobsets, "the JobSet", 300)
        return run, jobset["metadata"]["name"]

    def wait_for_end(self, run: RunObjects) -> None:
        client = self.command.kubert.server.connect(self.command.kubert.experiment)
        wait_for(
            lambda: client.get_run(run.run_id).has_ended,
            f"the end of run {run.run_id}",
            RUN_TIMEOUT_SECONDS,
        )


@pytest.fixture(scope="module")
def scoring(
    kubert: KubertCommand,
    scored_release: str,
    jobset_config: Path,
    store_uri: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Scoring:
    source = upload(f"{store_uri}/texts/long.csv", format_texts(ROWS))
    command = ScoringCommand(kubert, scored_release, source)
    expected = command.score_here(tmp_path_factory.mktemp("scored") / "here")
    return Scoring(command, expected, jobset_config)


def find_launcher(run: RunObjects) -> str:
    """The pod of the step `score`."""
    return next(
        pod for pod, events in run.read_events().items() if any(e.step == "score" for e in events)
    )


def find_worker(run: RunObjects, jobset: str) -> str:
    """A worker's pod that runs."""
    return run.list_workers(jobset)[0]


def kill_worker(run: RunObjects, jobset: str) -> None:
    run.kill_module(find_worker(run, jobset), "score", "components.scoring.worker")


def evict_worker(run: RunObjects, jobset: str) -> None:
    run.evict(find_worker(run, jobset))


def kill_launcher(run: RunObjects, _: str) -> None:
    run.kill_step(find_launcher(run))


@pytest.mark.parametrize(
    ("harm", "torn_units", "message"),
    [
        pytest.param(kill_worker, 1, "restart 1 of 3 of worker", id="a-worker-is-killed"),
        pytest.param(evict_worker, 1, "was asked to stop", id="a-worker-is-evicted"),
        pytest.param(kill_launcher, 2, "starting it again (retry 1", id="the-launcher-is-killed"),
    ],
)
def test_only_torn_units_are_scored_twice(
    harm: Callable[[RunObjects, str], None],
    torn_units: int,
    message: str,
    scoring: Scoring,
    store_uri: str,
    tmp_path: Path,
) -> None:
    """Fault P1."""
    to = f"{store_uri}/scored/{harm.__name__}"
    run, jobset = scoring.start(to)
    with WorkerLogs(run, jobset, tmp_path / "logs") as logs:
        wait_for(lambda: len(list_units(to)) >= UNITS_BEFORE_HARM, "the first units", 300)
        before = list_units(to)
        harm(run, jobset)
        harmed = time.monotonic()
        scoring.wait_for_end(run)
        seconds = time.monotonic() - harmed
        scored = logs.list_scored_rows(UNIT_ROWS)
    twice = sum(each.count for each in scored) - ROWS
    print(f"harmed after {len(before)} units; ended {seconds:.1f} s later")
    print(*scored, f"{twice} of {ROWS} rows were scored twice", sep="\n")
    messages = [event.message for events in run.read_events().values() for event in events]
    print(*[text for text in messages if "again" in text or "attached" in text], sep="\n")
    assert read_output(to) == scoring.expected
    assert twice <= torn_units * UNIT_ROWS
    assert any(message in text for text in messages), messages
    assert run.list_workers(jobset) == []
    assert list_units(to) == set()


def test_a_stopped_scoring_leaves_no_worker_and_goes_on_when_submitted_again(
    scoring: Scoring, store_uri: str, tmp_path: Path
) -> None:
    """Fault P1."""
    to, kubert = f"{store_uri}/scored/stopped", scoring.command.kubert
    run, jobset = scoring.start(to)
    wait_for(lambda: len(list_units(to)) >= UNITS_BEFORE_HARM, "the first units", 300)
    stopped = time.monotonic()
    ended = kubert.run("runs", "stop", run.run_id)
    assert ended.returncode == 0 and f"run {run.run_id} is stopping" in ended.stdout
    print(f"the command took {time.monotonic() - stopped:.1f} s")
    wait_for(lambda: not run.list_workers(jobset), "the end of the workers", WORKERS_GONE_SECONDS)
    print(f"the last worker was gone {time.monotonic() - stopped:.1f} s after it began")
    wait_for(lambda: not run.list_jobsets(), "the end of the JobSet", WORKERS_GONE_SECONDS)
    print(f"the JobSet was gone {time.monotonic() - stopped:.1f} s after it began")
    scoring.wait_for_end(run)
    finished = list_units(to)
    assert UNITS_BEFORE_HARM <= len(finished) < UNITS
    assert not open_store(to).exists("manifest.json")

    resumed, jobset = scoring.start(to)
    with WorkerLogs(resumed, jobset, tmp_path / "logs") as logs:
        scoring.wait_for_end(resumed)
        scored = logs.list_scored_rows(UNIT_ROWS)
    print(f"{len(finished)} units were finished", *scored, sep="\n")
    assert sum(each.start for each in scored) == len(finished) * UNIT_ROWS
    assert sum(each.end for each in scored) == ROWS
    assert read_output(to) == scoring.expected
