"""Follows a run on the server to its end: what the API says of its tasks, and what its steps themselves say where their pods can be seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.errors import USER_ERROR_CODES, ExitCode
from pipeline.kubeflow.client import KfpApi
from pipeline.kubeflow.errors import ServerFailed
from pipeline.kubeflow.records import Run, Task
from pipeline.kubeflow.run_logs import PodsUnseen, RunPods
from pipeline.run_state import STEPS, Outcome

POLL = 3.0
PATIENCE = 900.0
"""Seconds for which the server may be away while a run is followed."""
Show = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code, one sentence for a person, and its steps."""

    run: Run
    outcome: Outcome
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0: released; 3: the gate closed; 2: a step refused what it was given; 1: anything else."""
        if self.run.state == "SUCCEEDED":
            return ExitCode.SUCCESS if self.outcome.done("export") else ExitCode.GATE_CLOSED
        failure = self.outcome.failure
        user_error = failure and failure.exit_code in USER_ERROR_CODES
        return ExitCode.USER_ERROR if user_error else ExitCode.FAILURE

    @property
    def verdict(self) -> str:
        """What the run came to."""
        steps, failure = self.outcome.steps, self.outcome.failure
        if self.run.state == "SUCCEEDED":
            if self.exit_code == ExitCode.GATE_CLOSED:
                return f"nothing released: {steps['gate'].figures.get('reason', 'the gate closed')}"
            release = steps["export"].figures
            return (
                f"released version {release['version']}: {release['release']}"
                if "release" in release
                else "released"
            )
        if self.run.stopped and not failure:
            return "stopped"
        where = (
            f"{failure.step}: {failure.message}"
            if failure
            else self.run.error or "the server gives no reason; the pods' logs may"
        )
        return f"failed: {where}"


def follow(
    api: KfpApi,
    run_id: str,
    pods: RunPods | None,
    show: Show,
    sleep: Callable[[float], None] = time.sleep,
) -> Ended:
    """Return when the run has ended; `show` sees the steps' events as they come. The server may be away for a while."""
    seen = _Seen(show)
    away_since: float | None = None
    while True:
        try:
            run = api.run(run_id)
            away_since = None
        except ServerFailed:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > PATIENCE:
                raise
            continue
        pods = _told(pods, seen)
        seen.tasks(run.tasks)
        if run.over:
            return Ended(run, seen.outcome, tuple(seen.notes))
        sleep(POLL)


def read(api: KfpApi, run_id: str, pods: RunPods | None) -> Ended:
    """The run as it is now, ended or not, with all that can be known about its steps."""
    run, seen = api.run(run_id), _Seen(lambda event: None)
    _told(pods, seen)
    seen.tasks(run.tasks)
    return Ended(run, seen.outcome, tuple(seen.notes))


def _told(pods: RunPods | None, seen: _Seen) -> RunPods | None:
    """Take the steps' own events; pods that cannot be seen are not asked again."""
    if pods is None:
        return None
    try:
        for event in pods.new_events():
            seen.event(event)
    except PodsUnseen:
        return None
    return pods


class _Seen:
    """Adds up both sources; a step's change is told once, by whichever comes first."""

    def __init__(self, show: Show) -> None:
        self.outcome = Outcome()
        self.notes: list[str] = []
        self._show = show

    def event(self, event: dict[str, Any]) -> None:
        after = self.outcome.after(event)
        if event.get("unchanged") and event.get("message") not in self.notes:
            self.notes.append(str(event["message"]))
        if after == self.outcome and event.get("kind"):
            return
        self.outcome = after
        self._show(event)

    def tasks(self, tasks: tuple[Task, ...]) -> None:
        for name in STEPS:
            for task in (task for task in tasks if task.name == name):
                self._task(task)

    def _task(self, task: Task) -> None:
        status = self.outcome.steps[task.name].status
        if status == "waiting" and task.state in ("RUNNING", "SUCCEEDED", "FAILED"):
            self.event({"step": task.name, "kind": "started"})
        if status in ("waiting", "running") and task.state == "SUCCEEDED":
            self.event({"step": task.name, "kind": "finished", "seconds": _seconds(task)})
        if status in ("waiting", "running") and task.state == "FAILED":
            message = task.error or "failed; its pod's log has the reason"
            self.event(
                {
                    "step": task.name,
                    "kind": "error",
                    "message": message,
                    "exit_code": ExitCode.FAILURE,
                }
            )


def _seconds(task: Task) -> float:
    return (task.ended - task.started).total_seconds() if task.started and task.ended else 0.0
