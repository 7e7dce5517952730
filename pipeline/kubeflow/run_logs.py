"""Reads the logs of a run's pods from Kubernetes, and the steps' progress events in them."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from components.errors import KubertError
from components.kubernetes_client import ClusterNotFoundError, describe_refusal, new_api_client
from components.progress import ProgressEvent, StepName, parse_progress_event
from components.redaction import MAX_LINE_LENGTH, redact_to_line
from pipeline.cross_validation.task_names import parse_task_name
from pipeline.kubeflow.workflow.manifest import find_path_task, split_node_name
from pipeline.kubeflow.workflow.pending_pods import describe_waiting, is_late

RUN_LABEL = "pipeline/runid"
NODE_NAME_ANNOTATION = "workflows.argoproj.io/node-name"
CONTAINER = "main"
MAX_FATAL_LINE = 10_000
CONTEXT_LENGTH = 60
REQUEST_TIMEOUT_SECONDS = (5.0, 30.0)
"""To connect, and between two reads."""
_FATAL_LINE = re.compile(r"F\d{4} [\d:.]+ +\d+ [\w.-]+:\d+\] (.+)")
"""The line with which Kubeflow's launcher or driver ends when it fails."""


class PodLogsUnavailableError(KubertError):
    """Kubernetes does not show the run's pods: no permission, or no reply."""


@dataclass(frozen=True)
class PodLog:
    """The complete lines that a container of the run has written."""

    pod: str
    container: str
    lines: list[str]


@dataclass
class RunPods:
    """The pods of one run; `read_new_events` returns each event once."""

    run: str
    namespace: str
    _api: Any = field(repr=False)
    _workflows: Any = field(default=None, repr=False)
    _has_pods: bool = True
    _lines_read: dict[str, int] = field(default_factory=dict)
    _fully_read: set[str] = field(default_factory=set)
    fatal_lines: dict[str, str] = field(default_factory=dict)
    """The last line of Kubeflow's launcher or driver per task, where it failed."""
    graph_failure: str = ""
    """The same of a driver that belongs to no task, such as that of the graph, with its node."""
    _reported: set[str] = field(default_factory=set)

    @classmethod
    def connect(cls, run: str, namespace: str) -> RunPods:
        """The run's pods in the cluster of `components.kubernetes_client`.

        Raises ClusterNotFoundError if there is no cluster.
        """
        from kubernetes import client

        try:
            api_client = new_api_client()
        except ClusterNotFoundError as error:
            raise ClusterNotFoundError(
                f"the logs are those of the run's pods in namespace {namespace} "
                f"(label {RUN_LABEL}={run}): {error}"
            ) from None
        workflows = client.CustomObjectsApi(api_client)
        return cls(run, namespace, client.CoreV1Api(api_client), workflows)

    def is_deleted(self) -> bool:
        """Whether the run's workflow is gone, and with it its pods, as of the last reading.

        False also where workflows may not be listed.
        """
        from kubernetes.client import ApiException

        if self._has_pods or self._workflows is None:
            return False
        try:
            reply = _translate_connection_errors(
                lambda: self._workflows.list_namespaced_custom_object(
                    "argoproj.io",
                    "v1alpha1",
                    self.namespace,
                    "workflows",
                    label_selector=f"{RUN_LABEL}={self.run}",
                    _request_timeout=REQUEST_TIMEOUT_SECONDS,
                )
            )
        except (ApiException, PodLogsUnavailableError):
            return False
        return not reply["items"]

    def read_logs(self, step: str | None = None) -> Iterator[PodLog]:
        """Logs of the containers that belong to the step (None: to any step), oldest pod first.

        In a cross-validation, a step is that of all folds, or that of one, such as train-fold-3.
        A container belongs to the steps that it reports on. One that reports on none belongs to the
        step that it failed in: it may have ended before the first report, and a driver has none.
        """
        for pod in self._list_pods():
            name = pod["metadata"]["name"]
            lines = self._read_lines(name)
            steps: set[str | None] = {event.step for event in parse_progress_events(lines)}
            task = _find_pod_task(pod)
            if not steps and find_fatal_line(lines):
                steps = {parse_task_name(task).step if task else None}
            if steps and task:
                steps.add(task)
            if lines and (step is None or step in steps):
                yield PodLog(name, CONTAINER, lines)

    def read_new_events(self, first_step: StepName) -> list[ProgressEvent]:
        """The progress events that the steps have reported since the last call, by time.

        Notes about pods before all steps count as those of the run's first step.
        """
        events: list[ProgressEvent] = []
        for pod in self._list_pods():
            name = pod["metadata"]["name"]
            if name in self._fully_read:
                continue
            fold = parse_task_name(_find_pod_task(pod) or "").fold
            events += self._read_waiting(pod, first_step)
            has_ended = pod["status"].get("phase") in ("Succeeded", "Failed")
            lines = self._read_lines(name)
            new_lines = lines[self._lines_read.get(name, 0) :]
            events += [replace(event, fold=fold) for event in parse_progress_events(new_lines)]
            self._note_fatal_line(pod, new_lines)
            self._lines_read[name] = len(lines)
            if has_ended:
                self._fully_read.add(name)
        return sorted(events, key=lambda event: event.time)

    def _read_waiting(self, pod: dict[str, Any], first_step: StepName) -> list[ProgressEvent]:
        """A note, once per pod, about one that should have started."""
        name = pod["metadata"]["name"]
        if name in self._reported or not is_late(pod, datetime.datetime.now(datetime.UTC)):
            return []
        reason = redact_to_line(describe_waiting(pod, self._list_warnings(name)) or "")
        if not reason:
            return []
        self._reported.add(name)
        task = parse_task_name(_find_pod_task(pod) or first_step)
        message = f"pod {name} has not started: {reason}"
        return [ProgressEvent(StepName(task.step), message, "note", fold=task.fold)]

    def _list_warnings(self, pod: str) -> list[str]:
        from kubernetes.client import ApiException

        try:
            reply = _translate_connection_errors(
                lambda: self._api.list_namespaced_event(
                    self.namespace,
                    field_selector=f"involvedObject.name={pod},type=Warning",
                    _preload_content=False,
                    _request_timeout=REQUEST_TIMEOUT_SECONDS,
                )
            )
        except ApiException:
            return []  # without the right to list events the pod's own status remains
        return [
            str(item.get("message") or "") for item in json.loads(reply.data).get("items") or []
        ]

    def _note_fatal_line(self, pod: dict[str, Any], lines: list[str]) -> None:
        line = find_fatal_line(lines)
        path = _find_pod_path(pod)
        if line and (task := find_path_task(path)):
            self.fatal_lines[task] = line
        elif line:
            self.graph_failure = f"{'.'.join(path)}: {line}"

    def _list_pods(self) -> list[dict[str, Any]]:
        from kubernetes.client import ApiException

        try:
            reply = _translate_connection_errors(
                lambda: self._api.list_namespaced_pod(
                    self.namespace,
                    label_selector=f"{RUN_LABEL}={self.run}",
                    _preload_content=False,
                    _request_timeout=REQUEST_TIMEOUT_SECONDS,
                )
            )
        except ApiException as error:
            raise PodLogsUnavailableError(
                describe_refusal("list pods", self.namespace, error)
            ) from None
        pods: list[dict[str, Any]] = json.loads(reply.data).get("items") or []
        self._has_pods = bool(pods)
        return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))

    def _read_lines(self, pod: str) -> list[str]:
        """The complete lines of the pod's log; none where it has not started, or is gone."""
        from kubernetes.client import ApiException

        try:
            reply = _translate_connection_errors(
                lambda: self._api.read_namespaced_pod_log(
                    pod,
                    self.namespace,
                    container=CONTAINER,
                    _preload_content=False,
                    _request_timeout=REQUEST_TIMEOUT_SECONDS,
                )
            )
        except ApiException as error:
            if error.status in (400, 404):
                return []
            raise PodLogsUnavailableError(
                describe_refusal("read pods/log", self.namespace, error)
            ) from None
        text: str = reply.data.decode(errors="replace")
        return text[: text.rfind("\n") + 1].splitlines()


def _find_pod_path(pod: dict[str, Any]) -> tuple[str, ...]:
    annotations = pod["metadata"].get("annotations") or {}
    return split_node_name(annotations.get(NODE_NAME_ANNOTATION, ""))


def _find_pod_task(pod: dict[str, Any]) -> str | None:
    return find_path_task(_find_pod_path(pod))


def find_fatal_line(lines: list[str]) -> str | None:
    """The message of the last fatal line that Kubeflow's launcher or driver wrote, if any."""
    found = [match[1] for line in lines if (match := _FATAL_LINE.fullmatch(line))]
    return _shorten_error_chain(redact_to_line(found[-1], MAX_FATAL_LINE)) if found else None


def _shorten_error_chain(line: str) -> str:
    """The begin and the end of a line that is too long: Go writes what failed first, the cause
    last."""
    if len(line) <= MAX_LINE_LENGTH:
        return line
    return f"{line[:CONTEXT_LENGTH]} ... {line[CONTEXT_LENGTH - MAX_LINE_LENGTH + 5 :]}"


def parse_progress_events(lines: list[str]) -> list[ProgressEvent]:
    """The progress events among a log's lines; KFP's launcher writes other lines between them."""
    return [event for line in lines if (event := parse_progress_event(line))]


def _translate_connection_errors(call: Callable[[], Any]) -> Any:
    from urllib3.exceptions import HTTPError

    try:
        return call()
    except HTTPError as error:
        raise PodLogsUnavailableError(
            f"Kubernetes does not answer ({type(error).__name__}); is KUBECONFIG right?"
        ) from None
