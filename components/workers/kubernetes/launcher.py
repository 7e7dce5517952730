"""A gang on Kubernetes, from its start to its end: created or found again, watched, explained when it fails, gone when it is stopped.

The back end `jobset`. The gang itself restarts in the cluster; this process only looks on, so nothing is lost when it is
restarted. Two limits are its own, because nothing in the cluster keeps them: until when all pods must run, and for how long.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from components import progress
from components.config.cluster import ClusterConfig
from components.errors import ConfigError, KubertError
from components.progress import StepName
from components.storage.atomic_files import atomic_write
from components.storage.store import open_store
from components.storage.uri import has_scheme
from components.workers import exit_codes
from components.workers.exit_codes import (
    WorkerGroupFailedError,
    WorkerGroupInterruptedError,
    error_from_exit_code,
)
from components.workers.group import WorkerGroup
from components.workers.kubernetes import known_failures
from components.workers.kubernetes.client import JobSetClient, KubernetesObject
from components.workers.kubernetes.diagnosis import first_failed, refused, screen
from components.workers.kubernetes.jobset_manifest import (
    REPLICATED_JOB,
    SPEC_DIGEST_ANNOTATION,
    LauncherPod,
    job_document_name,
    render_jobset,
)
from components.workers.kubernetes.log_follower import LogFollower
from components.workers.kubernetes.status import (
    JobSetStatus,
    WorkerPod,
    format_event,
    parse_jobset,
    parse_pod,
)
from components.workers.process_control import graceful_stop_event

POLL = 1.0
EVENTS_EVERY = 5.0
CREATION_FAILED = frozenset({"FailedCreate", "JobCreationFailed", "HeadlessServiceCreationFailed"})


def run_jobset(group: WorkerGroup, cluster: ClusterConfig) -> None:
    """Return when the gang has ended well; raises what its workers reported, Interrupted, or GangFailed."""
    launcher = LauncherPod.from_environment(os.environ, cluster.namespace)
    body = render_jobset(
        group, f"{group.directory}/{job_document_name(group, launcher)}", cluster, launcher
    )
    _write_job_document(group, job_document_name(group, launcher))
    with graceful_stop_event() as stop:
        try:
            _from_start_to_end(JobSetClient(launcher.namespace, stop), body, group, cluster, stop)
        except KubertError:
            if stop.is_set():  # whatever failed, it was cut short
                raise WorkerGroupInterruptedError from None
            raise


def _from_start_to_end(
    api: JobSetClient,
    body: KubernetesObject,
    group: WorkerGroup,
    cluster: ClusterConfig,
    stop: threading.Event,
) -> None:
    create_or_attach(api, body, cluster.pod_start_timeout, stop)
    watch = JobSetMonitor(api, body, group, cluster, stop)
    try:
        watch.until_it_ends()
    finally:
        if not watch.ended:
            with suppress(
                KubertError
            ):  # what ended the watch matters more; the JobSet goes with the launcher's pod
                api.delete_jobset(body["metadata"]["name"])


def _write_job_document(group: WorkerGroup, name: str) -> None:
    text = group.format_job_document()
    if has_scheme(group.directory):
        open_store(group.directory).write(name, text.encode())
    else:
        path = Path(group.directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, text)


def create_or_attach(
    api: JobSetClient, body: KubernetesObject, patience: float, stop: threading.Event
) -> None:
    """Have exactly one live JobSet of this name and spec: a new one, or the one that an earlier launcher left running."""
    name, wanted = body["metadata"]["name"], body["metadata"]["annotations"][SPEC_DIGEST_ANNOTATION]
    deadline = time.monotonic() + patience
    while not api.create_jobset(body):
        found = api.jobset(name)
        if found is None:
            continue
        gang = parse_jobset(found)
        if gang.digest != wanted:
            raise ConfigError(
                f"a JobSet {name} of another content exists in namespace {body['metadata']['namespace']}; delete it"
            )
        if not gang.deleting and gang.phase in ("queued", "running"):
            progress.report(StepName.TRAIN, f"the gang {name} is under way already; following it")
            return
        if not gang.deleting:
            api.delete_jobset(name)
        if time.monotonic() > deadline:
            raise WorkerGroupFailedError(
                f"an older JobSet {name} is not gone after {patience:.0f} s; a pod of it may be stuck on a node that is down"
            )
        progress.report(StepName.TRAIN, f"waiting until the older gang {name} is gone")
        stop.wait(2 * POLL)
        if stop.is_set():
            raise WorkerGroupInterruptedError


class JobSetMonitor:
    """Looks at the gang again and again; what its pods ended by is remembered, because Kubernetes deletes them at a restart."""

    def __init__(
        self,
        api: JobSetClient,
        body: KubernetesObject,
        group: WorkerGroup,
        cluster: ClusterConfig,
        stop: threading.Event,
    ) -> None:
        self._api, self._group, self._cluster, self._stop = api, group, cluster, stop
        self._name, self._namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        self._log = LogFollower(api)
        self._pods: dict[str, WorkerPod] = {}
        self._said = ""
        self._seen = JobSetStatus(uid="", digest="", phase="running")
        self._starting_since: float | None = None
        self._running_since: float | None = None
        self._events_at = 0.0
        self.ended = False

    def until_it_ends(self) -> None:
        """Return when the gang has completed."""
        while not self._stop.is_set():
            found = self._api.jobset(self._name)
            if found is None:
                self.ended = True
                raise WorkerGroupFailedError(
                    f"the JobSet {self._name} was deleted by somebody else; the next run continues from the last checkpoint"
                )
            gang = parse_jobset(found)
            pods = self._look_at_pods()
            if gang.phase in ("completed", "failed"):
                self.ended = True
                self._log.drain()
                if gang.phase == "failed":
                    raise self._failure(gang)
                return
            self._refuse_hopeless_ending()
            self._tell_restarts(gang)
            self._keep_limits(gang, pods)
            self._stop.wait(POLL)
        raise WorkerGroupInterruptedError

    def _look_at_pods(self) -> list[WorkerPod]:
        """The pods of the newest attempt by rank."""
        pods = [parse_pod(found, self._group.step) for found in self._api.pods(self._name)]
        self._log.follow(pods)
        for pod in pods:
            if (
                pod.exit_code is not None
                or pod.uid not in self._pods
                or self._pods[pod.uid].exit_code is None
            ):
                self._pods[pod.uid] = pod
        newest = max((pod.attempt for pod in pods), default=0)
        return sorted(
            (pod for pod in pods if pod.attempt == newest and not pod.deleting),
            key=lambda pod: pod.rank,
        )

    def _of_attempt(self, attempt: int) -> list[WorkerPod]:
        return sorted(
            (pod for pod in self._pods.values() if pod.attempt == attempt), key=lambda pod: pod.rank
        )

    def _refuse_hopeless_ending(self) -> None:
        if found := known_failures.of_ending(self._pods.values(), self._group.memory_remedy):
            raise WorkerGroupFailedError(screen(found.what, advice=found.advice, more=self._more()))

    def _tell_restarts(self, gang: JobSetStatus) -> None:
        if gang.restarts == self._seen.restarts:
            return
        failed = first_failed(self._of_attempt(gang.restarts - 1))
        why = f"worker {failed.rank} {failed.ending()}" if failed else "a worker's pod ended"
        counts = gang.counted > self._seen.counted
        progress.report(
            StepName.TRAIN,
            f"restart {gang.counted} of {self._group.max_restarts}: {why}"
            if counts
            else f"{why}; starting again",
        )
        self._seen = gang
        self._starting_since = None

    def _keep_limits(self, gang: JobSetStatus, pods: list[WorkerPod]) -> None:
        now = time.monotonic()
        if gang.phase == "queued":
            self._starting_since = self._running_since = None
            self._say(
                f"queued: {self._cluster.queue or 'the JobSet is suspended'} has no room for {self._group.workers} workers yet"
            )
            return
        self._running_since = self._running_since or now
        if now - self._running_since > self._cluster.active_deadline:
            raise WorkerGroupFailedError(screen(f"the gang still ran after cluster.active_deadline ({self._cluster.active_deadline} s) and was ended",
                                    advice="raise cluster.active_deadline; the next run continues from the last checkpoint", more=self._more()))  # fmt: skip
        started = sum(pod.started for pod in pods)
        if started == self._group.workers:
            self._starting_since = None
            self._say(f"all {started} workers run" if started > 1 else "the worker runs")
            return
        self._starting_since = self._starting_since or now
        self._say(f"{started} of {self._group.workers} workers run")
        late = now - self._starting_since > self._cluster.pod_start_timeout
        if not late and now - self._events_at < EVENTS_EVERY:
            return
        self._events_at = now
        creation = self._creation_events()
        found = known_failures.of_starting(pods, creation)
        if late or (found and found.hopeless):
            raise self._not_started(pods, found, started)
        if found:
            self._say(found.what[:300])

    def _not_started(
        self, pods: list[WorkerPod], found: known_failures.Trouble | None, started: int
    ) -> WorkerGroupFailedError:
        headline = f"only {started} of {self._group.workers} workers started"
        if not (found and found.hopeless):
            headline += f" within cluster.pod_start_timeout ({self._cluster.pod_start_timeout} s)"
        names = [self._name, self._job_name, *(pod.name for pod in pods if not pod.started)][:4]
        return WorkerGroupFailedError(
            screen(
                f"{headline}: {found.what}" if found else headline,
                advice=found.advice
                if found
                else "look at the events; if all is well and only slow, raise cluster.pod_start_timeout",
                events=self._events(*names),
                more=self._more(),
            )
        )

    def _failure(self, gang: JobSetStatus) -> Exception:
        """What a failed gang's caller is told."""
        pods = self._of_attempt(gang.restarts)
        for pod in pods:
            if pod.exit_code in exit_codes.PERMANENT:
                return error_from_exit_code(pod.rank, pod.exit_code, pod.message)
        events = self._events(self._name, self._job_name)
        if (known := refused(events)) and known[1] in exit_codes.PERMANENT:
            return error_from_exit_code(*known, "")
        if found := known_failures.of_ending(pods, self._group.memory_remedy):
            return WorkerGroupFailedError(
                screen(found.what, advice=found.advice, events=events, more=self._more())
            )
        failed = first_failed(pods)
        if failed is None:
            return WorkerGroupFailedError(
                screen(
                    f"the gang failed: {gang.reason}: {gang.message}",
                    events=events,
                    more=self._more(),
                )
            )
        tried = (
            f" after {gang.restarts} restarts (train.max_restarts={self._group.max_restarts})"
            if gang.restarts
            else ""
        )
        where = f" on node {failed.node}" if failed.node else ""
        return WorkerGroupFailedError(
            screen(
                f"training failed{tried}: worker {failed.rank} ({failed.name}{where}) {failed.ending()}",
                advice="read the worker's last lines; a run with the same data and options goes on from the last checkpoint",
                whose=f"worker {failed.rank}",
                last_lines=self._last_lines(failed),
                events=events,
                more=self._more(),
            )
        )

    def _last_lines(self, pod: WorkerPod) -> list[str]:
        if pod.rank == 0 and self._log.last_lines:
            return list(self._log.last_lines)
        return self._api.last_lines(pod.name, 12) or pod.message.splitlines()

    @property
    def _job_name(self) -> str:
        return f"{self._name}-{REPLICATED_JOB}-0"

    def _creation_events(self) -> list[str]:
        """What was said when the JobSet's job, or the job's pods, could not be created: no condition tells of it."""
        return [
            format_event(event)
            for name in (self._name, self._job_name)
            for event in self._api.events(name)
            if event.get("reason") in CREATION_FAILED
        ]

    def _events(self, *names: str) -> list[str]:
        said = [
            format_event(event)
            for name in names
            for event in self._api.events(name)
            if event.get("type") != "Normal"
        ]
        return list(dict.fromkeys(said))  # pods in one trouble say the same

    def _more(self) -> str:
        return f"kubectl --namespace {self._namespace} describe jobset,job,pod --selector jobset.sigs.k8s.io/jobset-name={self._name}"

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            progress.report(StepName.TRAIN, text)
