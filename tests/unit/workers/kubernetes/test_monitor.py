"""Monitoring a JobSet, against a client that replays recorded objects."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from components.config.cluster import ClusterConfig
from components.errors import DataError
from components.workers.exit_codes import WorkerGroupFailedError, WorkerGroupInterruptedError
from components.workers.kubernetes import monitor
from components.workers.kubernetes.client import JobSetClient, KubernetesObject
from components.workers.kubernetes.monitor import Clocks, JobSetMonitor, PodHistory
from tests.support.kubernetes_objects import GROUP, RECORDED, recorded_jobset, recorded_pod


class ReplayingClient:
    """Answers each poll with the next pair of a JobSet and its pods; the last one again."""

    namespace = "kubert"

    def __init__(self, *polls: tuple[str | None, list[str]], events: tuple[str, ...] = ()) -> None:
        self.polls, self.events = list(polls), events
        self.event_requests: list[str] = []
        self.pod_names: list[str] = []

    def get_jobset(self, name: str) -> KubernetesObject | None:
        jobset, self.pod_names = self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]
        return RECORDED["jobsets"][jobset] if jobset else None

    def list_pods(self, jobset: str) -> list[KubernetesObject]:
        return [RECORDED["pods"][name] for name in self.pod_names]

    def list_events(self, name: str) -> list[KubernetesObject]:
        self.event_requests.append(name)
        return [RECORDED["events"][event] for event in self.events if not name.endswith("-0")]

    def stream_log(self, pod: str, since_seconds: int | None) -> Iterator[str]:
        yield from ()

    def read_last_log_lines(self, pod: str, count: int) -> list[str]:
        return ['{"level": "ERROR", "message": "no more"}', "Traceback"]


@pytest.fixture(autouse=True)
def progress_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv("KUBERT_PROGRESS", str(path))
    monkeypatch.setattr(monitor, "POLL_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr("components.workers.kubernetes.log_follower.RECONNECT_SECONDS", 0.01)
    return path


def messages(path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in path.read_text().splitlines()]


def make_monitor(
    client: ReplayingClient, stop: threading.Event | None = None, **options: Any
) -> JobSetMonitor:
    cluster = ClusterConfig(train_image="x@sha256:0", **options)
    return JobSetMonitor(
        cast(JobSetClient, client), "kubert-train-x", GROUP, cluster, stop or threading.Event()
    )


def test_progress_is_reported_once_until_the_jobset_completes(progress_file: Path) -> None:
    client = ReplayingClient(
        ("queued", []),
        ("queued", []),
        ("starting", []),
        ("starting", ["unschedulable"]),
        ("starting", ["running"]),
        ("completed", ["succeeded"]),
    )
    watched = make_monitor(client)
    watched.wait()
    assert watched.has_ended
    found = messages(progress_file)
    assert found[0] == "queued: the JobSet is suspended has no room for 1 workers yet"
    assert found[1] == "0 of 1 workers run"
    assert found[2].startswith("only 0 of 1 workers started: worker 0 waits: Unschedulable")
    assert found[3:] == ["the worker runs"]


@pytest.mark.parametrize(
    ("jobset", "message"),
    [
        ("restarting", "restart 1 of 1: worker 1 was killed (SIGKILL)"),
        ("restarted for free", "worker 1 was killed (SIGKILL); restarting all workers"),
    ],
)
def test_a_restart_is_reported_with_its_cause_although_the_pod_is_gone(
    jobset: str, message: str, progress_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECORDED["pods"], "killed", as_attempt(RECORDED["pods"]["killed"], 0))
    client = ReplayingClient(("starting", ["killed"]), (jobset, []), ("completed", []))
    make_monitor(client).wait()
    assert message in messages(progress_file)


def test_a_restart_after_a_crash_is_reported_with_the_last_message_of_the_worker(
    progress_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed = as_attempt(RECORDED["pods"]["killed"], 0)
    (container,) = crashed["status"]["containerStatuses"]
    terminated = container["state"]["terminated"] | {
        "exitCode": 1,
        "message": "UnknownError: Stream removed\nsecond line\n",
    }
    status = crashed["status"] | {
        "containerStatuses": [container | {"state": {"terminated": terminated}}]
    }
    monkeypatch.setitem(RECORDED["pods"], "crashed", crashed | {"status": status})
    client = ReplayingClient(("starting", ["crashed"]), ("restarting", []), ("completed", []))
    make_monitor(client).wait()
    assert (
        "restart 1 of 1: worker 1 failed with exit code 1: UnknownError: Stream removed"
        in messages(progress_file)
    )


def as_attempt(pod: dict[str, Any], attempt: int) -> dict[str, Any]:
    labels = {
        **pod["metadata"]["labels"],
        "jobset.sigs.k8s.io/restart-attempt": str(attempt),
        "batch.kubernetes.io/job-completion-index": "1",
    }
    return {**pod, "metadata": {**pod["metadata"], "labels": labels}}


def test_the_error_of_a_worker_is_raised_as_the_user_s() -> None:
    watched = make_monitor(ReplayingClient(("refused", ["refused"])))
    with pytest.raises(DataError, match="SHA-256"):
        watched.wait()
    assert watched.has_ended


def test_a_failure_is_reported_with_last_lines_events_and_a_command() -> None:
    client = ReplayingClient(("starting", ["out of memory"]), events=("no account",))
    watched = make_monitor(client)
    with pytest.raises(WorkerGroupFailedError) as caught:
        watched.wait()
    assert not watched.has_ended  # so that the launcher deletes the JobSet
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("was killed for lack of memory (OOMKilled)")
    assert lines[1] == "what to do: raise cluster.memory, lower train.batch_size"
    assert lines[2].startswith("last lines of worker ")
    assert lines[3:5] == ["  ERROR no more", "  Traceback"]
    assert lines[5] == "events:"
    assert "error looking up service account" in lines[6]
    assert lines[-1].startswith("more: kubectl --namespace kubert describe jobset,job,pod")


def test_events_are_fetched_only_while_workers_start() -> None:
    client = ReplayingClient(("queued", []), ("starting", ["running"]), ("completed", []))
    make_monitor(client).wait()
    assert client.event_requests == []
    client = ReplayingClient(("starting", []), events=("no priority class",))
    with pytest.raises(WorkerGroupFailedError, match=r"cluster\.priority_class"):
        make_monitor(client).wait()
    assert client.event_requests[:2] == ["kubert-train-x", "kubert-train-x-worker-0"]


def test_a_group_that_does_not_start_in_time_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "POLL_INTERVAL_SECONDS", 0.05)
    client = ReplayingClient(("starting", ["unschedulable"]))
    started = time.monotonic()
    with pytest.raises(WorkerGroupFailedError, match=r"within cluster\.pod_start_timeout \(1 s\)"):
        make_monitor(client, pod_start_timeout=1).wait()
    assert time.monotonic() - started > 1


def test_a_jobset_that_someone_deletes_ends_the_group() -> None:
    watched = make_monitor(ReplayingClient((None, [])))
    with pytest.raises(WorkerGroupFailedError, match="was deleted by someone else"):
        watched.wait()
    assert watched.has_ended


def test_a_stop_interrupts_the_group() -> None:
    stop = threading.Event()
    stop.set()
    watched = make_monitor(ReplayingClient(("starting", [])), stop)
    with pytest.raises(WorkerGroupInterruptedError):
        watched.wait()
    assert not watched.has_ended


def test_a_pod_s_ending_is_remembered_and_not_replaced() -> None:
    history = PodHistory()
    history.update([recorded_pod("running", uid="1")])
    ended = recorded_pod("killed", uid="1")
    history.update([ended])
    history.update([recorded_pod("running", uid="1")])
    assert history.pods == [ended]
    history.update([])
    (gone,) = history.pods
    assert (gone.exit_code, gone.is_deleting, history.present) == (137, True, [])


def test_no_time_runs_while_the_jobset_is_queued() -> None:
    clocks = Clocks()
    clocks.update(recorded_jobset("starting"), all_started=False)
    before = clocks.is_starting, clocks.running_seconds > 0
    clocks.update(recorded_jobset("queued"), all_started=False)
    after = clocks.is_starting, clocks.running_seconds > 0
    assert (before, after) == ((True, True), (False, False))


def test_a_restart_starts_the_clock_of_the_attempt_again() -> None:
    clocks = Clocks()
    clocks.update(recorded_jobset("starting"), all_started=False)
    time.sleep(0.05)
    running, starting = clocks.running_seconds, clocks.starting_seconds
    clocks.update(recorded_jobset("restarting"), all_started=False)
    assert clocks.starting_seconds < starting
    assert clocks.running_seconds >= running
