"""Checks of what a run uses: Kubeflow Pipelines, images, object storage and its credentials."""

from __future__ import annotations

from components.config.cluster import ClusterConfig
from pipeline import images
from pipeline.doctor import Finding, machine_checks
from pipeline.doctor.cluster_reader import Reader
from pipeline.kubeflow import endpoint

KFP_RETRY_TIMEOUT_SECONDS = 10


def check_kubeflow_pipelines(cluster: ClusterConfig) -> Finding:
    """Kubeflow Pipelines lets this user list runs, and starts them in the configured namespace.

    A single-user server starts all runs in its own namespace.
    """
    from pipeline.kubeflow import submit
    from pipeline.kubeflow.client import KubeflowClient

    with endpoint.open_endpoint(cluster) as opened:
        client = KubeflowClient(opened, retry_timeout_seconds=KFP_RETRY_TIMEOUT_SECONDS)
        health = submit.check_server(client)
        mode = "multi-user" if health.multi_user else "single-user"
        found = f"{health.version or 'version unknown'} at {opened.url} ({opened.method}, {mode})"
    own_namespace = cluster.kubeflow_namespace
    if not health.multi_user and cluster.namespace != own_namespace:
        return Finding.warning(
            f"{found}: starts runs in namespace {own_namespace}, not in {cluster.namespace}",
            f"set KUBERT_NAMESPACE={own_namespace}, and create the accounts and roles of k8s/base "
            "there",
        )
    return Finding.ok(found)


def check_images(cluster: ClusterConfig) -> Finding:
    """All images are named by digest, so that their content cannot change."""
    found = images.list_images(images.resolve_images(cluster))
    # A dictionary, because steps and workers may have one image.
    without_digest = dict.fromkeys(i for i in found.values() if not images.has_digest(i))
    if without_digest:
        return Finding.warning(
            f"without a digest: {', '.join(without_digest)}",
            "set KUBERT_TRAIN_IMAGE, KUBERT_STEP_IMAGE and KUBERT_TOOLS_IMAGE to what "
            "`make images` prints, name@sha256:...",
        )
    if cluster.gpus and found["step_image"] == found["train_image"]:
        return Finding.ok("by digest; steps without a GPU use the workers' image")
    return Finding.ok("by digest")


def check_storage_secret(reader: Reader, cluster: ClusterConfig) -> Finding:
    """The secret with the keys of the object storage exists; its values are not read."""
    name, namespace = cluster.storage_secret, cluster.namespace
    secret = reader.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
    if secret is None:
        return Finding.missing(f"there is no secret {namespace}/{name}", _CREATE_SECRET)
    data = secret.get("data") or {}
    missing_keys = [key for key in cluster.storage_secret_keys if key not in data]
    if missing_keys:
        return Finding.missing(
            f"{namespace}/{name} has no {', '.join(missing_keys)}", _CREATE_SECRET
        )
    return Finding.ok(f"{name} has {' and '.join(cluster.storage_secret_keys)}")


def check_remote_store(uri: str) -> Finding:
    """Object storage, like `machine_checks.check_store`.

    An address inside the cluster does not have to be reachable from this machine.
    """
    finding = machine_checks.check_store(uri)
    if finding.state == "missing" and uri.startswith("minio://"):
        return Finding.warning(
            f"not reachable from this machine: {finding.message}",
            "it is the cluster's own storage; pods can probably reach it",
        )
    return finding


_CREATE_SECRET = "create it with the keys of the object storage"  # noqa: S105 - a remedy
