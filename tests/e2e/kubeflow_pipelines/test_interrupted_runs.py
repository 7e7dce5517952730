"""Runs that are stopped, and launchers that are killed, while two workers train."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.real_kfp.polling import wait_for
from tests.support.real_kfp.run_objects import RunObjects
from tests.support.real_kfp.server import KubertCommand

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
RUN_TIMEOUT_SECONDS = 900.0
WORKERS_GONE_SECONDS = 60.0
EPOCHS = 120
"""So many that a training is still running when its launcher has been started again."""
ENDLESS_EPOCHS = 10_000


def submit(kubert: KubertCommand, config: Path, *, seed: int, epochs: int = EPOCHS) -> RunObjects:
    """A run that trains for a minute or more, under way; each seed is a model of its own."""
    options = (
        f"train.epochs={epochs}",
        "train.early_stopping_patience=0",
        f"train.seed={seed}",
        f"export.model_name=news-{seed}",
    )
    assignments = [part for option in options for part in ("--set", option)]
    run = kubert.read_json("submit", str(config), *assignments)
    assert run["created"]
    return RunObjects(run["run"], kubert.server.namespace)


def wait_for_end(kubert: KubertCommand, run: RunObjects) -> None:
    client = kubert.server.connect(kubert.experiment)
    wait_for(
        lambda: client.get_run(run.run_id).has_ended,
        f"the end of run {run.run_id}",
        RUN_TIMEOUT_SECONDS,
    )


def test_a_stopped_run_is_stopped_with_its_workers_and_goes_on_when_submitted_again(
    kubert: KubertCommand, jobset_config: Path
) -> None:
    run = submit(kubert, jobset_config, seed=2, epochs=ENDLESS_EPOCHS)
    run.wait_for_training(40)
    (jobset,) = [found["metadata"]["name"] for found in run.list_jobsets()]
    ended = kubert.run("runs", "stop", run.run_id)
    assert ended.returncode == 0 and f"run {run.run_id} is stopping" in ended.stdout
    stopped = time.monotonic()
    wait_for(lambda: not run.list_workers(jobset), "the end of the workers", WORKERS_GONE_SECONDS)
    print(f"the last worker was gone {time.monotonic() - stopped:.1f} s after the stop")
    wait_for_end(kubert, run)
    shown = kubert.read_json("runs", "show", run.run_id)
    assert (shown["state"], shown["verdict"]) == ("stopped", "stopped")
    again = kubert.run("runs", "stop", run.run_id)
    assert again.returncode == 0 and f"run {run.run_id} has ended already" in again.stdout

    resumed = submit(kubert, jobset_config, seed=2, epochs=ENDLESS_EPOCHS)
    pod = resumed.wait_for_training(41)
    messages = [event.message for event in resumed.read_events()[pod]]
    (step,) = [int(text.split()[4]) for text in messages if text.startswith("going on from step")]
    assert step >= 40
    kubert.run("runs", "stop", resumed.run_id)
    wait_for_end(kubert, resumed)


def kill_process(run: RunObjects, pod: str) -> None:
    run.kill_step(pod)


def delete_pod(run: RunObjects, pod: str) -> None:
    run.kubectl("delete", "pod", pod, "--grace-period=0", "--force")


@pytest.mark.parametrize(
    ("harm", "seed", "starts"),
    [
        pytest.param(kill_process, 3, 2, id="the-launcher-is-killed"),
        pytest.param(delete_pod, 4, 1, id="the-launchers-pod-is-deleted"),
    ],
)
def test_a_run_that_loses_its_launcher_goes_on(
    harm: Callable[[RunObjects, str], None],
    seed: int,
    starts: int,
    kubert: KubertCommand,
    jobset_config: Path,
) -> None:
    """Fault W2."""
    run = submit(kubert, jobset_config, seed=seed)
    pod = run.wait_for_training(40)
    harm(run, pod)
    harmed = time.monotonic()
    wait_for(lambda: run.count_starts("train") >= starts, "the next launcher", 300)
    print(f"the next launcher reported {time.monotonic() - harmed:.1f} s after the harm")
    wait_for_end(kubert, run)
    shown = kubert.read_json("runs", "show", run.run_id)
    assert shown["state"] == "succeeded", shown["verdict"]
    assert shown["verdict"].startswith("released version ")
    (jobset,) = run.list_jobsets()
    assert jobset["status"]["terminalState"] == "Completed"
    assert run.list_workers(jobset["metadata"]["name"]) == []
