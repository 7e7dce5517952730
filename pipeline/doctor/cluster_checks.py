"""The checks of a run on a cluster: what Kubernetes, Kubeflow Pipelines and storage must provide.

All requests go to the real API server, as the current context's account; what that account has no
right to read is a warning.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from components.config.schema import Config
from components.errors import ConfigError, DataError
from pipeline.doctor import (
    Check,
    Finding,
    access_checks,
    capacity_checks,
    extension_checks,
    join_lines,
    service_checks,
)
from pipeline.doctor.cluster_reader import ClusterReader, run_api_check
from pipeline.kubeflow import endpoint, submission

SLOW_CHECK_TIMEOUT_SECONDS = 60


def build_checks(config: Config) -> list[Check]:
    """The checks for `kubert submit` with this configuration, in the current context's cluster."""
    cluster = endpoint.resolve_connection(config.cluster)
    reader = ClusterReader()

    def api_check(name: str, requires: str, function: Any, *arguments: Any) -> Check:
        run = partial(run_api_check, function, reader, *arguments)
        return Check(name, run, requires=requires)

    checks = [
        Check("submission", partial(check_submission, config)),
        Check("kubernetes", reader.check_api_server),
        api_check("namespace", "kubernetes", access_checks.check_namespace, cluster),
    ]
    if cluster.backend == "jobset":
        checks.append(api_check("jobset", "namespace", extension_checks.check_jobset, cluster))
        if cluster.priority_class:
            checks.append(
                api_check(
                    "priority class", "kubernetes", extension_checks.check_priority_class, cluster
                )
            )
    if cluster.queue:
        checks.append(api_check("kueue", "namespace", extension_checks.check_local_queue, cluster))
    checks += [
        api_check("own rights", "namespace", access_checks.check_user_rights, cluster),
        api_check("pipeline's account", "namespace", access_checks.check_pipeline_account, cluster),
        api_check("workers' account", "namespace", access_checks.check_worker_account, cluster),
        api_check("workflows", "kubernetes", extension_checks.check_argo_workflows),
        Check(
            "kubeflow pipelines",
            partial(service_checks.check_kubeflow_pipelines, cluster),
            SLOW_CHECK_TIMEOUT_SECONDS,
        ),
        api_check("nodes", "kubernetes", capacity_checks.check_nodes, cluster),
        api_check("quota", "namespace", capacity_checks.check_quota, cluster, config.train.workers),
        Check("images", partial(service_checks.check_images, cluster)),
    ]
    if cluster.storage_secret:
        checks.append(
            api_check("storage secret", "namespace", service_checks.check_storage_secret, cluster)
        )
    checks.append(api_check("kserve", "kubernetes", extension_checks.check_kserve))
    stores = {"pipeline root": cluster.pipeline_root, "checkpoints": cluster.checkpoint_uri}
    return checks + [
        Check(name, partial(service_checks.check_remote_store, uri), SLOW_CHECK_TIMEOUT_SECONDS)
        for name, uri in stores.items()
        if uri
    ]


def check_submission(config: Config) -> Finding:
    """`kubert submit` accepts the inputs. A warning if not: runs on this machine may use them."""
    try:
        unread = submission.check_inputs(config, config.data)
    except (ConfigError, DataError) as error:
        return Finding.warning(
            f"`kubert submit` refuses this configuration: {join_lines(error)}",
            "give the configuration that you submit",
        )
    left = f"; read by the steps only: {', '.join(unread)}" if unread else ""
    return Finding.ok(f"`kubert submit` accepts the inputs{left}")
