"""Independent workers by their pods: which one is present, and why one was started again.

Their pods are not numbered by restarts of the JobSet but by failures of their index, which
Kubernetes counts in the pods' annotations.
"""

from __future__ import annotations

from collections.abc import Iterable

from components.workers import exit_codes
from components.workers.kubernetes.status import WorkerPod


def select_newest(pods: Iterable[WorkerPod]) -> list[WorkerPod]:
    """Return the newest pod of each worker, by rank."""
    newest: dict[int, WorkerPod] = {}
    for pod in pods:
        known = newest.get(pod.rank)
        if known is None or pod.attempt > known.attempt:
            newest[pod.rank] = pod
    return [newest[rank] for rank in sorted(newest)]


def is_counted(pod: WorkerPod) -> bool:
    """Whether the end of a failed pod counts towards the restarts of its worker."""
    return not pod.is_disrupted and pod.exit_code != exit_codes.PREEMPTED


def find_exhausted_worker(pods: Iterable[WorkerPod], max_restarts: int) -> WorkerPod | None:
    """Return the worker that failed once more than it may be restarted."""
    found = (
        pod for pod in pods if pod.has_failed and is_counted(pod) and pod.failures >= max_restarts
    )
    return min(found, key=lambda pod: (pod.ended_at or "unknown", pod.rank), default=None)


def describe_restart(pod: WorkerPod, max_restarts: int) -> str | None:
    """Return what to report of a pod that ended; None if it is not started again."""
    if not pod.has_failed or pod.exit_code in exit_codes.NEVER_RESTARTED:
        return None
    if not is_counted(pod):
        cause = f" ({pod.reason})" if pod.has_specific_reason else ""
        return f"worker {pod.rank} was asked to stop{cause}; starting it again"
    if pod.failures >= max_restarts:
        return None
    return (
        f"restart {pod.failures + 1} of {max_restarts} of worker {pod.rank}: "
        f"it {pod.describe_termination()}"
    )
