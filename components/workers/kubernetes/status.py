"""What Kubernetes' own objects say about a gang and its workers: pure readings of pods, events and JobSets (as JSON)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.workers import exit_codes
from components.workers.kubernetes.jobset_manifest import SPEC_DIGEST_ANNOTATION

Object = Mapping[str, Any]
Phase = Literal["queued", "running", "completed", "failed"]
_VAGUE = ("", "Error", "Completed", "ContainerStatusUnknown")


@dataclass(frozen=True)
class WorkerPod:
    """One worker's pod. `exit_code` is None while it has not ended; `reason` is Kubernetes' word for how it ended or why it waits."""

    uid: str
    name: str
    rank: int
    attempt: int
    phase: str
    node: str = ""
    deleting: bool = False
    started: bool = False
    waiting: str = ""
    exit_code: int | None = None
    ended_at: str = ""
    reason: str = ""
    message: str = ""

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than well."""
        return self.phase == "Failed" or bool(self.exit_code)

    @property
    def told(self) -> bool:
        """Whether Kubernetes says more about its end than that it failed."""
        return self.reason not in _VAGUE

    def ending(self) -> str:
        """How it ended, in one phrase."""
        if self.reason == "OOMKilled":
            return "was killed for lack of memory (OOMKilled)"
        if self.exit_code is None:
            return f"was ended by Kubernetes ({self.reason or 'no reason given'})"
        code = 128 - self.exit_code if self.exit_code > 128 else self.exit_code
        phrase = exit_codes.describe_exit_code(code)
        return f"{phrase} ({self.reason})" if self.told else phrase


@dataclass(frozen=True)
class JobSetStatus:
    """A JobSet. `restarts` counts all of them, `counted` those that come out of train.max_restarts."""

    uid: str
    digest: str
    phase: Phase
    deleting: bool = False
    restarts: int = 0
    counted: int = 0
    reason: str = ""
    message: str = ""


def parse_jobset(found: Object) -> JobSetStatus:
    """The gang that a JobSet describes; one that Kueue, or a person, holds suspended is queued."""
    metadata, status = found["metadata"], found.get("status", {})
    conditions = {
        condition["type"]: condition
        for condition in status.get("conditions", ())
        if condition["status"] == "True"
    }
    phase: Phase = "running"
    if status.get("terminalState") == "Completed" or "Completed" in conditions:
        phase = "completed"
    elif status.get("terminalState") == "Failed" or "Failed" in conditions:
        phase = "failed"
    elif found.get("spec", {}).get("suspend"):
        phase = "queued"
    why = conditions.get("Failed", {})
    return JobSetStatus(
        uid=metadata["uid"],
        digest=metadata.get("annotations", {}).get(SPEC_DIGEST_ANNOTATION, ""),
        phase=phase,
        deleting="deletionTimestamp" in metadata,
        restarts=int(status.get("restarts", 0)),
        counted=int(status.get("restartsCountTowardsMax", 0)),
        reason=why.get("reason", ""),
        message=why.get("message", ""),
    )


def parse_pod(found: Object, container_name: str) -> WorkerPod:
    """The worker that a pod of the JobSet describes."""
    metadata, status = found["metadata"], found.get("status", {})
    labels = metadata.get("labels", {})
    container: Object = next(
        (entry for entry in status.get("containerStatuses", ()) if entry["name"] == container_name),
        {},
    )
    state = container.get("state", {})
    ended, waits = state.get("terminated") or {}, state.get("waiting") or {}
    scheduled: Object = next(
        (entry for entry in status.get("conditions", ()) if entry["type"] == "PodScheduled"), {}
    )
    waiting = (
        _clause(waits.get("reason", ""), waits.get("message", ""))
        if status.get("phase") == "Pending"
        else ""
    )
    if scheduled.get("status") == "False":
        waiting = _clause(scheduled.get("reason", ""), scheduled.get("message", ""))
    return WorkerPod(
        uid=metadata["uid"],
        name=metadata["name"],
        rank=int(labels.get("batch.kubernetes.io/job-completion-index", 0)),
        attempt=int(labels.get("jobset.sigs.k8s.io/restart-attempt", 0)),
        phase=status.get("phase", "Pending"),
        node=found.get("spec", {}).get("nodeName", ""),
        deleting="deletionTimestamp" in metadata,
        started=bool(
            state.get("running")
            or ended
            or status.get("phase") in ("Running", "Succeeded", "Failed")
        ),
        waiting=waiting,
        exit_code=int(ended["exitCode"]) if "exitCode" in ended else None,
        ended_at=ended.get("finishedAt") or "",
        reason=_reason(status, ended.get("reason", "")),
        message=(ended.get("message") or status.get("message") or "").strip(),
    )


def format_event(found: Object) -> str:
    """One line for an event."""
    count = int((found.get("series") or {}).get("count") or found.get("count") or 1)
    times = f" (x{count})" if count > 1 else ""
    return f"{found.get('reason', '')}{times}: {' '.join(str(found.get('message', '')).split())}"


def _reason(status: Object, of_container: str) -> str:
    """The most telling: the pod's own (Evicted), the container's unless it only says that it failed (OOMKilled), that of a disruption."""
    found: Object = next(
        (entry for entry in status.get("conditions", ()) if entry["type"] == "DisruptionTarget"), {}
    )
    disruption = str(found.get("reason", "")) if found.get("status") == "True" else ""
    return str(
        status.get("reason")
        or (of_container if of_container not in _VAGUE else "")
        or disruption
        or of_container
    )


def _clause(reason: str, message: str) -> str:
    return f"{reason}: {' '.join(message.split())}" if message else reason
