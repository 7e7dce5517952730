"""What a step costs beyond its own work, from the workflow's nodes, its pod and its log."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.progress import StepName, parse_progress_event
from pipeline.kubeflow.run_logs import RUN_LABEL
from tests.support.real_kfp.run_objects import RunObjects

PHASES = ("driver", "to pod", "pod start", "launcher", "our start", "work", "end", "to next")


@dataclass(frozen=True)
class StepCost:
    """Seconds of each phase of a step, in the order of PHASES.

    driver: KFP's driver pod. to pod: until the step's pod is created. pod start: until its
    container runs. launcher: until the step's Python process logs its first line. our start: until
    it reports its start. work: until it reports its end. end: until the container has ended. to
    next: until the next node is started.
    """

    step: StepName
    seconds: Mapping[str, float]

    @property
    def overhead_seconds(self) -> float:
        """All but the step's own work."""
        return sum(self.seconds.values()) - self.seconds["work"]


def measure_steps(run: RunObjects) -> list[StepCost]:
    """The costs of the steps of a run that has ended and whose pods are still there."""
    nodes = run.list_workflow_pods()
    costs = []
    for pod in run.list_objects("pods", "--selector", f"{RUN_LABEL}={run.run_id}"):
        log = run.kubectl(
            "logs", pod["metadata"]["name"], "--container", "main", "--timestamps", check=False
        )
        lines = [line.partition(" ")[::2] for line in log.splitlines()]
        if any(parse_progress_event(text) for _, text in lines):
            costs.append(_measure_step(pod, lines, nodes))
    return sorted(costs, key=lambda cost: list(StepName).index(cost.step))


def format_table(costs: Sequence[StepCost]) -> str:
    """A table with a row per step, in seconds."""
    rows = [["step", *PHASES, "beyond its work"]]
    for cost in costs:
        values = [*(cost.seconds[phase] for phase in PHASES), cost.overhead_seconds]
        rows.append([cost.step, *(f"{value:.1f}" for value in values)])
    return "\n".join(" | ".join(f"{cell:>10}" for cell in row) for row in rows)


def _measure_step(
    pod: Mapping[str, Any],
    lines: Sequence[Sequence[str]],
    nodes: Sequence[Mapping[str, Any]],
) -> StepCost:
    events = [event for _, text in lines if (event := parse_progress_event(text))]
    step = events[0].step
    first_line = next(
        (_parse_time(stamp) for stamp, text in lines if "[KFP Executor" in text), events[0].time
    )
    (main,) = [each for each in pod["status"]["containerStatuses"] if each["name"] == "main"]
    ended = main["state"]["terminated"]
    container_end = _parse_time(ended["finishedAt"])
    (driver,) = [node for node in nodes if node["displayName"].startswith(f"{step}-driver")]
    later = [start for node in nodes if (start := _parse_time(node["startedAt"])) >= container_end]
    moments = [
        _parse_time(driver["startedAt"]),
        _parse_time(driver["finishedAt"]),
        _parse_time(pod["metadata"]["creationTimestamp"]),
        _parse_time(ended["startedAt"]),
        first_line,
        next(event.time for event in events if event.kind == "started"),
        next(event.time for event in reversed(events) if event.kind in ("finished", "error")),
        container_end,
        min(later, default=container_end),
    ]
    durations = [later - earlier for earlier, later in itertools.pairwise(moments)]
    return StepCost(step, dict(zip(PHASES, durations, strict=True)))


def _parse_time(text: str) -> float:
    """Seconds since the epoch of a time as Kubernetes writes it."""
    return datetime.datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()
