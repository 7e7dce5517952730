"""The Kubernetes API calls of a launcher, repeated while the server or its webhooks are down.

Needs these rights: jobsets create, get, delete; pods list; pods/log get; events list.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

from kubernetes import client
from urllib3.exceptions import HTTPError

from components.errors import KubertError
from components.kubernetes_client import (
    ClusterNotFoundError,
    KubernetesRefusedError,
    KubernetesUnavailableError,
    describe_api_error,
    describe_refusal,
    new_api_client,
)
from components.retrying import RetryPolicy
from components.workers.kubernetes.jobset_manifest import (
    JOBSET_GROUP,
    JOBSET_PLURAL,
    JOBSET_VERSION,
)

_LOGGER = logging.getLogger(__name__)
REQUEST_TIMEOUT_SECONDS = (10.0, 30.0)
LOG_TIMEOUT_SECONDS = (10.0, 120.0)
"""To connect, and to wait for the next bytes."""
REQUEST_RETRIES = RetryPolicy(first_wait_seconds=0.5, max_wait_seconds=15.0, deadline_seconds=900.0)
CLEANUP_RETRIES = replace(REQUEST_RETRIES, deadline_seconds=30.0)
_LOG_CHUNK_BYTES = 2**16
KubernetesObject = dict[str, Any]


class _TransientError(Exception):
    """An answer that another attempt may not get."""


class JobSetClient:
    """Calls in one namespace. `stop` ends the retries of all of them except deletion."""

    def __init__(self, namespace: str, stop: threading.Event) -> None:
        self.namespace, self._stop = namespace, stop
        try:
            api_client = new_api_client()
        except ClusterNotFoundError as error:
            raise ClusterNotFoundError(f"cluster.backend=jobset: {error}") from None
        self._custom, self._core = client.CustomObjectsApi(api_client), client.CoreV1Api(api_client)

    def create_jobset(self, body: KubernetesObject) -> bool:
        """Create a JobSet; False if there is already one of this name."""
        try:
            self._call_with_retries(
                "create jobsets",
                lambda: self._custom.create_namespaced_custom_object(
                    *self._jobsets, body, _request_timeout=REQUEST_TIMEOUT_SECONDS
                ),
            )
        except client.ApiException as error:
            if error.status != 409:
                raise self._rejection_error("create jobsets", error) from None
            return False
        _LOGGER.debug("created JobSet %s", body["metadata"]["name"])
        return True

    def get_jobset(self, name: str) -> KubernetesObject | None:
        """Return the JobSet of this name, or None."""
        try:
            found = self._call_with_retries(
                "get jobsets",
                lambda: self._custom.get_namespaced_custom_object(
                    *self._jobsets, name, _request_timeout=REQUEST_TIMEOUT_SECONDS
                ),
            )
        except client.ApiException as error:
            if error.status != 404:
                raise self._rejection_error("get jobsets", error) from None
            return None
        return cast(KubernetesObject, found)

    def delete_jobset(self, name: str, uid: str = "") -> None:
        """Delete a JobSet, if it exists; its name is free when its pods have ended.

        With `uid` only that JobSet, and not one that another launcher has created meanwhile.
        """
        options = client.V1DeleteOptions(
            preconditions=client.V1Preconditions(uid=uid) if uid else None
        )
        try:
            self._call_with_retries(
                "delete jobsets",
                lambda: self._custom.delete_namespaced_custom_object(
                    *self._jobsets,
                    name,
                    body=options,
                    propagation_policy="Foreground",
                    _request_timeout=REQUEST_TIMEOUT_SECONDS,
                ),
                even_when_stopped=True,
            )
        except client.ApiException as error:
            is_another = error.status == 409 and uid
            if error.status != 404 and not is_another:
                raise self._rejection_error("delete jobsets", error) from None

    def list_pods(self, jobset: str) -> list[KubernetesObject]:
        """Return the pods of a JobSet."""
        return self._list_items(
            "list pods",
            lambda: self._core.list_namespaced_pod(
                self.namespace,
                label_selector=f"jobset.sigs.k8s.io/jobset-name={jobset}",
                _preload_content=False,
                _request_timeout=REQUEST_TIMEOUT_SECONDS,
            ),
        )

    def list_events(self, name: str) -> list[KubernetesObject]:
        """Return the events about the object of this name, the oldest first."""
        events = self._list_items(
            "list events",
            lambda: self._core.list_namespaced_event(
                self.namespace,
                field_selector=f"involvedObject.name={name}",
                _preload_content=False,
                _request_timeout=REQUEST_TIMEOUT_SECONDS,
            ),
        )
        return sorted(
            events,
            key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""),
        )

    def stream_log(self, pod: str, since_seconds: int | None) -> Iterator[str]:
        """Yield the lines of a pod's log as they are written, each with its timestamp in front.

        Ends when the pod or the connection does.
        """
        try:
            response = self._core.read_namespaced_pod_log(
                pod,
                self.namespace,
                follow=True,
                timestamps=True,
                _preload_content=False,
                _request_timeout=LOG_TIMEOUT_SECONDS,
                **({"since_seconds": since_seconds} if since_seconds else {}),
            )
            rest = b""
            for chunk in response.stream(_LOG_CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        except (client.ApiException, HTTPError):
            return

    def read_last_log_lines(self, pod: str, count: int) -> list[str]:
        """Return the last lines of a pod's log; none if the pod is gone."""
        try:
            response = self._core.read_namespaced_pod_log(
                pod,
                self.namespace,
                tail_lines=count,
                _preload_content=False,
                _request_timeout=REQUEST_TIMEOUT_SECONDS,
            )
            return str(response.data.decode(errors="replace")).splitlines()
        except (client.ApiException, HTTPError):
            return []

    @property
    def _jobsets(self) -> tuple[str, str, str, str]:
        return JOBSET_GROUP, JOBSET_VERSION, self.namespace, JOBSET_PLURAL

    def _list_items(self, action: str, call: Callable[[], Any]) -> list[KubernetesObject]:
        try:
            answer = json.loads(self._call_with_retries(action, call).data)
        except client.ApiException as error:
            raise self._rejection_error(action, error) from None
        return cast(list[KubernetesObject], answer.get("items", []))

    def _call_with_retries(
        self, action: str, call: Callable[[], Any], *, even_when_stopped: bool = False
    ) -> Any:
        """Return the answer; retries what is transient, raises ApiException for anything else."""

        def call_once() -> Any:
            try:
                return call()
            except client.ApiException as error:
                if error.status == 429 or int(error.status or 500) >= 500:
                    raise _log_transient(action, describe_api_error(error)) from error
                raise
            except HTTPError as error:
                raise _log_transient(action, str(error)) from error

        if even_when_stopped:
            retrying = CLEANUP_RETRIES.build_retrying(_TransientError)
        else:
            retrying = REQUEST_RETRIES.build_retrying(_TransientError, stop_event=self._stop)
        try:
            return retrying(call_once)
        except _TransientError as error:
            raise KubernetesUnavailableError(
                f"Kubernetes failed to {action} in namespace {self.namespace}: {error}"
            ) from None

    def _rejection_error(self, action: str, error: Any) -> KubertError:
        """Return the error about a request that another attempt would not change."""
        message = describe_refusal(action, self.namespace, error)
        if error.status == 404:
            message += "; is JobSet installed there?"
        return KubernetesRefusedError(message)


def _log_transient(action: str, message: str) -> _TransientError:
    _LOGGER.warning("could not %s, trying again: %s", action, message)
    return _TransientError(message)
