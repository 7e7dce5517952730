"""What a run needs in the namespace where it starts: checked by `doctor`, and before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from urllib3.exceptions import HTTPError

from components.config.cluster import ClusterConfig
from components.errors import ConfigError, KubertError
from pipeline.doctor import (
    Finding,
    access_checks,
    capacity_checks,
    extension_checks,
    service_checks,
)
from pipeline.doctor.cluster_reader import ClusterReader, Reader
from pipeline.kubeflow.endpoint import API_SERVICE


class Requirement(NamedTuple):
    """One of them; `requires` names the check without which it cannot be checked."""

    name: str
    requires: str
    check: Callable[[Reader, ClusterConfig], Finding]


def list_requirements(
    worker_counts: Mapping[str, int], cluster: ClusterConfig, *, ignore_usage: bool = False
) -> list[Requirement]:
    """What a run needs whose steps have these workers (`PipelineKind.count_workers`).

    `ignore_usage`: a quota counts as if it were free.
    """
    quota = partial(
        capacity_checks.check_quota, worker_counts=worker_counts, ignore_usage=ignore_usage
    )
    found = [Requirement("namespace", "kubernetes", access_checks.check_namespace)]
    if cluster.backend == "jobset":
        found.append(Requirement("jobset", "namespace", extension_checks.check_jobset))
        if cluster.priority_class:
            found.append(
                Requirement("priority class", "kubernetes", extension_checks.check_priority_class)
            )
        found.append(
            Requirement("workers' account", "namespace", access_checks.check_worker_account)
        )
    if cluster.queue:
        found.append(Requirement("kueue", "namespace", extension_checks.check_local_queue))
    found += [
        Requirement("pipeline's account", "namespace", access_checks.check_pipeline_account),
        Requirement("log archive", "namespace", service_checks.check_log_archive),
        Requirement("quota", "namespace", quota),
    ]
    if cluster.storage_secret:
        found.append(
            Requirement("storage secret", "namespace", service_checks.check_storage_secret)
        )
    return found


def refuse_without_requirements(
    worker_counts: Mapping[str, int], cluster: ClusterConfig, reader: Reader | None = None
) -> None:
    """Raise ConfigError if something that the run needs is not in the cluster.

    `cluster` is the section with the namespace of runs. Only what is certain counts: what this
    account may not read, and a cluster that does not answer or does not have Kubeflow Pipelines,
    refuse nothing.
    """
    reader = reader or ClusterReader()
    missing = (
        _find_missing(worker_counts, cluster, reader)
        if _is_cluster_of_server(reader, cluster)
        else []
    )
    if missing:
        lines = [f"  {name}: {one.message}; {one.remedy}" for name, one in missing]
        raise ConfigError(
            "\n".join(
                [
                    f"namespace {cluster.namespace} is not ready for this run; nothing was sent:",
                    *lines,
                    "`kubert doctor --cluster` checks more; --skip-check sends it anyway",
                ]
            )
        )


def _find_missing(
    worker_counts: Mapping[str, int], cluster: ClusterConfig, reader: Reader
) -> list[tuple[str, Finding]]:
    missing: dict[str, Finding] = {}
    for name, requires, check in list_requirements(worker_counts, cluster, ignore_usage=True):
        if requires in missing:
            continue
        try:
            finding = check(reader, cluster)
        except (KubertError, HTTPError):
            continue
        if finding.state == "missing":
            missing[name] = finding
    return list(missing.items())


def _is_cluster_of_server(reader: Reader, cluster: ClusterConfig) -> bool:
    """Whether the current context's cluster has, or may have, the server that runs are sent to."""
    path = f"/api/v1/namespaces/{cluster.kubeflow_namespace}/services/{API_SERVICE}"
    try:
        return reader.get(path) is not None
    except KubertError as error:
        # Whoever may not look there may still look into the namespace of runs.
        return getattr(error, "status", None) == 403
    except HTTPError:
        return False
