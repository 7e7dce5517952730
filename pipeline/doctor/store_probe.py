"""Tries the stores from a pod like those of the steps: same account, variables and network."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from components.config.cluster import ClusterConfig
from components.config.schema import Config
from components.storage.uri import is_remote_uri
from pipeline import images
from pipeline.doctor import Finding
from pipeline.doctor.cluster_reader import PodClient
from pipeline.pod_settings import USER_ID

PROBE_TIMEOUT_SECONDS = 120
POLL_INTERVAL_SECONDS = 1.0
RUN_LABEL = "pipeline/runid"
"""By this label the network policies recognize the pods of steps."""
_WAITING_FOR_NODE = "no node has started it"


def check_stores_from_a_pod(
    reader: PodClient,
    config: Config,
    cluster: ClusterConfig,
    sleep: Callable[[float], None] = time.sleep,
) -> Finding:
    """The stores of the configuration work from a pod in the namespace of runs.

    The pod is deleted again. It needs the right to create pods there.
    """
    uris = _list_stores(config, cluster)
    if not uris:
        return Finding.ok("none is configured: pipeline root and checkpoints are the server's own")
    pods = f"/api/v1/namespaces/{cluster.namespace}/pods"
    created = reader.post(pods, render_probe_pod(uris, images.resolve_images(cluster)))
    path = f"{pods}/{created['metadata']['name']}"
    try:
        pod = _wait_for_end(reader, path, sleep)
        if pod["status"].get("phase") not in ("Succeeded", "Failed"):
            return Finding.missing(
                f"the pod did not end within {PROBE_TIMEOUT_SECONDS} s: {_explain_waiting(pod)}",
                "see `kubectl describe pod` while it runs",
            )
        return _assess_output(uris, cluster, reader.get_text(f"{path}/log"))
    finally:
        reader.delete(path)


def render_probe_pod(uris: list[str], cluster: ClusterConfig) -> dict[str, Any]:
    """The pod that runs `components.storage.probe`, with the settings of a step's pod."""
    environment: list[dict[str, Any]] = [
        {"name": name, "value": value} for name, value in cluster.environment.items()
    ]
    if cluster.storage_endpoint:
        environment.append({"name": "AWS_ENDPOINT_URL", "value": cluster.storage_endpoint})
    if cluster.storage_secret:
        variables = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        for variable, key in zip(variables, cluster.storage_secret_keys, strict=True):
            reference = {"secretKeyRef": {"name": cluster.storage_secret, "key": key}}
            environment.append({"name": variable, "valueFrom": reference})
    container = {
        "name": "main",
        "image": cluster.tools_image,
        "imagePullPolicy": cluster.image_pull_policy,
        "command": ["python", "-m", "components.storage.probe", *uris],
        "env": environment,
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "kubert-probe-",
            "labels": {"app.kubernetes.io/name": "kubert", RUN_LABEL: "kubert-doctor"},
        },
        "spec": {
            "serviceAccountName": cluster.service_account,
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": PROBE_TIMEOUT_SECONDS,
            "imagePullSecrets": [{"name": name} for name in cluster.image_pull_secrets],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER_ID,
                "runAsGroup": USER_ID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def _list_stores(config: Config, cluster: ClusterConfig) -> list[str]:
    uris = (cluster.pipeline_root, cluster.checkpoint_uri, config.export.model_store)
    return list(dict.fromkeys(uri for uri in uris if uri and is_remote_uri(uri)))


def _wait_for_end(reader: PodClient, path: str, sleep: Callable[[float], None]) -> dict[str, Any]:
    deadline = time.monotonic() + PROBE_TIMEOUT_SECONDS
    while True:
        pod: dict[str, Any] = reader.get(path) or {"status": {"phase": "Failed"}}
        has_ended = pod["status"].get("phase") in ("Succeeded", "Failed")
        if has_ended or time.monotonic() > deadline:
            return pod
        sleep(POLL_INTERVAL_SECONDS)


def _explain_waiting(pod: dict[str, Any]) -> str:
    """Why a pod does not run, in Kubernetes' words."""
    for status in pod["status"].get("containerStatuses") or []:
        if waiting := (status.get("state") or {}).get("waiting"):
            return f"{waiting.get('reason')} {waiting.get('message') or ''}".strip()
    for condition in pod["status"].get("conditions") or []:
        if condition.get("status") == "False" and condition.get("message"):
            return str(condition["message"])
    return _WAITING_FOR_NODE


def _assess_output(uris: list[str], cluster: ClusterConfig, output: str) -> Finding:
    """The finding of the probe's lines; its last line if it did not get that far."""
    lines = output.splitlines()
    found = [json.loads(line) for line in lines if line.startswith('{"uri"')]
    for one in found:
        if one["problem"]:
            message = one["problem"]
            named = message if one["uri"] in message else f"{one['uri']}: {message}"
            secret = cluster.storage_secret
            keys = f". The pod has the keys of the secret {secret}" if secret else ""
            return Finding.missing(f"from a pod: {named}", one["remedy"] + keys)
    if len(found) < len(uris):
        last = lines[-1] if lines else "no output"
        return Finding.missing(
            f"the pod ended before it had tried all stores: {last}", "check cluster.tools_image"
        )
    return Finding.ok(f"from a pod: {', '.join(uris)}")
