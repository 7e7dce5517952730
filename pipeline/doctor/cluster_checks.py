"""The checks of a run on a cluster: what Kubernetes, Kubeflow Pipelines and storage must provide.

All requests go to the real API server, as the current context's account; what that account has no
right to read is a warning.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from components.config.cluster import ClusterConfig
from components.config.schema import Config
from components.errors import ConfigError, DataError
from pipeline.doctor import (
    Check,
    Finding,
    access_checks,
    capacity_checks,
    extension_checks,
    join_lines,
    retry_checks,
    service_checks,
)
from pipeline.doctor.cluster_reader import ClusterReader, Reader, run_api_check
from pipeline.doctor.requirements import list_requirements
from pipeline.doctor.store_probe import PROBE_TIMEOUT_SECONDS, check_stores_from_a_pod
from pipeline.kubeflow import endpoint, submission

SLOW_CHECK_TIMEOUT_SECONDS = 60
ClusterCheck = Callable[[Reader, ClusterConfig], Finding]


def build_checks(config: Config, *, probe_store: bool = False) -> list[Check]:
    """The checks for `kubert submit` with this configuration, in the current context's cluster.

    The server is asked first: its mode decides in which namespace the others look. With
    `probe_store` a pod in that namespace tries the stores, instead of this machine.
    """
    cluster = endpoint.resolve_connection(config.cluster)
    kinds = [submission.TRAINING, *([submission.SCORING] if config.score.source else [])]
    worker_counts = {
        option: workers for kind in kinds for option, workers in kind.count_workers(config).items()
    }
    server, reader = service_checks.KubeflowServer(cluster), ClusterReader()

    def api_check(name: str, requires: str, function: ClusterCheck) -> Check:
        # The namespace of runs is known only once the server has been asked.
        return Check(
            name,
            lambda: run_api_check(function, reader, server.run_cluster),
            requires=requires,
        )

    checks = [
        Check("submission", partial(check_submission, config)),
        Check("kubeflow pipelines", server.check, SLOW_CHECK_TIMEOUT_SECONDS),
        Check("kubernetes", reader.check_api_server),
        *(
            api_check(name, requires, function)
            for name, requires, function in list_requirements(worker_counts, cluster)
        ),
        api_check("own rights", "namespace", access_checks.check_user_rights),
        api_check("workflows", "kubernetes", extension_checks.check_argo_workflows),
        api_check("retries", "kubernetes", retry_checks.check_retry_policy),
        api_check(
            "nodes",
            "kubernetes",
            partial(capacity_checks.check_nodes, workers=config.train.workers),
        ),
        Check("images", partial(service_checks.check_images, cluster)),
        api_check("loaded images", "kubernetes", service_checks.check_loaded_images),
        api_check("kserve", "kubernetes", extension_checks.check_kserve),
    ]
    if probe_store:
        return [
            *checks,
            Check(
                "stores",
                lambda: run_api_check(check_stores_from_a_pod, reader, config, server.run_cluster),
                PROBE_TIMEOUT_SECONDS + SLOW_CHECK_TIMEOUT_SECONDS,
                requires="pipeline's account",
            ),
        ]
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
