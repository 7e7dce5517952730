"""Objects recorded on a real cluster (Kubernetes 1.34, JobSet 0.12) while faults were injected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.progress import StepName
from components.workers.group import WorkerGroup
from components.workers.kubernetes.status import (
    ClusterEvent,
    JobSetStatus,
    WorkerPod,
    parse_event,
    parse_jobset,
    parse_pod,
)

RECORDED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "kubernetes_objects.json").read_text(encoding="utf-8")
)
CONTAINER = "train"
GROUP = WorkerGroup(
    step=StepName.TRAIN,
    workers=1,
    module="no.such.module",
    job_document="{}",
    directory="unused",
    max_restarts=1,
    is_finished=lambda: False,
    workers_option="train.workers",
    restart_option="train.max_restarts",
    memory_remedy="lower train.batch_size",
)
"""A group of which no worker is ever started here."""


def recorded_pod(name: str, **changes: Any) -> WorkerPod:
    """The recorded pod of this name, with some fields changed."""
    return WorkerPod(**{**vars(parse_pod(RECORDED["pods"][name], CONTAINER)), **changes})


def recorded_jobset(name: str, **changes: Any) -> JobSetStatus:
    """The recorded JobSet of this name, with some fields changed."""
    return JobSetStatus(**{**vars(parse_jobset(RECORDED["jobsets"][name])), **changes})


def recorded_event(name: str) -> ClusterEvent:
    """The recorded event of this name."""
    return parse_event(RECORDED["events"][name])
