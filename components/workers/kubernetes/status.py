"""Parses the JSON of a JobSet, its pods and its events into typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.workers.exit_codes import SIGNAL_OFFSET, describe_exit_code
from components.workers.kubernetes.jobset_manifest import SPEC_DIGEST_ANNOTATION

KubernetesObject = Mapping[str, Any]
JobSetPhase = Literal["queued", "running", "completed", "failed"]
_GENERIC_REASONS = ("", "Error", "Completed", "ContainerStatusUnknown")
"""Reasons that say no more than that a container ended."""
_FAILURES_ANNOTATION = "batch.kubernetes.io/job-index-failure-count"
_IGNORED_FAILURES_ANNOTATION = "batch.kubernetes.io/job-index-ignored-failure-count"
"""Of the pods of a Job with a back-off limit per index: earlier failures of the same index."""


@dataclass(frozen=True)
class WorkerPod:
    """The pod of one worker in one attempt of the group, or of the worker if it is independent.

    failures: how often an independent worker failed before, as far as Kubernetes counts it.
    is_disrupted: Kubernetes ended it, for example to drain its node.
    has_started: the worker's container runs or ran.
    waiting_reason: why it does not run yet, in the scheduler's or kubelet's words.
    exit_code: None until the container has ended.
    reason, message: why it ended, in Kubernetes' words, and the worker's own last message.
    """

    uid: str
    name: str
    rank: int
    attempt: int
    phase: str
    node: str = ""
    failures: int = 0
    is_deleting: bool = False
    is_disrupted: bool = False
    has_started: bool = False
    waiting_reason: str = ""
    exit_code: int | None = None
    ended_at: str = ""
    reason: str = ""
    message: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether it ended without success."""
        return self.phase == "Failed" or bool(self.exit_code)

    @property
    def has_specific_reason(self) -> bool:
        """Whether Kubernetes reports more about its end than that it ended."""
        return self.reason not in _GENERIC_REASONS

    def describe_termination(self) -> str:
        """Return one phrase about how it ended."""
        if self.reason == "OOMKilled":
            return "was killed for lack of memory (OOMKilled)"
        if self.exit_code is None:
            return f"was ended by Kubernetes ({self.reason or 'no reason given'})"
        is_signal = self.exit_code > SIGNAL_OFFSET
        code = SIGNAL_OFFSET - self.exit_code if is_signal else self.exit_code
        phrase = describe_exit_code(code)
        return f"{phrase} ({self.reason})" if self.has_specific_reason else phrase


@dataclass(frozen=True)
class JobSetStatus:
    """The state of a JobSet. `counted_restarts` are those that count towards `max_restarts`.

    owner_uids: of the launchers' pods with which Kubernetes deletes the JobSet.
    """

    uid: str
    spec_digest: str
    phase: JobSetPhase
    owner_uids: tuple[str, ...] = ()
    is_deleting: bool = False
    restarts: int = 0
    counted_restarts: int = 0
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class ClusterEvent:
    """A Kubernetes event about the JobSet, its Job or one of its pods."""

    reason: str
    message: str
    is_warning: bool = True
    count: int = 1

    def __str__(self) -> str:
        times = f" (x{self.count})" if self.count > 1 else ""
        return f"{self.reason}{times}: {self.message}"


def read_owner_uids(jobset: KubernetesObject) -> tuple[str, ...]:
    """Return the UIDs of the launchers' pods with which Kubernetes deletes a JobSet."""
    return tuple(owner["uid"] for owner in jobset["metadata"].get("ownerReferences", ()))


def parse_jobset(found: KubernetesObject) -> JobSetStatus:
    """Return the status of a JobSet; one that Kueue or a person suspended is queued."""
    metadata, status = found["metadata"], found.get("status", {})
    conditions = {
        condition["type"]: condition
        for condition in status.get("conditions", ())
        if condition["status"] == "True"
    }
    phase: JobSetPhase = "running"
    if status.get("terminalState") == "Completed" or "Completed" in conditions:
        phase = "completed"
    elif status.get("terminalState") == "Failed" or "Failed" in conditions:
        phase = "failed"
    elif found.get("spec", {}).get("suspend"):
        phase = "queued"
    failure = conditions.get("Failed", {})
    return JobSetStatus(
        uid=metadata["uid"],
        spec_digest=metadata.get("annotations", {}).get(SPEC_DIGEST_ANNOTATION, ""),
        phase=phase,
        owner_uids=read_owner_uids(found),
        is_deleting="deletionTimestamp" in metadata,
        restarts=int(status.get("restarts", 0)),
        counted_restarts=int(status.get("restartsCountTowardsMax", 0)),
        reason=failure.get("reason", ""),
        message=failure.get("message", ""),
    )


def parse_pod(found: KubernetesObject, container_name: str) -> WorkerPod:
    """Return the worker in the container of this name of one of the JobSet's pods."""
    metadata, status = found["metadata"], found.get("status", {})
    labels, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
    failures = int(annotations.get(_FAILURES_ANNOTATION, 0))
    restarts = failures + int(annotations.get(_IGNORED_FAILURES_ANNOTATION, 0))
    container = _find_entry(status.get("containerStatuses", ()), "name", container_name)
    state = container.get("state", {})
    terminated, waiting = state.get("terminated") or {}, state.get("waiting") or {}
    return WorkerPod(
        uid=metadata["uid"],
        name=metadata["name"],
        rank=int(labels.get("batch.kubernetes.io/job-completion-index", 0)),
        attempt=int(labels.get("jobset.sigs.k8s.io/restart-attempt", 0)) + restarts,
        phase=status.get("phase", "Pending"),
        node=found.get("spec", {}).get("nodeName", ""),
        failures=failures,
        is_deleting="deletionTimestamp" in metadata,
        is_disrupted=_find_disruption(status).get("status") == "True",
        has_started=bool(
            state.get("running")
            or terminated
            or status.get("phase") in ("Running", "Succeeded", "Failed")
        ),
        waiting_reason=_waiting_reason(status, waiting),
        exit_code=int(terminated["exitCode"]) if "exitCode" in terminated else None,
        ended_at=terminated.get("finishedAt") or "",
        reason=_termination_reason(status, terminated.get("reason", "")),
        message=(terminated.get("message") or status.get("message") or "").strip(),
    )


def parse_event(found: KubernetesObject) -> ClusterEvent:
    """Return an event with its message on one line."""
    return ClusterEvent(
        reason=str(found.get("reason", "")),
        message=" ".join(str(found.get("message", "")).split()),
        is_warning=found.get("type") != "Normal",
        count=int((found.get("series") or {}).get("count") or found.get("count") or 1),
    )


def _waiting_reason(status: KubernetesObject, waiting: KubernetesObject) -> str:
    """Return why a pod waits: for the scheduler, else for the kubelet."""
    scheduled = _find_entry(status.get("conditions", ()), "type", "PodScheduled")
    if scheduled.get("status") == "False":
        return _join_reason(scheduled.get("reason", ""), scheduled.get("message", ""))
    if status.get("phase") == "Pending":
        return _join_reason(waiting.get("reason", ""), waiting.get("message", ""))
    return ""


def _termination_reason(status: KubernetesObject, container_reason: str) -> str:
    """Return the most specific reason: the pod's (Evicted), the container's (OOMKilled) unless it
    is generic, that of a disruption, and at last the generic one.
    """
    disruption = _find_disruption(status)
    is_disrupted = disruption.get("status") == "True"
    return str(
        status.get("reason")
        or (container_reason if container_reason not in _GENERIC_REASONS else "")
        or (disruption.get("reason", "") if is_disrupted else "")
        or container_reason
    )


def _find_disruption(status: KubernetesObject) -> KubernetesObject:
    return _find_entry(status.get("conditions", ()), "type", "DisruptionTarget")


def _find_entry(entries: Any, field: str, value: str) -> KubernetesObject:
    return next((entry for entry in entries if entry[field] == value), {})


def _join_reason(reason: str, message: str) -> str:
    return f"{reason}: {' '.join(message.split())}" if message else reason
