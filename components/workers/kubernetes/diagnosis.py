"""A gang's failure on one screen: which worker, how it ended, its last lines, Kubernetes' events, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from components.workers import exit_codes
from components.workers.kubernetes.status import WorkerPod

WIDTH = 200
LAST_LINES = 12
LAST_EVENTS = 8
_EXIT = re.compile(r"pod \S+?-(?P<rank>\d+)-\w+ failed with exit code (?P<code>\d+) matching")


def first_failed(pods: Iterable[WorkerPod]) -> WorkerPod | None:
    """The worker that the failure began with: what it ended by says more than its peers' loss of it."""

    def order(pod: WorkerPod) -> tuple[bool, bool, str, int]:
        lost_a_peer = pod.exit_code in (exit_codes.PEER_LOST, exit_codes.RENDEZVOUS_TIMEOUT)
        return (not pod.told, lost_a_peer, pod.ended_at or "unknown", pod.rank)

    return min((pod for pod in pods if pod.failed), key=order, default=None)


def refused(messages: Iterable[str]) -> tuple[int, int] | None:
    """The rank and exit code in the Job controller's message, for a pod that is gone."""
    for message in messages:
        if found := _EXIT.search(message):
            return int(found["rank"]), int(found["code"])
    return None


def screen(
    headline: str,
    *,
    advice: str = "",
    last_lines: Sequence[str] = (),
    whose: str = "",
    events: Sequence[str] = (),
    more: str = "",
) -> str:
    """The sections that have something to say; no line is longer than WIDTH, no section than a few lines."""
    parts = [headline]
    if advice:
        parts += [f"what to do: {advice}"]
    if last_lines:
        parts += [f"last lines of {whose}:", *(f"  {line}" for line in last_lines[-LAST_LINES:])]
    if events:
        parts += ["events:", *(f"  {event}" for event in events[-LAST_EVENTS:])]
    if more:
        parts += [f"more: {more}"]
    return "\n".join(
        line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."
        for part in parts
        for line in part.splitlines()
    )
