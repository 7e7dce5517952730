"""Parsing of recorded Kubernetes objects."""

from __future__ import annotations

import pytest

from components.workers.kubernetes.status import ClusterEvent, parse_event
from tests.support.kubernetes_objects import recorded_event, recorded_jobset, recorded_pod


@pytest.mark.parametrize(
    ("name", "phase", "restarts", "counted_restarts", "reason"),
    [
        ("starting", "running", 0, 0, ""),
        ("queued", "queued", 0, 0, ""),
        ("restarting", "running", 1, 1, ""),
        ("restarted for free", "running", 1, 0, ""),
        ("completed", "completed", 0, 0, ""),
        ("refused", "failed", 0, 0, "FailJobSetFailurePolicyAction"),
        ("out of restarts", "failed", 1, 1, "ReachedMaxRestarts"),
    ],
)
def test_a_jobset_is_parsed(
    name: str, phase: str, restarts: int, counted_restarts: int, reason: str
) -> None:
    found = recorded_jobset(name)
    assert (found.phase, found.restarts, found.counted_restarts, found.reason) == (
        phase,
        restarts,
        counted_restarts,
        reason,
    )
    assert len(found.spec_digest) == 64


@pytest.mark.parametrize(
    ("name", "has_started", "has_failed", "exit_code", "termination"),
    [
        ("creating", False, False, None, None),
        ("running", True, False, None, None),
        ("succeeded", True, False, 0, None),
        ("refused", True, True, 65, "rejected its input (exit code 65)"),
        ("killed", True, True, 137, "was killed (SIGKILL)"),
        ("lost its peer", True, True, 70, "lost a peer"),
        ("out of memory", True, True, 137, "was killed for lack of memory (OOMKilled)"),
        ("evicted", True, True, 75, "stopped after saving its work (EvictionByEvictionAPI)"),
    ],
)
def test_a_worker_s_pod_is_parsed(
    name: str, has_started: bool, has_failed: bool, exit_code: int | None, termination: str | None
) -> None:
    found = recorded_pod(name)
    assert (found.has_started, found.has_failed, found.exit_code) == (
        has_started,
        has_failed,
        exit_code,
    )
    assert found.name.startswith("kubert-train-")
    assert found.rank in (0, 1)
    if termination:
        assert found.describe_termination() == termination


def test_a_pod_carries_its_worker_s_last_message() -> None:
    assert "SHA-256" in recorded_pod("refused").message


def test_an_event_is_one_line() -> None:
    event = recorded_event("no priority class")
    assert str(event).startswith("FailedCreate: Error creating: pods ")
    assert event.is_warning
    repeated = parse_event({"reason": "A", "message": "b\n  c", "type": "Normal", "count": 3})
    assert repeated == ClusterEvent("A", "b c", is_warning=False, count=3)
    assert str(repeated) == "A (x3): b c"
