"""Follows a run on the server to its end: what the API says of its tasks, and what its steps themselves say where their pods can be seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from components.errors import USER_ERROR_CODES, ExitCode
from components.progress import ProgressEvent, StepName
from pipeline.kubeflow.client import KubeflowClient
from pipeline.kubeflow.errors import ServerUnavailableError
from pipeline.kubeflow.records import Run, Task
from pipeline.kubeflow.run_logs import PodLogsUnavailableError, RunPods
from pipeline.run_state import STEP_NAMES, RunState

POLL_INTERVAL_SECONDS = 3.0
MAX_OUTAGE_SECONDS = 900.0
"""Seconds for which the server may be away while a run is followed."""
ShowEvent = Callable[[ProgressEvent], None]


@dataclass(frozen=True)
class RunResult:
    """How a run ended: its exit code, one sentence for a person, and its steps."""

    run: Run
    run_state: RunState
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0: released; 3: the gate closed; 2: a step refused what it was given; 1: anything else."""
        if self.run.state == "SUCCEEDED":
            return (
                ExitCode.SUCCESS if self.run_state.is_complete("export") else ExitCode.GATE_CLOSED
            )
        failure = self.run_state.failure
        user_error = failure and failure.exit_code in USER_ERROR_CODES
        return ExitCode.USER_ERROR if user_error else ExitCode.FAILURE

    @property
    def verdict(self) -> str:
        """What the run came to."""
        steps, failure = self.run_state.steps, self.run_state.failure
        if self.run.state == "SUCCEEDED":
            if self.exit_code == ExitCode.GATE_CLOSED:
                return f"nothing released: {steps['gate'].figures.get('reason', 'the gate closed')}"
            release = steps["export"].figures
            return (
                f"released version {release['version']}: {release['release']}"
                if "release" in release
                else "released"
            )
        if self.run.stop_requested and not failure:
            return "stopped"
        where = (
            f"{failure.step}: {failure.message}"
            if failure
            else self.run.error or "the server gives no reason; the pods' logs may"
        )
        return f"failed: {where}"


def follow_run(
    api: KubeflowClient,
    run_id: str,
    pods: RunPods | None,
    show: ShowEvent,
    sleep: Callable[[float], None] = time.sleep,
) -> RunResult:
    """Return when the run has ended; `show` sees the steps' events as they come. The server may be away for a while."""
    seen = _EventMerger(show)
    away_since: float | None = None
    while True:
        try:
            run = api.get_run(run_id)
            away_since = None
        except ServerUnavailableError:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > MAX_OUTAGE_SECONDS:
                raise
            continue
        pods = _merge_pod_events(pods, seen)
        seen.tasks(run.tasks)
        if run.has_ended:
            return RunResult(run, seen.run_state, tuple(seen.notes))
        sleep(POLL_INTERVAL_SECONDS)


def read_run(api: KubeflowClient, run_id: str, pods: RunPods | None) -> RunResult:
    """The run as it is now, ended or not, with all that can be known about its steps."""
    run, seen = api.get_run(run_id), _EventMerger(lambda event: None)
    _merge_pod_events(pods, seen)
    seen.tasks(run.tasks)
    return RunResult(run, seen.run_state, tuple(seen.notes))


def _merge_pod_events(pods: RunPods | None, seen: _EventMerger) -> RunPods | None:
    """Take the steps' own events; pods that cannot be seen are not asked again."""
    if pods is None:
        return None
    try:
        for event in pods.read_new_events():
            seen.event(event)
    except PodLogsUnavailableError:
        return None
    return pods


class _EventMerger:
    """Adds up both sources; a step's change is told once, by whichever comes first."""

    def __init__(self, show: ShowEvent) -> None:
        self.run_state = RunState()
        self.notes: list[str] = []
        self._show = show

    def event(self, event: ProgressEvent) -> None:
        after = self.run_state.apply(event)
        if event.metrics.get("unchanged") and event.message not in self.notes:
            self.notes.append(event.message)
        if after == self.run_state and event.kind:
            return
        self.run_state = after
        self._show(event)

    def tasks(self, tasks: tuple[Task, ...]) -> None:
        for name in STEP_NAMES:
            for task in (task for task in tasks if task.name == name):
                self._task(task)

    def _task(self, task: Task) -> None:
        step = StepName(task.name)
        status = self.run_state.steps[step].status
        if status == "waiting" and task.state in ("RUNNING", "SUCCEEDED", "FAILED"):
            self.event(ProgressEvent(step, kind="started"))
        if status in ("waiting", "running") and task.state == "SUCCEEDED":
            self.event(ProgressEvent(step, kind="finished", seconds=_task_seconds(task)))
        if status in ("waiting", "running") and task.state == "FAILED":
            message = task.error or "failed; its pod's log has the reason"
            self.event(ProgressEvent(step, message, "error", exit_code=ExitCode.FAILURE))


def _task_seconds(task: Task) -> float:
    return (
        (task.finished_at - task.started_at).total_seconds()
        if task.started_at and task.finished_at
        else 0.0
    )
