"""Follows a run on the server until it ends.

Three sources are merged: the tasks' states from the API, the steps' own progress events from their
pods' logs, where Kubernetes shows them, and, once a run has failed, the messages of its workflow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from components.errors import USER_ERROR_CODES, ExitCode
from components.progress import ProgressEvent, StepName
from pipeline.cross_validation.task_names import find_event_task, list_fold_tasks, parse_task_name
from pipeline.kubeflow.client import KubeflowClient
from pipeline.kubeflow.errors import ServerUnavailableError
from pipeline.kubeflow.records import Run, Task
from pipeline.kubeflow.run_logs import PodLogsUnavailableError, RunPods
from pipeline.kubeflow.workflow.manifest import Workflow
from pipeline.parameters import FOLDS_PARAMETER
from pipeline.run_state import RunState

POLL_INTERVAL_SECONDS = 3.0
MAX_OUTAGE_SECONDS = 900.0
"""How long the server may be unavailable while a run is followed."""
DELETED_AFTER_SECONDS = 60.0
"""How long a followed run has had no workflow when it is given up."""
WORKFLOW_DELETED = (
    "its workflow was deleted from the cluster, so the server never learns of its end; submit "
    "again, with another key: finished steps are reused, and training continues from its checkpoint"
)
NO_REASON = "the server gives no reason; the pods' logs may"
NO_STEP_REASON = "failed; its pod's log has the reason"
MIN_STEP_SECONDS = 2.0
"""No pod runs a step in less: a task that succeeded sooner was answered from the server's cache."""
ShowEvent = Callable[[ProgressEvent], None]


@dataclass(frozen=True)
class RunResult:
    """A run with the state of its steps; `notes` are what steps reported as remarkable.

    `workflow` is only known of a run that failed, `graph_failure` where its pods can be read.
    `is_deleted`: its workflow is gone from the cluster, so that it never ends on the server.
    """

    run: Run
    run_state: RunState
    notes: tuple[str, ...]
    workflow: Workflow | None = None
    graph_failure: str = ""
    is_deleted: bool = False

    @property
    def was_stopped(self) -> bool:
        """Whether the run ended because someone stopped it; the server shows it as failed."""
        return is_stopped(self.run, self.workflow)

    @property
    def exit_code(self) -> int:
        """The `kubert` command's exit code for a run that has ended, as for `kubert run`."""
        if self.run.state == "SUCCEEDED":
            has_no_gate = "gate" not in self.run_state.steps
            is_complete = has_no_gate or self.run_state.is_complete("export")
            return ExitCode.SUCCESS if is_complete else ExitCode.GATE_CLOSED
        failure = self.run_state.failure
        is_user_error = failure is not None and failure.exit_code in USER_ERROR_CODES
        return ExitCode.USER_ERROR if is_user_error and not self.was_stopped else ExitCode.FAILURE

    @property
    def verdict(self) -> str:
        """The result of a run that has ended or was deleted, in one sentence."""
        if self.is_deleted:
            return f"failed: {WORKFLOW_DELETED}"
        steps, failure = self.run_state.steps, self.run_state.failure
        if self.run.state == "SUCCEEDED" and is_scoring(self.run):
            return _describe_scoring(steps["score"].figures)
        if self.run.state == "SUCCEEDED" and count_folds(self.run):
            return _describe_cross_validation(steps["summarize"].figures)
        if self.run.state == "SUCCEEDED":
            if self.exit_code == ExitCode.GATE_CLOSED:
                return f"nothing released: {steps['gate'].figures.get('reason', 'the gate closed')}"
            release = steps["export"].figures
            if "release" not in release:
                return "released"
            return f"released version {release['version']}: {release['release']}"
        if self.was_stopped:
            return "stopped"
        if failure:
            return f"failed: {failure.step}: {failure.message}"
        reason = self.run.error or self.graph_failure or describe_workflow_failure(self.workflow)
        return f"failed: {reason or NO_REASON}"

    @property
    def failed_rules(self) -> list[str]:
        """What closed the gate, as far as its step reported it (see `GateDecision`)."""
        gate = self.run_state.steps.get("gate")
        return [str(rule) for rule in gate.figures.get("failed_rules", ())] if gate else []

    @property
    def lacks_cached_artifact(self) -> bool:
        """Whether it failed because what the server's cache answered with has been deleted."""
        failure = self.run_state.failure
        reused = any(step.status == "reused" for step in self.run_state.steps.values())
        return failure is not None and failure.missing_artifact and reused and not self.was_stopped

    def step_status(self, step: str) -> str:
        """The step's status, for tables; a step that a stop interrupted is `stopped`."""
        status = self.run_state.steps[step].status
        if self.was_stopped and self.run.has_ended and status in ("running", "failed"):
            return "stopped"
        return status


def is_scoring(run: Run) -> bool:
    """Whether the run is one of the pipeline that scores, which alone has a target."""
    return "target" in run.parameters


def count_folds(run: Run) -> int:
    """The number of folds of a cross-validation; 0 for any other run."""
    folds = run.parameters.get(FOLDS_PARAMETER)
    return int(folds) if isinstance(folds, int | float | str) else 0


def _describe_cross_validation(figures: Mapping[str, Any]) -> str:
    if "result" not in figures:
        return "cross-validated; nothing released"
    return f"{figures['folds']} folds: {figures['result']}; nothing released"


def _describe_scoring(figures: Mapping[str, Any]) -> str:
    if "output" not in figures:
        return "scored"
    if not figures.get("created", True):
        return f"scored before: {figures['output']}"
    return f"scored {figures['rows']:,} rows: {figures['output']}"


def is_stopped(run: Run, workflow: Workflow | None) -> bool:
    """Whether a run that did not succeed was stopped by someone."""
    return run.stop_requested or (workflow is not None and workflow.is_stopped)


def find_workflow(client: KubeflowClient, run: Run) -> Workflow | None:
    """The workflow of a run that has failed; None for other runs, and where it cannot be read."""
    if run.state != "FAILED":
        return None
    with suppress(ServerUnavailableError):
        return client.find_workflow(run.id)
    return None


def describe_workflow_failure(workflow: Workflow | None) -> str:
    """What the workflow says of its failure; empty if it says nothing."""
    if workflow is None:
        return ""
    node = workflow.find_failure()
    return f"{'.'.join(node.path)}: {node.message}" if node else workflow.message


def follow_run(
    client: KubeflowClient,
    run_id: str,
    pods: RunPods | None,
    show: ShowEvent,
    sleep: Callable[[float], None] = time.sleep,
) -> RunResult:
    """Wait until the run has ended; `show` receives the steps' events as they arrive.

    A run whose workflow was deleted stays as it is on the server: it is given up, as deleted.
    Raises ServerUnavailableError once the server has been unavailable for MAX_OUTAGE_SECONDS.
    """
    merger: _EventMerger | None = None
    unavailable_since: float | None = None
    deleted_since: float | None = None
    while True:
        try:
            run = client.get_run(run_id)
            unavailable_since = None
        except ServerUnavailableError:
            unavailable_since = unavailable_since or time.monotonic()
            if time.monotonic() - unavailable_since > MAX_OUTAGE_SECONDS:
                raise
            continue
        merger = merger or _EventMerger(run, show)
        pods = _merge_pod_events(pods, merger)
        merger.add_tasks(run.tasks)
        if run.has_ended:
            return merger.build_result(run, find_workflow(client, run), pods)
        if pods is None or not pods.is_deleted():
            deleted_since = None
        else:
            deleted_since = deleted_since or time.monotonic()
            if time.monotonic() - deleted_since >= DELETED_AFTER_SECONDS:
                return replace(merger.build_result(run, None, pods), is_deleted=True)
        sleep(POLL_INTERVAL_SECONDS)


def read_run(client: KubeflowClient, run_id: str, pods: RunPods | None) -> RunResult:
    """The run as it is now, ended or not, with all that is known about its steps."""
    run = client.get_run(run_id)
    merger = _EventMerger(run, lambda event: None)
    pods = _merge_pod_events(pods, merger)
    merger.add_tasks(run.tasks)
    known = merger.build_result(run, find_workflow(client, run), pods)
    is_deleted = pods is not None and not run.has_ended and pods.is_deleted()
    return replace(known, is_deleted=is_deleted)


def _merge_pod_events(pods: RunPods | None, merger: _EventMerger) -> RunPods | None:
    """Add the steps' own events; None for pods that cannot be read: they are not asked again."""
    if pods is None:
        return None
    try:
        for event in pods.read_new_events(merger.first_step):
            merger.add_event(event)
    except PodLogsUnavailableError:
        return None
    return pods


def _start_state(run: Run) -> RunState:
    """The state of the run's pipeline before its first step."""
    if folds := count_folds(run):
        return RunState.of_steps(list_fold_tasks(folds))
    return RunState.of_scoring() if is_scoring(run) else RunState()


class _EventMerger:
    """Merges both sources: a step's change is shown once, by whichever reports it first."""

    def __init__(self, run: Run, show: ShowEvent) -> None:
        self._run_state = _start_state(run)
        self._notes: list[str] = []
        self._show = show

    @property
    def first_step(self) -> StepName:
        """The first step of the run's pipeline."""
        return StepName(next(iter(self._run_state.steps)))

    def add_event(self, event: ProgressEvent) -> None:
        """Apply an event and show it, unless it reports a change that is known already."""
        if find_event_task(event) not in self._run_state.steps:
            return
        state = self._run_state.apply(event)
        if event.metrics.get("unchanged") and event.message not in self._notes:
            self._notes.append(event.message)
        if state == self._run_state and event.kind not in (None, "note"):
            return
        self._run_state = state
        self._show(event)

    def add_tasks(self, tasks: tuple[Task, ...]) -> None:
        """Derive events from the tasks' states, in the order of the steps.

        A failed task is left to `build_result`: only then is it known whether the run was stopped,
        and why the task failed.
        """
        for task in self._sort_by_step(tasks):
            self._add_task(task)

    def build_result(self, run: Run, workflow: Workflow | None, pods: RunPods | None) -> RunResult:
        """The run with all that was merged, its failed tasks included."""
        if run.has_ended and not is_stopped(run, workflow):
            reasons = _find_reasons(workflow, {} if pods is None else pods.fatal_lines)
            for task in self._sort_by_step(run.tasks):
                self._add_failed_task(task, reasons)
        graph_failure = "" if pods is None else pods.graph_failure
        return RunResult(run, self._run_state, tuple(self._notes), workflow, graph_failure)

    def _sort_by_step(self, tasks: tuple[Task, ...]) -> list[Task]:
        return [task for name in self._run_state.steps for task in tasks if task.name == name]

    def _add_task(self, task: Task) -> None:
        event = _describe_task(task)
        status = self._run_state.steps[task.name].status
        seconds = _compute_duration_seconds(task)
        if status == "waiting" and task.state == "SUCCEEDED" and seconds < MIN_STEP_SECONDS:
            self.add_event(replace(event, kind="reused"))
            return
        if status == "waiting" and task.state in ("RUNNING", "SUCCEEDED", "FAILED"):
            self.add_event(replace(event, kind="started"))
        if status in ("waiting", "running") and task.state == "SUCCEEDED":
            self.add_event(replace(event, kind="finished", seconds=seconds))

    def _add_failed_task(self, task: Task, reasons: Mapping[str, str]) -> None:
        """A failed task is its step's failure, also if the step itself had finished: KFP's launcher
        uploads the outputs after it."""
        if task.state == "FAILED" and self._run_state.steps[task.name].status != "failed":
            message = task.error or reasons.get(task.name) or NO_STEP_REASON
            failed = replace(_describe_task(task), message=message, kind="error")
            self.add_event(replace(failed, exit_code=ExitCode.FAILURE))


def _describe_task(task: Task) -> ProgressEvent:
    """An event about the task, without a message."""
    name = parse_task_name(task.name)
    return ProgressEvent(StepName(name.step), fold=name.fold)


def _find_reasons(workflow: Workflow | None, fatal_lines: Mapping[str, str]) -> dict[str, str]:
    """Why each step's task failed: the launcher's last line, else the message of its node."""
    nodes = sorted(workflow.nodes if workflow else (), key=lambda node: node.finished_at)
    messages = {
        node.task: node.message
        for node in nodes
        if node.task is not None and node.has_failed and node.message
    }
    return {**messages, **fatal_lines}


def _compute_duration_seconds(task: Task) -> float:
    if task.started_at is None or task.finished_at is None:
        return 0.0
    return (task.finished_at - task.started_at).total_seconds()
