"""Follows a run on the server until it ends.

Two sources are merged: the tasks' states from the API, and the steps' own progress events from
their pods' logs, where Kubernetes shows them.
"""

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
"""How long the server may be unavailable while a run is followed."""
NO_REASON = "the server gives no reason; the pods' logs may"
ShowEvent = Callable[[ProgressEvent], None]


@dataclass(frozen=True)
class RunResult:
    """A run with the state of its steps; `notes` are what steps reported as remarkable."""

    run: Run
    run_state: RunState
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """The `kubert` command's exit code for a run that has ended, as for `kubert run`."""
        if self.run.state == "SUCCEEDED":
            return (
                ExitCode.SUCCESS if self.run_state.is_complete("export") else ExitCode.GATE_CLOSED
            )
        failure = self.run_state.failure
        is_user_error = failure is not None and failure.exit_code in USER_ERROR_CODES
        return ExitCode.USER_ERROR if is_user_error else ExitCode.FAILURE

    @property
    def verdict(self) -> str:
        """The result of a run that has ended, in one sentence."""
        steps, failure = self.run_state.steps, self.run_state.failure
        if self.run.state == "SUCCEEDED":
            if self.exit_code == ExitCode.GATE_CLOSED:
                return f"nothing released: {steps['gate'].figures.get('reason', 'the gate closed')}"
            release = steps["export"].figures
            if "release" not in release:
                return "released"
            return f"released version {release['version']}: {release['release']}"
        if self.run.stop_requested and not failure:
            return "stopped"
        if failure:
            return f"failed: {failure.step}: {failure.message}"
        return f"failed: {self.run.error or NO_REASON}"


def follow_run(
    client: KubeflowClient,
    run_id: str,
    pods: RunPods | None,
    show: ShowEvent,
    sleep: Callable[[float], None] = time.sleep,
) -> RunResult:
    """Wait until the run has ended; `show` receives the steps' events as they arrive.

    Raises ServerUnavailableError once the server has been unavailable for MAX_OUTAGE_SECONDS.
    """
    merger = _EventMerger(show)
    unavailable_since: float | None = None
    while True:
        try:
            run = client.get_run(run_id)
            unavailable_since = None
        except ServerUnavailableError:
            unavailable_since = unavailable_since or time.monotonic()
            if time.monotonic() - unavailable_since > MAX_OUTAGE_SECONDS:
                raise
            continue
        pods = _merge_pod_events(pods, merger)
        merger.add_tasks(run.tasks)
        if run.has_ended:
            return merger.build_result(run)
        sleep(POLL_INTERVAL_SECONDS)


def read_run(client: KubeflowClient, run_id: str, pods: RunPods | None) -> RunResult:
    """The run as it is now, ended or not, with all that is known about its steps."""
    run, merger = client.get_run(run_id), _EventMerger(lambda event: None)
    _merge_pod_events(pods, merger)
    merger.add_tasks(run.tasks)
    return merger.build_result(run)


def _merge_pod_events(pods: RunPods | None, merger: _EventMerger) -> RunPods | None:
    """Add the steps' own events; None for pods that cannot be read: they are not asked again."""
    if pods is None:
        return None
    try:
        for event in pods.read_new_events():
            merger.add_event(event)
    except PodLogsUnavailableError:
        return None
    return pods


class _EventMerger:
    """Merges both sources: a step's change is shown once, by whichever reports it first."""

    def __init__(self, show: ShowEvent) -> None:
        self._run_state = RunState()
        self._notes: list[str] = []
        self._show = show

    def add_event(self, event: ProgressEvent) -> None:
        """Apply an event and show it, unless it reports a change that is known already."""
        state = self._run_state.apply(event)
        if event.metrics.get("unchanged") and event.message not in self._notes:
            self._notes.append(event.message)
        if state == self._run_state and event.kind not in (None, "note"):
            return
        self._run_state = state
        self._show(event)

    def add_tasks(self, tasks: tuple[Task, ...]) -> None:
        """Derive events from the tasks' states, in the order of the steps."""
        for name in STEP_NAMES:
            for task in (task for task in tasks if task.name == name):
                self._add_task(task)

    def build_result(self, run: Run) -> RunResult:
        """The run with all that was merged."""
        return RunResult(run, self._run_state, tuple(self._notes))

    def _add_task(self, task: Task) -> None:
        step = StepName(task.name)
        status = self._run_state.steps[step].status
        if status == "waiting" and task.state in ("RUNNING", "SUCCEEDED", "FAILED"):
            self.add_event(ProgressEvent(step, kind="started"))
        if status in ("waiting", "running") and task.state == "SUCCEEDED":
            seconds = _compute_duration_seconds(task)
            self.add_event(ProgressEvent(step, kind="finished", seconds=seconds))
        if status in ("waiting", "running") and task.state == "FAILED":
            message = task.error or "failed; its pod's log has the reason"
            self.add_event(ProgressEvent(step, message, "error", exit_code=ExitCode.FAILURE))


def _compute_duration_seconds(task: Task) -> float:
    if task.started_at is None or task.finished_at is None:
        return 0.0
    return (task.finished_at - task.started_at).total_seconds()
