"""The few calls that a launcher makes to Kubernetes: repeated while the server or its webhooks are down, refused clearly when not allowed.

Needs: jobsets create, get, delete; pods list; pods/log get; events list.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import tenacity
from kubernetes import client, config
from urllib3.exceptions import HTTPError

from components.errors import ConfigError, KubertError
from components.workers.kubernetes.jobset_manifest import (
    JOBSET_GROUP,
    JOBSET_PLURAL,
    JOBSET_VERSION,
)

TIMEOUT = (10.0, 30.0)
LOG_TIMEOUT = (10.0, 120.0)
RETRY_TIMEOUT_SECONDS = 900.0
MAX_RETRY_WAIT_SECONDS = 15.0
KubernetesObject = dict[str, Any]


class KubernetesUnavailableError(KubertError):
    """The API server answered with errors for too long."""


class _Temporary(Exception):
    """An answer that another attempt may not get."""


class JobSetClient:
    """Calls in one namespace; `stop` ends every waiting."""

    def __init__(self, namespace: str, stop: threading.Event) -> None:
        self._namespace, self._stop = namespace, stop
        try:
            if "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config()
            else:
                config.load_kube_config(os.environ.get("KUBECONFIG"))
        except (config.ConfigException, OSError) as error:
            raise ConfigError(
                f"cluster.backend=jobset: neither in a pod nor a usable KUBECONFIG ({error})"
            ) from None
        self._custom, self._core = client.CustomObjectsApi(), client.CoreV1Api()

    def create_jobset(self, body: KubernetesObject) -> bool:
        """Create it; False if there is one of this name already."""
        try:
            self._call(
                "create jobsets",
                lambda: self._custom.create_namespaced_custom_object(
                    *self._jobsets, body, _request_timeout=TIMEOUT
                ),
            )
        except client.ApiException as error:
            if error.status != 409:
                raise self._refused("create jobsets", error) from None
            return False
        return True

    def jobset(self, name: str) -> KubernetesObject | None:
        """The JobSet of this name, if there is one."""
        try:
            found = self._call(
                "get jobsets",
                lambda: self._custom.get_namespaced_custom_object(
                    *self._jobsets, name, _request_timeout=TIMEOUT
                ),
            )
        except client.ApiException as error:
            if error.status != 404:
                raise self._refused("get jobsets", error) from None
            return None
        return cast(KubernetesObject, found)

    def delete_jobset(self, name: str) -> None:
        """Delete it; its name is free when its pods have ended."""
        try:
            self._call(
                "delete jobsets",
                lambda: self._custom.delete_namespaced_custom_object(
                    *self._jobsets, name, propagation_policy="Foreground", _request_timeout=TIMEOUT
                ),
                even_when_stopped=True,
            )
        except client.ApiException as error:
            if error.status != 404:
                raise self._refused("delete jobsets", error) from None

    def pods(self, jobset: str) -> list[KubernetesObject]:
        """The pods of a JobSet."""
        selector = f"jobset.sigs.k8s.io/jobset-name={jobset}"
        return self._listed("list pods", lambda: self._core.list_namespaced_pod(
            self._namespace, label_selector=selector, _preload_content=False, _request_timeout=TIMEOUT
        ))  # fmt: skip

    def events(self, name: str) -> list[KubernetesObject]:
        """The events of the object of this name, oldest first."""
        found = self._listed("list events", lambda: self._core.list_namespaced_event(
            self._namespace, field_selector=f"involvedObject.name={name}", _preload_content=False, _request_timeout=TIMEOUT
        ))  # fmt: skip
        return sorted(
            found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or "")
        )

    def log_lines(self, pod: str, since_seconds: int | None) -> Iterator[str]:
        """The lines of a pod's log as they come, each with its time in front, until the pod ends or the connection does."""
        try:
            stream = self._core.read_namespaced_pod_log(
                pod,
                self._namespace,
                follow=True,
                timestamps=True,
                _preload_content=False,
                _request_timeout=LOG_TIMEOUT,
                **({"since_seconds": since_seconds} if since_seconds else {}),
            )
            rest = b""
            for part in stream.stream(2**16):
                *lines, rest = (rest + part).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        except (client.ApiException, HTTPError):
            return

    def last_lines(self, pod: str, count: int) -> list[str]:
        """The end of a pod's log; empty if it is gone."""
        try:
            answer = self._core.read_namespaced_pod_log(
                pod,
                self._namespace,
                tail_lines=count,
                _preload_content=False,
                _request_timeout=TIMEOUT,
            )
            return str(answer.data.decode(errors="replace")).splitlines()
        except (client.ApiException, HTTPError):
            return []

    @property
    def _jobsets(self) -> tuple[str, str, str, str]:
        return JOBSET_GROUP, JOBSET_VERSION, self._namespace, JOBSET_PLURAL

    def _listed(self, action: str, call: Callable[[], Any]) -> list[KubernetesObject]:
        try:
            return cast(
                list[KubernetesObject], json.loads(self._call(action, call).data).get("items", [])
            )
        except client.ApiException as error:
            raise self._refused(action, error) from None

    def _call(
        self, action: str, call: Callable[[], Any], *, even_when_stopped: bool = False
    ) -> Any:
        def attempt() -> Any:
            try:
                return call()
            except client.ApiException as error:
                if error.status == 429 or int(error.status or 500) >= 500:
                    raise _Temporary(_said(error)) from error
                raise
            except HTTPError as error:
                raise _Temporary(str(error)) from error

        give_up = tenacity.stop_after_delay(30.0 if even_when_stopped else RETRY_TIMEOUT_SECONDS)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Temporary),
            stop=give_up
            if even_when_stopped
            else give_up | tenacity.stop_when_event_set(self._stop),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=MAX_RETRY_WAIT_SECONDS),
            sleep=tenacity.nap.sleep
            if even_when_stopped
            else tenacity.sleep_using_event(self._stop),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except _Temporary as error:
            raise KubernetesUnavailableError(
                f"Kubernetes failed to {action} in namespace {self._namespace}: {error}"
            ) from None

    def _refused(self, action: str, error: Any) -> KubertError:
        said = _said(error)
        if error.status in (401, 403):
            return ConfigError(
                f"the launcher may not {action} in namespace {self._namespace}: {said}; give its account the role in k8s/base"
            )
        if error.status == 404:
            return ConfigError(
                f"cannot {action} in namespace {self._namespace}: is JobSet installed there? ({said})"
            )
        return ConfigError(f"Kubernetes refuses to {action} in namespace {self._namespace}: {said}")


def _said(error: Any) -> str:
    try:
        return " ".join(str(json.loads(error.body)["message"]).split())[:600]
    except (ValueError, KeyError, TypeError):
        return f"{error.status} {error.reason}"
