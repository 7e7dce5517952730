"""`kubert doctor --cluster` on a real API server: each check fails, then passes."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from components.config.loading import load_config
from components.config.schema import Config
from pipeline.doctor import Finding, cluster_checks

NAMESPACE = f"kubert-doctor-{uuid.uuid4().hex[:8]}"


def kubectl(*arguments: str, **documents: Any) -> str:
    text = json.dumps(documents["apply"]) if documents else None
    return subprocess.run(
        ["kubectl", *arguments], input=text, capture_output=True, text=True, timeout=60, check=True
    ).stdout


@pytest.fixture(scope="module", autouse=True)
def namespace(cluster: None) -> Iterator[None]:
    """A namespace without any of kubert's objects."""
    kubectl("create", "namespace", NAMESPACE)
    yield
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def build_config(*assignments: str) -> Config:
    return load_config(
        None,
        [
            f"cluster.namespace={NAMESPACE}",
            "cluster.backend=jobset",
            "cluster.endpoint=http://127.0.0.1:9",
            *assignments,
        ],
    )


def run_check(name: str, *assignments: str) -> Finding:
    return next(
        check
        for check in cluster_checks.build_checks(build_config(*assignments))
        if check.name == name
    ).run()


def test_the_api_server() -> None:
    assert run_check("kubernetes").state == "ok"


def test_a_namespace_that_is_absent_unrestricted_and_restricted() -> None:
    assert run_check("namespace", "cluster.namespace=kubert-nowhere").state == "missing"
    assert "enforces the pod security level none" in run_check("namespace").message
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    assert run_check("namespace").state == "ok"


def test_the_pipeline_account_without_rights_with_the_right_ones_and_with_too_many() -> None:
    account = f"--serviceaccount={NAMESPACE}:kubert-pipeline"
    assert (
        run_check("pipeline's account").message
        == f"no service account kubert-pipeline in {NAMESPACE}"
    )
    kubectl("-n", NAMESPACE, "create", "serviceaccount", "kubert-pipeline")
    lacking = run_check("pipeline's account")
    assert (
        lacking.state,
        "create jobsets" in lacking.message,
        "get pods/log" in lacking.message,
    ) == (
        "missing",
        True,
        True,
    )
    kubectl(
        "-n",
        NAMESPACE,
        "create",
        "role",
        "launch",
        "--verb=create,get,delete",
        "--resource=jobsets.jobset.x-k8s.io",
    )
    kubectl(
        "-n",
        NAMESPACE,
        "create",
        "role",
        "read",
        "--verb=get,list",
        "--resource=pods,pods/log,events",
    )
    rules = [
        {
            "apiGroups": ["argoproj.io"],
            "resources": ["workflowtaskresults"],
            "verbs": ["create", "patch"],
        },
        {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["get"]},
    ]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "step", "namespace": NAMESPACE},
        "rules": rules,
    }
    kubectl("apply", "-f", "-", apply=role)
    for name in ("launch", "read", "step"):
        kubectl("-n", NAMESPACE, "create", "rolebinding", name, f"--role={name}", account)
    assert run_check("pipeline's account").state == "ok"
    kubectl("-n", NAMESPACE, "create", "role", "peek", "--verb=get", "--resource=secrets")
    kubectl("-n", NAMESPACE, "create", "rolebinding", "peek", "--role=peek", account)
    excessive = run_check("pipeline's account")
    assert (excessive.state, excessive.message) == ("warning", "kubert-pipeline may get secrets")


def test_the_workers_account() -> None:
    assert run_check("workers' account").state == "missing"
    kubectl("-n", NAMESPACE, "create", "serviceaccount", "kubert-worker")
    assert run_check("workers' account").state == "ok"


def test_a_dry_run_of_a_jobset_creates_none() -> None:
    assert run_check("jobset").state == "ok"
    assert kubectl("-n", NAMESPACE, "get", "jobsets", "-o", "name") == ""


def test_optional_extensions_that_are_not_installed() -> None:
    assert "Kueue" in run_check("kueue", "cluster.queue=team").message
    assert run_check("kserve").state == "ok"


def test_nodes_without_enough_memory_or_without_gpus() -> None:
    assert run_check("nodes", "cluster.cpu=100m", "cluster.memory=64Mi").state == "ok"
    assert "can run a worker" in run_check("nodes", "cluster.memory=900Ti").message
    assert (
        "has example.com/gpu"
        in run_check("nodes", "cluster.gpus=1", "cluster.gpu_resource=example.com/gpu").message
    )


def test_a_quota_without_room_for_the_workers() -> None:
    assert run_check("quota").state == "ok"
    kubectl("-n", NAMESPACE, "create", "quota", "small", "--hard=requests.memory=5Gi,pods=10")
    for _ in range(50):
        if json.loads(kubectl("-n", NAMESPACE, "get", "quota", "small", "-o", "json"))[
            "status"
        ].get("hard"):
            break
    assert run_check("quota").state == "ok"
    found = run_check("quota", "train.workers=2")
    assert (found.state, "requests.memory 0 of 5Gi used" in found.message) == ("missing", True), (
        found
    )


def test_a_secret_and_its_keys() -> None:
    secret = "cluster.storage_secret=store"
    assert "there is no secret" in run_check("storage secret", secret).message
    kubectl("-n", NAMESPACE, "create", "secret", "generic", "store", "--from-literal=accesskey=a")
    assert "has no secretkey" in run_check("storage secret", secret).message
    kubectl("-n", NAMESPACE, "delete", "secret", "store")
    kubectl(
        "-n",
        NAMESPACE,
        "create",
        "secret",
        "generic",
        "store",
        "--from-literal=accesskey=a",
        "--from-literal=secretkey=b",
    )
    assert run_check("storage secret", secret).state == "ok"
