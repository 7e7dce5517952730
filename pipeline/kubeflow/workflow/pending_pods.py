"""Why a pod of a run has not started, in Kubernetes' words."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

PATIENCE = datetime.timedelta(seconds=30)
"""Pods that are younger are starting: images are pulled, volumes are mounted."""
_STARTING = ("ContainerCreating", "PodInitializing")


def is_late(pod: Mapping[str, Any], now: datetime.datetime) -> bool:
    """Whether the pod should have started by now."""
    created = pod["metadata"].get("creationTimestamp")
    if _read_phase(pod) != "Pending" or not created:
        return False
    return now - datetime.datetime.fromisoformat(created) > PATIENCE


def describe_waiting(pod: Mapping[str, Any], warnings: Iterable[str]) -> str | None:
    """The reason of a container that waits, or of the scheduler, else the last of the warnings.

    `warnings` are the messages of the pod's events. None if there is no reason.
    """
    status = pod["status"]
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(key) or []:
            waiting = (container.get("state") or {}).get("waiting") or {}
            reason, message = waiting.get("reason"), waiting.get("message") or ""
            if reason and reason not in _STARTING:
                return f"{reason} {message}".strip()
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "") or None
    return next(iter(reversed(list(warnings))), None)


def _read_phase(pod: Mapping[str, Any]) -> str:
    return str(pod["status"].get("phase") or "Pending")
