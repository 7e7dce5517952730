"""Follows a JobSet to its end: polls it, reports its progress, and fails it by `diagnose`.

The JobSet restarts its workers by itself; the monitor only observes, so a launcher can be restarted
at any time. Two limits are the monitor's, because nothing in the cluster enforces them: until when
all workers must run, and how long the group may take including its restarts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from components import progress
from components.config.cluster import ClusterConfig
from components.errors import ExitCode, KubertError
from components.workers.exit_codes import (
    WorkerGroupFailedError,
    WorkerGroupInterruptedError,
    error_from_exit_code,
)
from components.workers.group import WorkerGroup
from components.workers.kubernetes.client import JobSetClient
from components.workers.kubernetes.diagnosis import (
    MAX_CAUSE_LENGTH,
    Diagnosis,
    Limits,
    count_started_workers,
    diagnose,
    find_root_cause_worker,
    select_attempt,
    select_present,
)
from components.workers.kubernetes.failure_report import MAX_LAST_LINES, format_failure
from components.workers.kubernetes.independent_workers import describe_restart
from components.workers.kubernetes.jobset_manifest import REPLICATED_JOB
from components.workers.kubernetes.log_follower import LogFollower
from components.workers.kubernetes.status import (
    ClusterEvent,
    JobSetStatus,
    WorkerPod,
    parse_event,
    parse_jobset,
    parse_pod,
)
from components.workers.log_lines import unwrap_log_line
from components.workers.progress_sum import ProgressSum

POLL_INTERVAL_SECONDS = 1.0
EVENT_INTERVAL_SECONDS = 5.0
MAX_EVENT_OBJECTS = 4


class JobSetDeletedError(WorkerGroupFailedError):
    """The JobSet is gone, and this launcher did not delete it."""


class LauncherLostError(WorkerGroupFailedError):
    """The workers saved and stopped, because no launcher's heartbeat reached them."""


class JobSetMonitor:
    """Follows the JobSet `name` of a worker group until it has completed or failed.

    `has_ended`: the JobSet has completed, failed or was deleted, so there is nothing to stop.
    """

    def __init__(
        self,
        client: JobSetClient,
        name: str,
        group: WorkerGroup,
        cluster: ClusterConfig,
        stop: threading.Event,
    ) -> None:
        self._client, self._name, self._group, self._stop = client, name, group, stop
        self._limits = Limits(
            workers=group.workers,
            max_restarts=group.max_restarts,
            active_deadline=cluster.active_deadline,
            pod_start_timeout=cluster.pod_start_timeout,
            step=group.step,
            queue=cluster.queue or "",
            restart_option=group.restart_option,
            memory_remedy=group.memory_remedy,
            independent=group.independent,
        )
        self._log = (
            LogFollower(client, group.workers, ProgressSum(group.workers).add)
            if group.independent
            else LogFollower(client)
        )
        self._reported_pods: set[str] = set()
        self._history = PodHistory()
        self._clocks = Clocks()
        self._events = RecentEvents(client, (name, f"{name}-{REPLICATED_JOB}-0"))
        self._last_status = JobSetStatus(uid="", spec_digest="", phase="running")
        self._last_message = ""
        self.has_ended = False

    def wait(self) -> None:
        """Return when the JobSet has completed.

        Raises the error that a worker reported for the user, WorkerGroupFailedError with a report,
        or WorkerGroupInterruptedError after a stop was requested.
        """
        while not self._stop.is_set():
            # The JobSet is the only object that tells whether the group goes on.
            jobset = self._get_jobset()
            # Pods are remembered: Kubernetes deletes them, with their exit codes, at a restart.
            self._history.update(self._list_pods())
            self._log.follow(self._history.present)
            # Logs of pods that ended may still be on their way.
            if jobset.phase in ("completed", "failed"):
                self.has_ended = True
                self._log.drain()
            if jobset.phase == "completed":
                return
            # Time runs while workers start, and while they run, but not while they are queued.
            started = count_started_workers(self._select_present(jobset, self._history.pods))
            self._clocks.update(jobset, all_started=started == self._group.workers)
            # Events cost calls, and matter only while workers start or after a failure.
            if jobset.phase == "failed":
                self._events.refresh()
            elif self._clocks.is_starting:
                self._events.refresh_if_older(EVENT_INTERVAL_SECONDS)
            # A diagnosis that is not retryable ends the group,
            diagnosis = self._diagnose_now(jobset)
            if not diagnosis.retryable:
                raise self._build_error(jobset, diagnosis)
            # and any other is progress, as is a restart by the JobSet.
            if self._group.independent:
                self._report_worker_restarts()
            else:
                self._report_restarts(jobset)
            self._report_once(diagnosis.message)
            self._stop.wait(POLL_INTERVAL_SECONDS)
        raise WorkerGroupInterruptedError

    def _get_jobset(self) -> JobSetStatus:
        found = self._client.get_jobset(self._name)
        if found is None:
            self.has_ended = True
            raise JobSetDeletedError(
                f"the JobSet {self._name} was deleted by someone else; "
                "the next run continues from what the workers saved"
            )
        return parse_jobset(found)

    def _list_pods(self) -> list[WorkerPod]:
        return [parse_pod(found, self._group.step) for found in self._client.list_pods(self._name)]

    def _select_present(self, jobset: JobSetStatus, pods: list[WorkerPod]) -> list[WorkerPod]:
        return select_present(pods, jobset.restarts, self._group.independent)

    def _diagnose_now(self, jobset: JobSetStatus) -> Diagnosis:
        limits = replace(
            self._limits,
            running_seconds=self._clocks.running_seconds,
            starting_seconds=self._clocks.starting_seconds,
        )
        return diagnose(jobset, self._history.pods, self._events.items, limits)

    def _report_restarts(self, jobset: JobSetStatus) -> None:
        last = self._last_status
        if jobset.restarts == last.restarts:
            return
        pods = select_attempt(self._history.pods, jobset.restarts - 1)
        worker = find_root_cause_worker(pods)
        cause = _describe_cause(worker) if worker else "the pod of a worker ended"
        if jobset.counted_restarts > last.counted_restarts:
            progress.report(
                self._group.step,
                f"restart {jobset.counted_restarts} of {self._group.max_restarts}: {cause}",
            )
        else:
            progress.report(self._group.step, f"{cause}; restarting all workers")
        self._last_status = jobset

    def _report_worker_restarts(self) -> None:
        """Report each pod of an independent worker once when it has failed."""
        for pod in self._history.pods:
            message = describe_restart(pod, self._group.max_restarts)
            if message and pod.uid not in self._reported_pods:
                self._reported_pods.add(pod.uid)
                progress.report(self._group.step, message)

    def _report_once(self, message: str) -> None:
        if message != self._last_message:
            self._last_message = message
            progress.report(self._group.step, message)

    def _build_error(self, jobset: JobSetStatus, diagnosis: Diagnosis) -> KubertError:
        """Return the error of a diagnosis, with what is worth reading about it."""
        if diagnosis.user_error:
            return error_from_exit_code(*diagnosis.user_error, diagnosis.message)
        is_launcher_lost = diagnosis.rule == "launcher-lost"
        error = LauncherLostError if is_launcher_lost else WorkerGroupFailedError
        return error(
            format_failure(
                diagnosis.message,
                remedy=diagnosis.remedy,
                worker=f"worker {diagnosis.worker.rank}" if diagnosis.worker else "",
                last_lines=self._last_lines(diagnosis.worker) if diagnosis.worker else (),
                events=self._list_warnings(jobset),
                command=f"kubectl --namespace {self._client.namespace} describe jobset,job,pod "
                f"--selector jobset.sigs.k8s.io/jobset-name={self._name}",
            )
        )

    def _last_lines(self, worker: WorkerPod) -> list[str]:
        if lines := self._log.last_lines(worker):
            return lines
        lines = self._client.read_last_log_lines(worker.name, MAX_LAST_LINES)
        return [unwrap_log_line(line) for line in lines or worker.message.splitlines()]

    def _list_warnings(self, jobset: JobSetStatus) -> list[str]:
        """Return the warnings about the JobSet, its Job and the pods that have not started."""
        pods = self._select_present(jobset, self._history.present)
        waiting = [pod.name for pod in pods if not pod.has_started]
        events = self._events.refresh(*waiting)
        # Pods with the same problem have the same events.
        return list(dict.fromkeys(str(event) for event in events if event.is_warning))


class PodHistory:
    """The pods of all attempts, by UID; each with its ending once it was seen to have ended."""

    def __init__(self) -> None:
        self._pods: dict[str, WorkerPod] = {}
        self.present: list[WorkerPod] = []

    @property
    def pods(self) -> list[WorkerPod]:
        """All pods that were seen; those that are gone count as being deleted."""
        return list(self._pods.values())

    def update(self, present: list[WorkerPod]) -> None:
        """Take over the state of the pods that exist now."""
        self.present = present
        uids = {pod.uid for pod in present}
        for uid, pod in self._pods.items():
            if uid not in uids:
                self._pods[uid] = replace(pod, is_deleting=True)
        for pod in present:
            known = self._pods.get(pod.uid)
            if pod.exit_code is not None or known is None or known.exit_code is None:
                self._pods[pod.uid] = pod


@dataclass
class Clocks:
    """How long a JobSet has been running, and how long its present attempt has been starting."""

    _running_since: float | None = None
    _starting_since: float | None = None
    _restarts: int = 0

    def update(self, jobset: JobSetStatus, *, all_started: bool) -> None:
        """Start and stop the clocks; a restart starts that of the attempt again."""
        now = time.monotonic()
        if jobset.phase == "queued":
            self._running_since = self._starting_since = None
            return
        if jobset.restarts != self._restarts:
            self._restarts, self._starting_since = jobset.restarts, None
        self._running_since = self._running_since or now
        self._starting_since = None if all_started else self._starting_since or now

    @property
    def is_starting(self) -> bool:
        """Whether an attempt has begun and not all of its workers run yet."""
        return self._starting_since is not None

    @property
    def running_seconds(self) -> float:
        """Seconds since the JobSet was admitted; 0 while it is queued."""
        return _seconds_since(self._running_since)

    @property
    def starting_seconds(self) -> float:
        """Seconds since the attempt began, while not all of its workers run."""
        return _seconds_since(self._starting_since)


class RecentEvents:
    """The events about some objects, fetched now and then."""

    def __init__(self, client: JobSetClient, names: Sequence[str]) -> None:
        self._client, self._names = client, tuple(names)
        self._fetched_at: float | None = None
        self.items: list[ClusterEvent] = []

    def refresh_if_older(self, seconds: float) -> None:
        """Fetch the events again if they were fetched more than `seconds` ago."""
        if self._fetched_at is None or _seconds_since(self._fetched_at) > seconds:
            self.refresh()

    def refresh(self, *more_names: str) -> list[ClusterEvent]:
        """Fetch and return the events, for this time also those of some more objects."""
        names = (*self._names, *more_names)[:MAX_EVENT_OBJECTS]
        self.items = [
            parse_event(event) for name in names for event in self._client.list_events(name)
        ]
        self._fetched_at = time.monotonic()
        return self.items


def _describe_cause(worker: WorkerPod) -> str:
    """Return which worker a restart began with, and of a crash the reason that it left."""
    cause = f"worker {worker.rank} {worker.describe_termination()}"
    # Kubernetes deletes the pod with its log: this is the only trace of a crash.
    reason = worker.message.partition("\n")[0] if worker.exit_code == ExitCode.FAILURE else ""
    return f"{cause}: {reason[:MAX_CAUSE_LENGTH]}" if reason else cause


def _seconds_since(started: float | None) -> float:
    return 0.0 if started is None else time.monotonic() - started
