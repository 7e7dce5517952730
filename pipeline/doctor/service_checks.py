"""Checks of what a run uses: Kubeflow Pipelines, images, object storage and its credentials."""

from __future__ import annotations

from typing import Any

import yaml

from components.config.cluster import ClusterConfig
from pipeline import images
from pipeline.doctor import Finding, machine_checks
from pipeline.doctor.cluster_reader import Reader
from pipeline.kubeflow import endpoint
from pipeline.kubeflow.records import ServerHealth
from pipeline.kubeflow.transport import CREATE_TOKEN

KFP_RETRY_TIMEOUT_SECONDS = 10
CONTROLLER_SETTINGS = "workflow-controller-configmap"
DEFAULT_REPOSITORY = "workflows.argoproj.io/default-artifact-repository"


class KubeflowServer:
    """The server of a configuration; once checked, its mode decides where runs start."""

    def __init__(self, cluster: ClusterConfig) -> None:
        self._cluster = cluster
        self._health: ServerHealth | None = None

    @property
    def run_cluster(self) -> ClusterConfig:
        """The section with the namespace of runs; as configured where the mode is not known."""
        from pipeline.kubeflow import submit

        return (
            submit.set_run_namespace(self._cluster, self._health) if self._health else self._cluster
        )

    def check(self) -> Finding:
        """It answers, knows who asks, and lets this user list runs."""
        from pipeline.kubeflow import submit
        from pipeline.kubeflow.client import KubeflowClient

        with endpoint.open_endpoint(self._cluster) as opened:
            client = KubeflowClient(opened, retry_timeout_seconds=KFP_RETRY_TIMEOUT_SECONDS)
            health = self._health = client.health
            mode = "multi-user" if health.multi_user else "single-user"
            found = (
                f"{health.version or 'version unknown'} at {opened.url} ({opened.method}, {mode})"
            )
            # A server whose runs all users may read answers lists without a credential, and refuses
            # to create anything. With `none` a proxy names the user.
            if health.multi_user and opened.credential == "none" and self._cluster.auth != "none":
                return Finding.missing(
                    f"{found}: separates users, and no credential is given",
                    f"set KUBERT_TOKEN ({CREATE_TOKEN.format(opened)}) or KUBERT_COOKIE; "
                    "cluster.auth=none where a proxy names the user",
                )
            submit.check_server(client)
        return Finding.ok(f"{found}, starts runs in {self.run_cluster.namespace}")


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


def check_loaded_images(reader: Reader, cluster: ClusterConfig) -> Finding:
    """Images that no registry has are on a node; a warning, since a node lists 50 at most."""
    names = images.list_images(images.resolve_images(cluster)).values()
    local = [name for name in dict.fromkeys(names) if is_local_image(name)]
    if not local:
        return Finding.ok("all are a registry's")
    nodes = reader.get("/api/v1/nodes")["items"]
    loaded = {
        name
        for node in nodes
        for image in node["status"].get("images") or []
        for name in image.get("names") or []
    }
    absent = [name for name in local if not {name, f"docker.io/library/{name}"} & loaded]
    if absent:
        return Finding.warning(
            f"no node has {', '.join(absent)}, which no registry has",
            "load it into the nodes (`kind load image-archive`), or set KUBERT_TRAIN_IMAGE, "
            "KUBERT_STEP_IMAGE and KUBERT_TOOLS_IMAGE",
        )
    return Finding.ok(f"on a node: {', '.join(local)}")


def is_local_image(name: str) -> bool:
    """Whether the reference names no registry: localhost/..., or no host at all."""
    host, slash, _ = name.partition("/")
    return not slash or host == "localhost"


def check_storage_secret(reader: Reader, cluster: ClusterConfig) -> Finding:
    """The secret with the keys of the object storage exists; its values are not shown."""
    name, keys = str(cluster.storage_secret), cluster.storage_secret_keys
    return _check_secret(reader, cluster.namespace, name, keys, _CREATE_SECRET)


def check_log_archive(reader: Reader, cluster: ClusterConfig) -> Finding:
    """Argo can store the steps' logs, if it is told to: the secret of its store is there.

    The pod of every step mounts the secret; without it none starts. The store itself is
    `doctor --probe-store`'s to try.
    """
    repository = _find_artifact_repository(reader, cluster)
    if not repository.get("archiveLogs"):
        return Finding.ok("off")
    store = repository.get("s3") or {}
    references = [store.get("accessKeySecret") or {}, store.get("secretKeySecret") or {}]
    names = {str(one["name"]) for one in references if one.get("name")}
    for name in sorted(names):
        keys = tuple(str(one.get("key")) for one in references if one.get("name") == name)
        remedy = (
            f"copy the secret {name} from namespace {cluster.kubeflow_namespace} into "
            f"{cluster.namespace} (docs/operator-guide/kubeflow.md); without it no step starts"
        )
        finding = _check_secret(reader, cluster.namespace, name, keys, remedy)
        if finding.state != "ok":
            return finding
    where = str(store.get("endpoint") or "its store")
    if f".{cluster.kubeflow_namespace}" in where and _is_shut_in(reader, cluster.namespace):
        return Finding.missing(
            f"to {where}, which the network policies of {cluster.namespace} keep the steps from",
            "uncomment ../../kubeflow-storage in your overlay and apply it again",
        )
    return Finding.ok(f"to {where}, {', '.join(sorted(names)) or 'without a secret'}")


def _find_artifact_repository(reader: Reader, cluster: ClusterConfig) -> dict[str, Any]:
    """Argo's settings of the log archive: the namespace's own, else the controller's."""
    own = reader.get(f"/api/v1/namespaces/{cluster.namespace}/configmaps/artifact-repositories")
    default = ((own or {}).get("metadata", {}).get("annotations") or {}).get(DEFAULT_REPOSITORY)
    if own and default in (own.get("data") or {}):
        return _parse_settings(own["data"][default])
    path = f"/api/v1/namespaces/{cluster.kubeflow_namespace}/configmaps/{CONTROLLER_SETTINGS}"
    controller = reader.get(path) or {}
    return _parse_settings((controller.get("data") or {}).get("artifactRepository") or "")


def _parse_settings(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_shut_in(reader: Reader, namespace: str) -> bool:
    """Whether kubert's policies deny all that they do not allow, such as Kubeflow's store."""
    path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
    names = {one["metadata"]["name"] for one in (reader.get(path) or {}).get("items") or []}
    return "default-deny" in names and "kubeflow-storage" not in names


def _check_secret(
    reader: Reader, namespace: str, name: str, keys: tuple[str, ...], remedy: str
) -> Finding:
    secret = reader.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
    if secret is None:
        return Finding.missing(f"there is no secret {namespace}/{name}", remedy)
    data = secret.get("data") or {}
    if missing_keys := [key for key in keys if key not in data]:
        return Finding.missing(f"{namespace}/{name} has no {', '.join(missing_keys)}", remedy)
    return Finding.ok(f"{name} has {' and '.join(keys)}")


def check_remote_store(uri: str) -> Finding:
    """Object storage, like `machine_checks.check_store`.

    An address inside the cluster does not have to be reachable from this machine.
    """
    finding = machine_checks.check_store(uri)
    if finding.state == "missing" and uri.startswith("minio://"):
        return Finding.warning(
            f"not reachable from this machine: {finding.message}",
            "it is the cluster's own storage: --probe-store tries it from a pod",
        )
    return finding


_CREATE_SECRET = "create it with the keys of the object storage"  # noqa: S105 - a remedy
