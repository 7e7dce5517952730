"""Why a pod of a run has not started."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from pipeline.kubeflow.workflow.pending_pods import describe_waiting, is_late

NOW = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC)
FAILED_MOUNT = 'MountVolume.SetUp failed: secret "mlpipeline-minio-artifact" not found'


def make_pod(age: int = 60, phase: str = "Pending", **status: Any) -> dict[str, Any]:
    created = (NOW - datetime.timedelta(seconds=age)).isoformat().replace("+00:00", "Z")
    return {
        "metadata": {"name": "p", "creationTimestamp": created},
        "status": {"phase": phase, **status},
    }


def wait_for(reason: str, message: str = "") -> dict[str, Any]:
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}]}


@pytest.mark.parametrize(
    ("pod", "late"),
    [
        (make_pod(60), True),
        (make_pod(10), False),
        (make_pod(60, "Running"), False),
        (make_pod(60, "Succeeded"), False),
    ],
    ids=["late", "young", "running", "ended"],
)
def test_a_pod_is_late_if_it_should_have_started(pod: dict[str, Any], late: bool) -> None:
    assert is_late(pod, NOW) == late


@pytest.mark.parametrize(
    ("status", "warnings", "reason"),
    [
        (wait_for("ImagePullBackOff", "Back-off"), [], "ImagePullBackOff Back-off"),
        (wait_for("ContainerCreating"), ["older", FAILED_MOUNT], FAILED_MOUNT),
        (wait_for("ContainerCreating"), [], None),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]},
            ["older"],
            "0/1 nodes",
        ),
    ],
    ids=["image", "secret", "nothing-known", "no-node"],
)
def test_the_reason_is_kubernetes_own(
    status: dict[str, Any], warnings: list[str], reason: str | None
) -> None:
    assert describe_waiting(make_pod(**status), warnings) == reason
