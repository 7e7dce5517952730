"""Creating, adopting and leaving a JobSet, in a namespace whose JobSets follow a script."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from components.config.cluster import ClusterConfig
from components.errors import ConfigError
from components.progress import StepName
from components.storage.store import open_store
from components.workers import exit_codes
from components.workers.exit_codes import WorkerGroupInterruptedError
from components.workers.kubernetes import launcher, monitor
from components.workers.kubernetes.client import JobSetClient, KubernetesObject
from components.workers.kubernetes.jobset_manifest import SPEC_DIGEST_ANNOTATION
from components.workers.kubernetes.monitor import JobSetDeletedError, LauncherLostError
from components.workers.launcher_heartbeat import LauncherHeartbeat
from tests.support.kubernetes_objects import GROUP, RECORDED

NAME, OWN_POD, OTHER_POD = "kubert-train-x", "own-pod", "pod-of-another-launcher"
INTERVAL = 0.02
LOST = "refused"
"""The recorded state of a JobSet whose worker ended with a code that is never restarted."""


def make_jobset(state: str, *, owner: str = OWN_POD) -> KubernetesObject:
    """A recorded JobSet as that of `GROUP`."""
    found: KubernetesObject = copy.deepcopy(RECORDED["jobsets"][state])
    found["metadata"] |= {
        "name": NAME,
        "namespace": "kubert",
        "annotations": {SPEC_DIGEST_ANNOTATION: "digest"},
        "ownerReferences": [{"kind": "Pod", "name": owner, "uid": owner}],
    }
    return found


def make_lost_pod() -> KubernetesObject:
    pod: KubernetesObject = copy.deepcopy(RECORDED["pods"]["refused"])
    for container in pod["status"]["containerStatuses"]:
        container["state"]["terminated"]["exitCode"] = exit_codes.LAUNCHER_LOST
    return pod


class ScriptedNamespace:
    """At most one JobSet, which takes the states of its script poll by poll; None: it is gone."""

    namespace = "kubert"

    def __init__(self, *scripts: list[str | None], adopted: list[str | None] | None = None) -> None:
        """`scripts` are those of the JobSets that are created, `adopted` of one that runs."""
        self.scripts, self.states = list(scripts), list(adopted or [])
        self.owner, self.state = OTHER_POD, self.states[0] if self.states else None
        self.created, self.deleted = 0, 0

    def create_jobset(self, body: KubernetesObject) -> bool:
        if self.state is not None:
            return False
        self.states, self.created = self.scripts.pop(0), self.created + 1
        self.owner, self.state = OWN_POD, self.states[0]
        return True

    def get_jobset(self, name: str) -> KubernetesObject | None:
        if len(self.states) > 1:
            self.state = self.states.pop(0)
        elif self.states:
            self.state = self.states[0]
        return make_jobset(self.state, owner=self.owner) if self.state else None

    def delete_jobset(self, name: str, uid: str = "") -> None:
        self.deleted += 1
        self.states, self.state = [], None

    def list_pods(self, jobset: str) -> list[KubernetesObject]:
        return [make_lost_pod()] if self.state == LOST else []

    def list_events(self, name: str) -> list[KubernetesObject]:
        return []

    def stream_log(self, pod: str, since_seconds: int | None) -> Iterator[str]:
        yield from ()

    def read_last_log_lines(self, pod: str, count: int) -> list[str]:
        return []


@pytest.fixture(autouse=True)
def progress_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv("KUBERT_PROGRESS", str(path))
    monkeypatch.setattr(monitor, "POLL_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(launcher, "RECREATE_INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(launcher, "STOP_TIMEOUT_SECONDS", 0.01)
    return path


def messages(path: Path) -> list[str]:
    return [json.loads(line)["message"] for line in path.read_text().splitlines()]


@pytest.fixture
def heartbeat(tmp_path: Path) -> Iterator[LauncherHeartbeat]:
    with LauncherHeartbeat(open_store(str(tmp_path / "state")), NAME, INTERVAL) as found:
        yield found


def run_to_end(
    namespace: ScriptedNamespace,
    heartbeat: LauncherHeartbeat,
    stop: threading.Event | None = None,
) -> None:
    launcher.run_to_end(
        cast(JobSetClient, namespace),
        make_jobset("starting"),
        GROUP,
        ClusterConfig(train_image="x@sha256:0"),
        stop or threading.Event(),
        heartbeat,
    )


def test_an_adopted_jobset_that_goes_with_its_owner_is_created_again(
    heartbeat: LauncherHeartbeat, progress_file: Path
) -> None:
    namespace = ScriptedNamespace(
        ["starting", "completed"], adopted=["starting", "starting", "starting", None]
    )
    run_to_end(namespace, heartbeat)
    assert (namespace.created, namespace.deleted) == (1, 0)
    found = messages(progress_file)
    assert found[0] == f"attached to the running JobSet {NAME}"
    assert f"the JobSet {NAME} was deleted; starting the workers again" in found


def test_one_s_own_jobset_that_someone_deletes_ends_the_run(heartbeat: LauncherHeartbeat) -> None:
    namespace = ScriptedNamespace(["starting", "starting", None])
    with pytest.raises(JobSetDeletedError):
        run_to_end(namespace, heartbeat)
    assert namespace.created == 1


def test_workers_that_saw_no_heartbeat_are_started_again(
    heartbeat: LauncherHeartbeat, progress_file: Path
) -> None:
    namespace = ScriptedNamespace(["starting", LOST], ["starting", "completed"])
    run_to_end(namespace, heartbeat)
    assert (namespace.created, namespace.deleted) == (2, 1)
    assert (
        "the workers stopped because they saw no launcher for half a minute; "
        "starting the workers again" in messages(progress_file)
    )


def test_workers_that_never_see_a_heartbeat_fail_the_run(heartbeat: LauncherHeartbeat) -> None:
    script: list[str | None] = ["starting", LOST]
    namespace = ScriptedNamespace(*(list(script) for _ in range(4)))
    with pytest.raises(LauncherLostError, match="reaches the store"):
        run_to_end(namespace, heartbeat)
    assert namespace.created == 1 + launcher.MAX_RECREATIONS


@pytest.mark.parametrize("is_shared", [False, True], ids=["the_last", "one_of_two"])
def test_only_the_last_launcher_deletes_the_jobset_when_it_is_stopped(
    is_shared: bool, heartbeat: LauncherHeartbeat, tmp_path: Path
) -> None:
    stop = threading.Event()
    namespace = ScriptedNamespace(adopted=["starting"])
    if is_shared:
        with LauncherHeartbeat(open_store(str(tmp_path / "state")), NAME, INTERVAL):
            while not heartbeat.has_other_launcher:
                time.sleep(INTERVAL)
            stop.set()
            with pytest.raises(WorkerGroupInterruptedError):
                run_to_end(namespace, heartbeat, stop)
    else:
        stop.set()
        with pytest.raises(WorkerGroupInterruptedError):
            run_to_end(namespace, heartbeat, stop)
    assert namespace.deleted == (0 if is_shared else 1)


class JobSetRegister:
    """The JobSets of a namespace: at most one, which is deleted after some polls."""

    def __init__(self, existing: KubernetesObject | None) -> None:
        self.existing, self.deleted = existing, False

    def create_jobset(self, body: KubernetesObject) -> bool:
        if self.existing and not self.deleted:
            return False
        self.existing = body
        return True

    def get_jobset(self, name: str) -> KubernetesObject | None:
        return self.existing

    def delete_jobset(self, name: str, uid: str = "") -> None:
        self.deleted = True


def create_or_attach(register: JobSetRegister, body: KubernetesObject, timeout: float) -> None:
    launcher.create_or_attach(
        cast(JobSetClient, register), body, StepName.TRAIN, timeout, threading.Event()
    )


def test_a_launcher_attaches_to_a_running_jobset_of_the_same_spec(progress_file: Path) -> None:
    existing = make_jobset("starting")
    register = JobSetRegister(existing)
    create_or_attach(register, existing, timeout=1)
    assert not register.deleted
    name = existing["metadata"]["name"]
    assert messages(progress_file) == [f"attached to the running JobSet {name}"]


def test_a_jobset_that_has_ended_is_replaced() -> None:
    ended = make_jobset("out of restarts")
    register = JobSetRegister(ended)
    body = {**ended, "spec": {"new": True}}
    create_or_attach(register, body, timeout=1)
    assert register.existing == body


def test_a_jobset_of_another_spec_is_left_alone() -> None:
    existing = make_jobset("starting")
    body = make_jobset("starting")
    body["metadata"]["annotations"] = {SPEC_DIGEST_ANNOTATION: "other"}
    with pytest.raises(ConfigError, match="with another spec exists in namespace kubert"):
        create_or_attach(JobSetRegister(existing), body, timeout=1)
