"""Independent workers on Kubernetes: their JobSet, and what its pods mean."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import yaml

from components.config.cluster import ClusterConfig
from components.errors import DataError
from components.progress import StepName
from components.workers import exit_codes
from components.workers.exit_codes import WorkerGroupFailedError
from components.workers.group import WorkerGroup
from components.workers.kubernetes import monitor
from components.workers.kubernetes.client import JobSetClient, KubernetesObject
from components.workers.kubernetes.independent_workers import (
    describe_restart,
    find_exhausted_worker,
    select_newest,
)
from components.workers.kubernetes.jobset_manifest import LauncherPod, render_jobset
from components.workers.kubernetes.monitor import JobSetMonitor
from components.workers.kubernetes.status import WorkerPod, parse_pod
from tests.support.kubernetes_objects import RECORDED

GOLDEN = Path(__file__).with_name("golden_independent_jobset.yaml")
CLUSTER = ClusterConfig(
    train_image="registry.example/kubert-train@sha256:" + "0" * 64,
    gpus=1,
    queue="gpus",
    priority_class="batch",
    topology_key="topology.kubernetes.io/zone",
)
GROUP = WorkerGroup(
    step=StepName.SCORE,
    workers=2,
    module="components.scoring.worker",
    job_document="{}",
    directory="gs://data/scores",
    max_restarts=1,
    is_finished=lambda: False,
    workers_option="score.workers",
    independent=True,
)


def recorded_pod(name: str) -> WorkerPod:
    return parse_pod(RECORDED["pods"][f"independent, {name}"], "score")


EVICTED, FIRST, LAST = map(recorded_pod, ("evicted", "failed once", "failed again"))


def test_the_whole_jobset_is_the_golden_one() -> None:
    """To refresh it: `yaml.safe_dump(found, sort_keys=False, width=140)`; review the difference."""
    launcher = LauncherPod(namespace="kubert", name="score-x", uid="b1946ac9", run="run-7")
    found = render_jobset(GROUP, "gs://data/scores/jobs/x.json", CLUSTER, launcher)
    assert yaml.safe_load(GOLDEN.read_text()) == json.loads(json.dumps(found))


def test_pods_are_numbered_by_the_failures_of_their_index() -> None:
    assert [(pod.rank, pod.attempt, pod.failures) for pod in (EVICTED, FIRST, LAST)] == [
        (0, 0, 0),
        (1, 0, 0),
        (1, 1, 1),
    ]
    assert select_newest([LAST, FIRST, EVICTED]) == [EVICTED, LAST]
    stopped = {
        "metadata": {
            "name": "x",
            "uid": "x",
            "annotations": {
                "batch.kubernetes.io/job-index-failure-count": "1",
                "batch.kubernetes.io/job-index-ignored-failure-count": "2",
            },
        }
    }
    assert (parse_pod(stopped, "score").attempt, parse_pod(stopped, "score").failures) == (3, 1)


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        pytest.param(FIRST, "restart 1 of 1 of worker 1: it failed with exit code 3", id="failed"),
        pytest.param(LAST, None, id="failed-once-too-often"),
        pytest.param(
            EVICTED,
            "worker 0 was asked to stop (EvictionByEvictionAPI); starting it again",
            id="evicted",
        ),
        pytest.param(
            replace(FIRST, exit_code=exit_codes.PREEMPTED),
            "worker 1 was asked to stop; starting it again",
            id="asked-to-stop",
        ),
        pytest.param(replace(FIRST, exit_code=65), None, id="rejected-its-input"),
        pytest.param(replace(FIRST, exit_code=0, phase="Succeeded"), None, id="finished"),
    ],
)
def test_a_restart_is_described_by_how_the_pod_ended(pod: WorkerPod, message: str | None) -> None:
    assert describe_restart(pod, max_restarts=1) == message


def test_the_worker_that_may_not_be_restarted_is_the_cause() -> None:
    earlier = replace(FIRST, rank=0, ended_at="2000-01-01T00:00:00Z")
    assert find_exhausted_worker([earlier, EVICTED, LAST], max_restarts=1) == LAST
    assert find_exhausted_worker([earlier, EVICTED], max_restarts=1) is None


class Cluster:
    """Answers each poll with the next JobSet and its pods; every worker's log has progress."""

    namespace = "kubert"

    def __init__(self, *polls: tuple[str, list[KubernetesObject]]) -> None:
        self.polls = list(polls)

    def get_jobset(self, name: str) -> KubernetesObject:
        jobset, self.pods = self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]
        return cast(KubernetesObject, RECORDED["jobsets"][jobset])

    def list_pods(self, jobset: str) -> list[KubernetesObject]:
        return self.pods

    def list_events(self, name: str) -> list[KubernetesObject]:
        return []

    def stream_log(self, pod: str, since_seconds: int | None) -> Iterator[str]:
        event = '{"step": "score", "message": "scoring", "done": 5, "total": 9}'
        yield f"2026-11-29T19:00:00.000000001Z {event}"
        yield f"2026-11-29T19:00:01.000000001Z last line of {pod}"

    def read_last_log_lines(self, pod: str, count: int) -> list[str]:
        return []


@pytest.fixture(autouse=True)
def progress_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv("KUBERT_PROGRESS", str(path))
    monkeypatch.setattr(monitor, "POLL_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr("components.workers.kubernetes.log_follower.RECONNECT_SECONDS", 0.01)
    return path


def pods(*names: str) -> list[KubernetesObject]:
    return [RECORDED["pods"][f"independent, {name}"] for name in names]


def wait(*polls: tuple[str, list[KubernetesObject]]) -> None:
    client = cast(JobSetClient, Cluster(*polls))
    JobSetMonitor(client, "kubert-score-x", GROUP, CLUSTER, threading.Event()).wait()


def test_each_restart_is_reported_once_and_the_progress_of_all_is_added_up(
    progress_file: Path,
) -> None:
    present = pods("evicted", "failed once")
    wait(("starting", present), ("starting", present), ("completed", present))
    events = [json.loads(line) for line in progress_file.read_text().splitlines()]
    restarts = [event["message"] for event in events if "restart" in event.get("message", "")]
    assert restarts == ["restart 1 of 1 of worker 1: it failed with exit code 3"]
    counted = [(event["done"], event.get("total")) for event in events if "done" in event]
    assert counted == [(5, None), (10, 18)]


def test_a_worker_that_fails_too_often_is_named_with_its_own_last_lines() -> None:
    present = pods("evicted", "failed once", "failed again")
    with pytest.raises(WorkerGroupFailedError) as caught:
        wait(("starting", present), ("independent, out of restarts", present))
    first, _, title, line, *_ = str(caught.value).splitlines()
    assert first == (
        "the score step failed after 1 restarts (at most 1): "
        f"worker 1 ({LAST.name} on node node-0) failed with exit code 3"
    )
    assert (title, line) == ("last lines of worker 1:", f"  last line of {LAST.name}")


def test_an_error_of_the_user_ends_the_group_with_the_worker_s_message() -> None:
    (pod,) = json.loads(json.dumps(pods("failed once")))
    (status,) = pod["status"]["containerStatuses"]
    status["state"]["terminated"] |= {"exitCode": 65, "message": "row 7 is wrong"}
    with pytest.raises(DataError, match=r"^row 7 is wrong$"):
        wait(("independent, out of restarts", [pod]))
