"""The pods of a run, where a kubeconfig or an in-cluster account is at hand: their logs, and the steps' progress events in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from components.errors import KubertError
from components.kubernetes_client import (
    ClusterNotFoundError,
    describe_refusal,
    new_api_client,
)
from components.progress import ProgressEvent, parse_progress_event

RUN_LABEL = "pipeline/runid"
CONTAINER = "main"
REQUEST_TIMEOUT_SECONDS = (5.0, 30.0)


class PodLogsUnavailableError(KubertError):
    """Kubernetes does not show the run's pods: no account at hand, no rights, or no answer."""


@dataclass(frozen=True)
class PodLog:
    """What one container of the run has written."""

    pod: str
    container: str
    lines: list[str]


@dataclass
class RunPods:
    """The pods of one run; what was read of a log is not told again by `read_new_events`."""

    run: str
    namespace: str
    _api: Any = field(repr=False)
    _lines_read: dict[str, int] = field(default_factory=dict)
    _fully_read: set[str] = field(default_factory=set)

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
        return cls(run, namespace, client.CoreV1Api(api_client))

    def read_logs(self, step: str | None = None) -> Iterator[PodLog]:
        """Logs of the run's containers that say something about the step (all: of any), oldest pod first."""
        for pod in self._pods():
            lines = self._lines(pod["metadata"]["name"])
            named = {event.step for event in parse_progress_events(lines)}
            if lines and (step is None or step in named):
                yield PodLog(pod["metadata"]["name"], CONTAINER, lines)

    def read_new_events(self) -> list[ProgressEvent]:
        """The progress events that the run's steps have reported since the last call, in their order."""
        found: list[ProgressEvent] = []
        for pod in self._pods():
            name = pod["metadata"]["name"]
            if name in self._fully_read:
                continue
            over = pod["status"].get("phase") in ("Succeeded", "Failed")
            lines = self._lines(name)
            found += parse_progress_events(lines[self._lines_read.get(name, 0) :])
            self._lines_read[name] = len(lines)
            if over:
                self._fully_read.add(name)
        return sorted(found, key=lambda event: event.time)

    def _pods(self) -> list[dict[str, Any]]:
        answer = self._request(
            "list pods",
            lambda: self._api.list_namespaced_pod(
                self.namespace,
                label_selector=f"{RUN_LABEL}={self.run}",
                _preload_content=False,
                _request_timeout=REQUEST_TIMEOUT_SECONDS,
            ),
        )
        pods: list[dict[str, Any]] = json.loads(answer.data).get("items") or []
        return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))

    def _lines(self, pod: str) -> list[str]:
        from kubernetes.client import ApiException

        try:
            answer = self._api.read_namespaced_pod_log(
                pod,
                self.namespace,
                container=CONTAINER,
                _preload_content=False,
                _request_timeout=REQUEST_TIMEOUT_SECONDS,
            )
        except ApiException as error:
            if error.status in (400, 404):  # not started yet, or gone
                return []
            raise PodLogsUnavailableError(
                describe_refusal("read pods/log", self.namespace, error)
            ) from None
        text: str = answer.data.decode(errors="replace")
        return text[: text.rfind("\n") + 1].splitlines()

    def _request(self, action: str, call: Any) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return call()
        except ApiException as error:
            raise PodLogsUnavailableError(describe_refusal(action, self.namespace, error)) from None
        except HTTPError as error:
            raise PodLogsUnavailableError(
                f"Kubernetes does not answer ({type(error).__name__}); is KUBECONFIG right?"
            ) from None


def parse_progress_events(lines: list[str]) -> list[ProgressEvent]:
    """The progress events among a log's lines; what a launcher writes between them is skipped."""
    return [event for line in lines if (event := parse_progress_event(line))]
