"""Checks which failures the controller of Kubeflow Pipelines retries; a pipeline cannot say it."""

from __future__ import annotations

from typing import Any

import yaml

from components.config.cluster import ClusterConfig
from pipeline.doctor import Finding
from pipeline.doctor.cluster_reader import Reader
from pipeline.doctor.service_checks import CONTROLLER_SETTINGS

_REMEDY = "see docs/operator-guide/retries.md for the setting of the controller"


def check_retry_policy(reader: Reader, cluster: ClusterConfig) -> Finding:
    """The controller retries lost pods and killed containers, but no mistakes of the user."""
    path = f"/api/v1/namespaces/{cluster.kubeflow_namespace}/configmaps/{CONTROLLER_SETTINGS}"
    settings = reader.get(path)
    if settings is None:
        return Finding.warning(
            f"there is no ConfigMap {cluster.kubeflow_namespace}/{CONTROLLER_SETTINGS}", _REMEDY
        )
    strategy = _find_retry_strategy((settings.get("data") or {}).get("workflowDefaults") or "")
    policy, expression = strategy.get("retryPolicy", "OnFailure"), strategy.get("expression")
    if policy == "Always" and expression:
        return Finding.ok("lost pods and killed containers")
    if policy == "OnError":
        return Finding.warning(
            "only lost pods: a container that is killed, as for lack of memory, fails the run",
            _REMEDY,
        )
    return Finding.warning(
        f"by retryPolicy {policy}: a mistake of the user is run again as well", _REMEDY
    )


def _find_retry_strategy(text: str) -> dict[str, Any]:
    """The retry strategy of all templates in the controller's defaults for workflows."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    for key in ("spec", "templateDefaults", "retryStrategy"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
