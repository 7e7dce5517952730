"""Checks of capacity: nodes that a worker fits on, and what is left of the namespace's quotas."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from components.config.cluster import ClusterConfig
from pipeline.doctor import Finding
from pipeline.doctor.cluster_reader import Reader


def check_nodes(reader: Reader, cluster: ClusterConfig, workers: int) -> Finding:
    """At least one node has the labels, CPUs, memory and GPUs that a worker's pod needs.

    With cluster.backend=local, one pod has the GPUs of all workers.
    """
    nodes = reader.get("/api/v1/nodes")["items"]
    requests = {"cpu": cluster.cpu, "memory": cluster.memory}
    if cluster.gpus:
        workers_per_pod = workers if cluster.backend == "local" else 1
        requests[cluster.gpu_resource] = str(cluster.gpus * workers_per_pod)
    selected = [node for node in nodes if _has_labels(node, cluster.node_selector)]
    fitting = [node for node in selected if _can_run_worker(node, requests)]
    needed = ", ".join(f"{name} {amount}" for name, amount in requests.items())
    if fitting:
        return Finding.ok(f"{len(fitting)} of {len(nodes)} can run a worker ({needed})")
    if cluster.gpus and not any(_read_allocatable(node, cluster.gpu_resource) for node in selected):
        return Finding.warning(
            f"none of {len(nodes)} has {cluster.gpu_resource}",
            "install the device plugin, or set cluster.gpu_resource; "
            "an autoscaler may add such nodes",
        )
    return Finding.warning(
        f"none of {len(nodes)} can run a worker ({needed})",
        "lower cluster.cpu, cluster.memory or cluster.gpus; an autoscaler may add larger nodes",
    )


def check_quota(
    reader: Reader,
    cluster: ClusterConfig,
    worker_counts: Mapping[str, int],
    *,
    ignore_usage: bool = False,
) -> Finding:
    """All resource quotas of the namespace that count the workers' pods have room for them.

    `worker_counts` are the workers of each step by the option that sets them; the steps have theirs
    one after the other. `ignore_usage`: once everything else has ended.
    """
    option = max(worker_counts, key=lambda name: worker_counts[name])
    workers = worker_counts[option]
    path = f"/api/v1/namespaces/{cluster.namespace}/resourcequotas"
    quotas = [
        quota
        for quota in reader.get(path)["items"]
        if _counts_workers(quota, cluster.priority_class)
    ]
    per_worker = {
        "requests.cpu": cluster.cpu,
        "requests.memory": cluster.memory,
        "limits.memory": cluster.memory,
        "pods": "1",
        f"requests.{cluster.gpu_resource}": str(cluster.gpus),
    }
    exceeded = []
    for quota in quotas:
        hard = quota["status"].get("hard") or {}
        used = {} if ignore_usage else quota["status"].get("used") or {}
        for name in per_worker.keys() & hard.keys():
            free = parse_quantity(hard[name]) - parse_quantity(used.get(name, "0"))
            if free < workers * parse_quantity(per_worker[name]):
                exceeded.append(f"{name} {used.get(name, '0')} of {hard[name]} used")
    if exceeded:
        return Finding.missing(
            f"no room for {workers} workers: {', '.join(sorted(exceeded))}",
            f"wait for other runs, raise the quota, or lower {option} and their resources",
        )
    return Finding.ok(f"room for {workers} workers" if quotas else "none")


def _counts_workers(quota: dict[str, Any], priority_class: str | None) -> bool:
    """Whether the workers' pods are in all scopes of a quota; one without any counts all pods."""
    spec = quota.get("spec") or {}
    selector = (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    scopes = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or []]
    return all(_is_in_scope(scope, priority_class) for scope in (*scopes, *selector))


def _is_in_scope(scope: dict[str, Any], priority_class: str | None) -> bool:
    if scope["scopeName"] != "PriorityClass":
        # Workers request CPU and memory, and the deadline is their job's, not that of their pods.
        return scope["scopeName"] in ("NotBestEffort", "NotTerminating")
    is_listed = priority_class in (scope.get("values") or [])
    return {
        "In": is_listed,
        "NotIn": not is_listed,
        "Exists": priority_class is not None,
        "DoesNotExist": priority_class is None,
    }[scope["operator"]]


def parse_quantity(quantity: str) -> Decimal:
    """A Kubernetes quantity such as 500m or 4Gi as a number."""
    from kubernetes.utils import parse_quantity as parse

    return Decimal(parse(quantity))


def _has_labels(node: dict[str, Any], labels: dict[str, str]) -> bool:
    return labels.items() <= (node["metadata"].get("labels") or {}).items()


def _can_run_worker(node: dict[str, Any], requests: dict[str, str]) -> bool:
    return all(
        _read_allocatable(node, name) >= parse_quantity(amount) for name, amount in requests.items()
    )


def _read_allocatable(node: dict[str, Any], resource: str) -> Decimal:
    return parse_quantity(node["status"]["allocatable"].get(resource, "0"))
