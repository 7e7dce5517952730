"""Checks of the namespace, the service accounts and what each account has the right to do."""

from __future__ import annotations

from typing import Any, NamedTuple

from components.config.cluster import ClusterConfig
from pipeline.doctor import Finding
from pipeline.doctor.cluster_reader import Reader

APPLY_MANIFESTS = "kubectl apply -k k8s/overlays/<yours>"
APPLY_SINGLE_USER = "kubectl apply -k k8s/single-user"
REQUIRED_POD_SECURITY_LEVEL = "restricted"


class Right(NamedTuple):
    """Actions on a resource of an API group, as RBAC names them; `pods/log` is a subresource."""

    group: str
    resource: str
    actions: tuple[str, ...]


LAUNCHER_RIGHTS = (
    Right("jobset.x-k8s.io", "jobsets", ("create", "get", "delete")),
    Right("", "pods", ("list",)),
    Right("", "pods/log", ("get",)),
    Right("", "events", ("list",)),
)
"""Rights of the steps' account with cluster.backend=jobset."""
STEP_RIGHTS = (
    Right("argoproj.io", "workflowtaskresults", ("create", "patch")),
    Right("argoproj.io", "workflows", ("get",)),
)
USER_RIGHTS = (
    Right("", "pods", ("list",)),
    Right("", "pods/log", ("get",)),
    Right("jobset.x-k8s.io", "jobsets", ("get",)),
)
"""Rights of the person who follows a run; Kubeflow Pipelines decides who may submit one."""
FORBIDDEN_RIGHTS = (
    Right("", "secrets", ("get", "list")),
    Right("", "pods", ("create", "delete")),
    Right("", "pods/exec", ("create",)),
)
"""Rights that no account of kubert needs, so that a hostile model or text gains nothing."""


def check_namespace(reader: Reader, cluster: ClusterConfig) -> Finding:
    """The namespace exists and enforces the restricted Pod Security Standard.

    The namespace of Kubeflow Pipelines itself has pods that the standard would refuse.
    """
    name = cluster.namespace
    namespace = reader.get(f"/api/v1/namespaces/{name}")
    if namespace is None:
        return Finding.missing(
            f"there is no namespace {name}", f"{APPLY_MANIFESTS}, or set cluster.namespace"
        )
    if name == cluster.kubeflow_namespace:
        return Finding.ok(f"{name}, that of Kubeflow Pipelines")
    labels = namespace["metadata"].get("labels") or {}
    level = labels.get("pod-security.kubernetes.io/enforce", "none")
    if level != REQUIRED_POD_SECURITY_LEVEL:
        return Finding.warning(
            f"{name}: enforces the pod security level {level}",
            "label it pod-security.kubernetes.io/enforce=restricted; kubert's pods comply with it",
        )
    return Finding.ok(f"{name}, restricted")


def check_user_rights(reader: Reader, cluster: ClusterConfig) -> Finding:
    """The current account can read the logs and the state of a run."""
    denied = find_denied_rights(reader, cluster.namespace, USER_RIGHTS)
    if denied:
        return Finding.warning(
            f"this account may not {', '.join(denied)}",
            "ask for the role kubert-submitter; without it there are no logs and no reasons",
        )
    return Finding.ok("this account has the rights that it needs")


def check_pipeline_account(reader: Reader, cluster: ClusterConfig) -> Finding:
    """The steps' account exists, with the rights it needs and without the forbidden ones."""
    name, namespace = cluster.service_account, cluster.namespace
    if not _has_service_account(reader, namespace, name):
        return _missing_account(cluster, name)
    needed = STEP_RIGHTS + (LAUNCHER_RIGHTS if cluster.backend == "jobset" else ())
    denied = find_denied_rights(reader, namespace, needed, account=name)
    if denied:
        return Finding.missing(f"{name} may not {', '.join(denied)}", choose_manifests(cluster))
    return check_forbidden_rights(reader, namespace, name)


def check_worker_account(reader: Reader, cluster: ClusterConfig) -> Finding:
    """The workers' account exists, without the forbidden rights."""
    name, namespace = cluster.worker_service_account, cluster.namespace
    if not _has_service_account(reader, namespace, name):
        return _missing_account(cluster, name)
    return check_forbidden_rights(reader, namespace, name)


def check_forbidden_rights(reader: Reader, namespace: str, account: str) -> Finding:
    """The account has none of FORBIDDEN_RIGHTS."""
    denied = find_denied_rights(reader, namespace, FORBIDDEN_RIGHTS, account=account)
    forbidden = [
        f"{action} {right.resource}" for right in FORBIDDEN_RIGHTS for action in right.actions
    ]
    if allowed := [name for name in forbidden if name not in denied]:
        return Finding.warning(
            f"{account} may {', '.join(allowed)}",
            "remove the role that allows it; no step needs it",
        )
    return Finding.ok(f"{account}, no excessive rights")


def find_denied_rights(
    reader: Reader, namespace: str, rights: tuple[Right, ...], account: str = ""
) -> list[str]:
    """The rights that a service account, or the current user, lacks; each as `action resource`."""
    denied = []
    for right in rights:
        for action in right.actions:
            review = _access_review(namespace, right, action, account)
            path = "/apis/authorization.k8s.io/v1/"
            if account:
                path += f"namespaces/{namespace}/localsubjectaccessreviews"
            else:
                path += "selfsubjectaccessreviews"
            if not reader.post(path, review)["status"]["allowed"]:
                denied.append(f"{action} {right.resource}")
    return denied


def _access_review(namespace: str, right: Right, action: str, account: str) -> dict[str, Any]:
    resource, _, subresource = right.resource.partition("/")
    spec: dict[str, Any] = {
        "resourceAttributes": {
            "namespace": namespace,
            "group": right.group,
            "resource": resource,
            "subresource": subresource,
            "verb": action,
        }
    }
    if account:
        spec["user"] = f"system:serviceaccount:{namespace}:{account}"
        spec["groups"] = [
            "system:serviceaccounts",
            f"system:serviceaccounts:{namespace}",
            "system:authenticated",
        ]
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "LocalSubjectAccessReview" if account else "SelfSubjectAccessReview",
        "metadata": {"namespace": namespace} if account else {},
        "spec": spec,
    }


def _has_service_account(reader: Reader, namespace: str, name: str) -> bool:
    return reader.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}") is not None


def _missing_account(cluster: ClusterConfig, name: str) -> Finding:
    message = f"no service account {name} in {cluster.namespace}, where runs start"
    return Finding.missing(message, choose_manifests(cluster))


def choose_manifests(cluster: ClusterConfig) -> str:
    """The command that makes the accounts and roles in the namespace of runs."""
    is_single_user = cluster.namespace == cluster.kubeflow_namespace
    return APPLY_SINGLE_USER if is_single_user else APPLY_MANIFESTS
