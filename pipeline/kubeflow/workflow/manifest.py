"""The workflow manifest of a run as a record.

Kubeflow Pipelines 2.17 fills no `error` field of a run or a task, and the history of a run's states
lacks a stop that took effect quickly. The manifest of the workflow, which the API returns too, has
both: each node's message, and the deadline of 0 by which a run is stopped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.cross_validation.task_names import find_task

_DRIVER_SUFFIX = "-driver"
_ATTEMPT = re.compile(r"\(\d+\)$")
_FAILED_PHASES = ("Failed", "Error")
_SHUTDOWN_STRATEGIES = ("Stop", "Terminate")


@dataclass(frozen=True)
class Node:
    """One node of the workflow; `path` are the names from the root to it."""

    path: tuple[str, ...]
    kind: str
    phase: str
    message: str
    finished_at: str

    @property
    def task(self) -> str | None:
        """The task of a step that the node belongs to, its driver included; None for others."""
        return find_path_task(self.path)

    @property
    def has_failed(self) -> bool:
        """Whether it failed by itself; a graph fails because of one of its nodes."""
        return self.kind == "Pod" and self.phase in _FAILED_PHASES


@dataclass(frozen=True)
class Workflow:
    """What kubert reads of a workflow; `message` is that of the workflow as a whole."""

    is_stopped: bool
    message: str
    nodes: tuple[Node, ...]

    def find_failure(self) -> Node | None:
        """The pod that failed last and has a message: what it says ended the run.

        An earlier one was tried again, or failed beside it.
        """
        failed = [node for node in self.nodes if node.has_failed and node.message]
        return max(failed, key=lambda node: node.finished_at, default=None)


def parse_workflow(manifest: str) -> Workflow | None:
    """The workflow in a JSON manifest; None for text that is none."""
    try:
        values = json.loads(manifest)
    except ValueError:
        return None
    if not isinstance(values, dict):
        return None
    spec, status = values.get("spec") or {}, values.get("status") or {}
    return Workflow(
        is_stopped=spec.get("activeDeadlineSeconds") == 0
        or spec.get("shutdown") in _SHUTDOWN_STRATEGIES,
        message=str(status.get("message") or ""),
        nodes=tuple(map(_parse_node, (status.get("nodes") or {}).values())),
    )


def find_path_task(path: tuple[str, ...]) -> str | None:
    """The task of a step among the names of a node's path."""
    return find_task(part.removesuffix(_DRIVER_SUFFIX) for part in path)


def split_node_name(name: str) -> tuple[str, ...]:
    """The path in a node's full name, without the attempts: kubert-x7k2p.root.train-driver(0)."""
    return tuple(_ATTEMPT.sub("", part) for part in name.split(".")[1:])


def _parse_node(node: Mapping[str, Any]) -> Node:
    return Node(
        path=split_node_name(str(node.get("name") or "")),
        kind=str(node.get("type") or ""),
        phase=str(node.get("phase") or ""),
        message=" ".join(str(node.get("message") or "").split()),
        finished_at=str(node.get("finishedAt") or ""),
    )
