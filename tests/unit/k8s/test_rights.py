"""A7: each account may do what its role calls, and no more."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import ModuleType

import pytest

from components.config.cluster import ClusterConfig
from components.workers.kubernetes import client, run_jobsets
from components.workers.kubernetes.jobset_manifest import JOBSET_GROUP, JOBSET_PLURAL
from pipeline.kubeflow import client as kubeflow_client
from tests.support import manifests

WRITTEN = manifests.list_written()
ROLES = [pytest.param(m, id=m["metadata"]["name"]) for _, m in WRITTEN if m["kind"] == "Role"]
API_ACTIONS = {
    "create": "create",
    "read": "get",
    "get": "get",
    "list": "list",
    "delete": "delete",
    "patch": "patch",
    "replace": "update",
}
CALL = re.compile(r"(?P<action>[a-z]+)_namespaced_(?P<what>[a-z_]+)")
RESOURCES = {
    "custom_object": (JOBSET_GROUP, JOBSET_PLURAL),
    "pod": ("", "pods"),
    "pod_log": ("", "pods/log"),
    "event": ("", "events"),
}
Right = tuple[str, str, str]


def rights(role: manifests.Object) -> set[Right]:
    """(API group, resource, action) of every rule."""
    return {
        (group, resource, action)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for action in rule["verbs"]
    }


def calls(module: ModuleType) -> set[Right]:
    """What a module's calls of the Kubernetes client need."""
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    found = {
        match
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and (match := CALL.fullmatch(node.attr))
    }
    return {(*RESOURCES[match["what"]], API_ACTIONS[match["action"]]) for match in found}


def test_the_launcher_s_role_is_what_the_launcher_calls() -> None:
    assert rights(manifests.one("Role", "kubert-launcher")) == calls(client)


def test_whoever_submits_may_delete_the_workers_of_a_run() -> None:
    assert calls(run_jobsets) <= rights(manifests.one("Role", "kubert-submitter"))


def test_only_one_module_of_the_launcher_speaks_to_kubernetes() -> None:
    folder = Path(client.__file__).parents[1]
    speaking = {
        path.name
        for path in folder.rglob("*.py")
        if re.search(r"^\s*(from|import) kubernetes\b", path.read_text(), flags=re.M)
    }
    # The other one runs with the rights of the user who stops a run.
    assert speaking == {"client.py", "run_jobsets.py"}


@pytest.mark.parametrize("role", ROLES)
def test_no_role_has_wildcards_or_escalates(role: manifests.Object) -> None:
    """Fault A7."""
    for group, resource, action in rights(role):
        assert "*" not in (group, resource, action)
        assert action not in ("escalate", "bind", "impersonate")
        assert resource not in (
            "pods/exec",
            "pods/attach",
            "serviceaccounts/token",
            "roles",
            "rolebindings",
        )


@pytest.mark.parametrize("role", ROLES)
def test_no_role_reads_secrets_but_the_one_of_kubeflow_s_store(role: manifests.Object) -> None:
    """Fault A7."""
    rules = [rule for rule in role["rules"] if "secrets" in rule["resources"]]
    if role["metadata"]["name"] != "kubert-kubeflow-storage":
        assert rules == []
        return
    (rule,) = rules
    assert (rule["resourceNames"], rule["verbs"]) == (["mlpipeline-minio-artifact"], ["get"])
    assert manifests.ROOT / "kubeflow-storage" not in [
        manifests.ROOT / "overlays" / overlay / component
        for overlay in manifests.OVERLAYS
        for component in manifests.kustomization(f"overlays/{overlay}")["components"]
    ]


def test_whoever_submits_may_do_all_that_the_client_calls() -> None:
    """Taking back a duplicate of a key deletes a run."""
    source = Path(kubeflow_client.__file__).read_text(encoding="utf-8")
    calls = set(
        re.findall(r"\b(run|recurring_run)_service_([a-z]+)_(?:recurring_)?runs?\b", source)
    )
    resources = {"run": "runs", "recurring_run": "jobs"}
    needed = {(resources[kind], action) for kind, action in calls}
    assert ("runs", "delete") in needed
    group = "pipelines.kubeflow.org"
    allowed = rights(manifests.one("Role", "kubert-submitter"))
    assert {(group, resource, action) for resource, action in needed} <= allowed


def test_no_right_reaches_beyond_the_namespace() -> None:
    kinds = {manifest["kind"] for _, manifest in WRITTEN}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}


def test_workers_and_servers_have_no_rights() -> None:
    bound = {
        subject["name"]
        for _, m in WRITTEN
        if m["kind"] == "RoleBinding"
        for subject in m["subjects"]
    }
    assert bound == {ClusterConfig().service_account, "kubert-submitter"}


def test_bindings_name_roles_and_accounts_that_exist() -> None:
    names = {(m["kind"], m["metadata"]["name"]) for _, m in WRITTEN}
    for binding in (m for _, m in WRITTEN if m["kind"] == "RoleBinding"):
        assert ("Role", binding["roleRef"]["name"]) in names
        assert {("ServiceAccount", subject["name"]) for subject in binding["subjects"]} <= names
