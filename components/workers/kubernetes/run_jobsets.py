"""Deletes the JobSets of a pipeline run, from wherever somebody stops it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from kubernetes import client
from urllib3.exceptions import HTTPError

from components.kubernetes_client import (
    KubernetesRefusedError,
    KubernetesUnavailableError,
    describe_refusal,
    new_api_client,
)
from components.workers.kubernetes.jobset_manifest import (
    JOBSET_GROUP,
    JOBSET_PLURAL,
    JOBSET_VERSION,
    RUN_ANNOTATION,
)

REQUEST_TIMEOUT_SECONDS = (5.0, 15.0)
_SELECTOR = "app.kubernetes.io/name=kubert"


def delete_run_jobsets(run: str, namespace: str) -> list[str]:
    """Delete the JobSets that launchers of this run created; their names.

    Workers save a checkpoint when their pods are deleted. A run whose launcher adopted the JobSet
    of another run has none. Raises ClusterNotFoundError, KubernetesRefusedError or
    KubernetesUnavailableError.
    """
    api = client.CustomObjectsApi(new_api_client(connection_retries=False))
    jobsets = (JOBSET_GROUP, JOBSET_VERSION, namespace, JOBSET_PLURAL)
    found = _call(
        "list jobsets",
        namespace,
        lambda: api.list_namespaced_custom_object(
            *jobsets, label_selector=_SELECTOR, _request_timeout=REQUEST_TIMEOUT_SECONDS
        ),
    )
    names = [
        str(jobset["metadata"]["name"])
        for jobset in (found or {}).get("items", [])
        if jobset["metadata"].get("annotations", {}).get(RUN_ANNOTATION) == run
    ]
    for name in names:
        delete = partial(
            api.delete_namespaced_custom_object,
            *jobsets,
            name,
            propagation_policy="Foreground",
            _request_timeout=REQUEST_TIMEOUT_SECONDS,
        )
        _call("delete jobsets", namespace, delete)
    return names


def _call(action: str, namespace: str, call: Callable[[], Any]) -> Any:
    """Return the answer; None if there is no such object, or no JobSet controller."""
    try:
        return call()
    except client.ApiException as error:
        if error.status == 404:
            return None
        raise KubernetesRefusedError(describe_refusal(action, namespace, error)) from None
    except HTTPError as error:
        raise KubernetesUnavailableError(
            f"Kubernetes failed to {action} in namespace {namespace}: {type(error).__name__}"
        ) from None
