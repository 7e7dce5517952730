"""The manifests on a real API server: definitions, admission, and the rights of accounts.

They are applied in a temporary namespace. Definitions of Kueue and KServe that were missing are
removed afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import manifests
from tests.support.manifests import dry_run, kubectl
from tests.support.service_account_rights import RIGHTS

DEFINITIONS = {
    "sigs.k8s.io/kueue@v0.17.0": [
        f"config/components/crd/bases/kueue.x-k8s.io_{kind}.yaml"
        for kind in ("resourceflavors", "clusterqueues", "localqueues")
    ],
    "github.com/kserve/kserve@v0.16.0": [
        "config/crd/full/serving.kserve.io_inferenceservices.yaml"
    ],
}
PAUSE = "registry.k8s.io/pause:3.10"
SAFE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@pytest.fixture(scope="module")
def tree(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return manifests.rename_namespace(
        manifests.copy_tree(tmp_path_factory.mktemp("k8s") / "k8s"),
        f"kubert-manifests-{uuid.uuid4().hex[:6]}",
    )


@pytest.fixture(scope="module")
def namespace(tree: Path) -> Iterator[str]:
    """The kind overlay, applied."""
    name = str(yaml.safe_load((tree / "base/namespace.yaml").read_text())["metadata"]["name"])
    priority_class = kubectl("get", "priorityclass", "kubert-training", check=False).returncode == 0
    try:
        kubectl("apply", "-k", str(tree / "overlays/kind"))
        deadline = time.monotonic() + 30
        while (
            kubectl("-n", name, "get", "serviceaccount", "default", check=False).returncode
            and time.monotonic() < deadline
        ):
            time.sleep(0.2)
        yield name
    finally:
        kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")
        if not priority_class:
            kubectl("delete", "priorityclass", "kubert-training", "--ignore-not-found")


def require_known(kind: str) -> None:
    """Return when the API server answers for a kind that was just defined."""
    deadline = time.monotonic() + 60
    while (asked := kubectl("get", kind, "--all-namespaces", check=False)).returncode:
        assert time.monotonic() < deadline, asked.stderr
        time.sleep(0.5)


@pytest.fixture(scope="module")
def everything(
    tree: Path, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The tree with all optional components; the API server knows the kinds of Kueue and KServe."""
    if shutil.which("go") is None:
        pytest.skip("no Go, which brings the definitions of Kueue and KServe")
    modules = tmp_path_factory.mktemp("modules")
    environment = {**os.environ, "GOMODCACHE": str(modules), "GOFLAGS": "-modcacherw"}
    files = []
    for module, names in DEFINITIONS.items():
        done = subprocess.run(
            ["go", "mod", "download", "-json", module],
            capture_output=True,
            text=True,
            env=environment,
            cwd=modules,
        )
        if done.returncode:
            pytest.skip(f"{module} is not to be had: {(done.stderr or done.stdout).strip()[:200]}")
        files += [Path(json.loads(done.stdout)["Dir"]) / name for name in names]
    added = [path for path in files if kubectl("get", "-f", str(path), check=False).returncode]
    try:
        for path in added:
            kubectl("apply", "--server-side", "-f", str(path))
            require_known(str(yaml.safe_load(path.read_text())["metadata"]["name"]))
        yield manifests.rename_namespace(
            manifests.copy_tree(tmp_path_factory.mktemp("all") / "k8s", everything=True), namespace
        )
    finally:
        for path in added:
            kubectl("delete", "-f", str(path), "--ignore-not-found")


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_every_manifest_passes_a_server_side_dry_run(everything: Path, overlay: str) -> None:
    """Without a single warning: pod security warns of Deployments whose pods it would refuse."""
    built = manifests.build(everything / "overlays" / overlay)
    done = kubectl(
        "apply",
        "--dry-run=server",
        "--validate=strict",
        "--warnings-as-errors",
        "-k",
        str(everything / "overlays" / overlay),
    )
    assert "Warning" not in done.stderr
    assert len(done.stdout.splitlines()) == len(built)
    assert {"ClusterQueue", "LocalQueue", "ResourceFlavor", "InferenceService"} <= {
        manifest["kind"] for manifest in built
    }


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("ClusterQueue", "resourceGroupz"),
        ("InferenceService", "predictorz"),
        ("Deployment", "replicaz"),
        ("NetworkPolicy", "egrezz"),
    ],
)
def test_the_dry_run_finds_a_field_that_does_not_exist(
    everything: Path, kind: str, field: str
) -> None:
    broken = next(
        manifest
        for manifest in manifests.build(everything / "overlays/eks")
        if manifest["kind"] == kind
    )
    broken["spec"][field] = {}
    done = kubectl(
        "apply", "--dry-run=server", "--validate=strict", "-f", "-", given=broken, check=False
    )
    assert done.returncode != 0 and f'unknown field "spec.{field}"' in done.stderr


def test_the_deployments_pods_are_admitted(namespace: str) -> None:
    """By pod security, quota and limits; whether their images are there is another question."""
    deadline = time.monotonic() + 60
    names: set[str] = set()
    while len(names) < 2 and time.monotonic() < deadline:
        pods = json.loads(kubectl("-n", namespace, "get", "pods", "-o", "json").stdout)["items"]
        names = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods}
        time.sleep(0.5)
    assert names == {"serving", "tensorboard"}
    mounted = [volume for pod in pods for volume in pod["spec"]["volumes"] if "projected" in volume]
    assert mounted == []


def pod(name: str = "pod", container: Any = None, **spec: Any) -> dict[str, Any]:
    context = {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    only = {"name": "main", "image": PAUSE, "securityContext": SAFE, **(container or {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "securityContext": context,
            "restartPolicy": "Never",
            "containers": [only],
            **spec,
        },
    }


UNSAFE = [
    pytest.param(
        pod(securityContext={"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}),
        "runAsNonRoot",
        id="root",
    ),
    pytest.param(
        pod(container={"securityContext": {**SAFE, "runAsUser": 0}}),
        "runAsUser=0",
        id="root-container",
    ),
    pytest.param(
        pod(
            container={
                "securityContext": {**SAFE, "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}
            }
        ),
        "NET_ADMIN",
        id="added",
    ),
    pytest.param(
        pod(container={"securityContext": {**SAFE, "capabilities": {}}}),
        "capabilities",
        id="kept-capabilities",
    ),
    pytest.param(
        pod(container={"securityContext": {"privileged": True}}), "privileged", id="privileged"
    ),
    pytest.param(
        pod(volumes=[{"name": "host", "hostPath": {"path": "/"}}]), "hostPath", id="host-path"
    ),
    pytest.param(pod(hostNetwork=True), "host namespaces", id="host-network"),
    pytest.param(pod(securityContext={"runAsNonRoot": True}), "seccompProfile", id="no-seccomp"),
]


@pytest.mark.parametrize(("manifest", "reason"), UNSAFE)
def test_unsafe_pods_are_refused(namespace: str, manifest: dict[str, Any], reason: str) -> None:
    """Fault A9."""
    done = dry_run(namespace, manifest)
    assert done.returncode != 0
    assert 'violates PodSecurity "restricted:' in done.stderr and reason in done.stderr


def test_a_safe_pod_is_admitted(namespace: str) -> None:
    """Fault A9."""
    assert dry_run(namespace, pod()).returncode == 0


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        pytest.param({"cpu": "100", "memory": "1Gi"}, "requests.cpu=100", id="cpu"),
        pytest.param({"cpu": "1", "memory": "100Gi"}, "requests.memory=100Gi", id="memory"),
        pytest.param(
            {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"},
            "requests.nvidia.com/gpu=1",
            id="gpu-where-there-are-none",
        ),
    ],
)
def test_what_goes_beyond_the_quota_is_refused(
    namespace: str, wanted: dict[str, str], reason: str
) -> None:
    done = dry_run(
        namespace,
        pod(
            container={
                "resources": {
                    "requests": wanted,
                    "limits": {n: q for n, q in wanted.items() if n != "cpu"},
                }
            }
        ),
    )
    assert done.returncode != 0
    assert "exceeded quota: kubert" in done.stderr and reason in done.stderr


def test_a_container_that_asks_for_nothing_gets_little(namespace: str) -> None:
    (container,) = json.loads(dry_run(namespace, pod()).stdout)["spec"]["containers"]
    assert container["resources"] == {
        "limits": {"memory": "1Gi"},
        "requests": {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "128Mi"},
    }


@pytest.mark.parametrize(
    ("account", "action", "group", "what", "may"),
    RIGHTS,
    ids=[f"{a}-{v}-{w}" for a, v, _, w, _ in RIGHTS],
)
def test_accounts_may_do_what_they_need_and_no_more(
    namespace: str, account: str, action: str, group: str, what: str, may: bool
) -> None:
    """Fault A7."""
    resource, _, subresource = what.partition("/")
    asked = {
        "namespace": namespace,
        "verb": action,
        "group": group,
        "resource": resource,
        "subresource": subresource,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{namespace}:{account}",
            "resourceAttributes": asked,
        },
    }
    answer = json.loads(kubectl("create", "-o", "json", "-f", "-", given=review).stdout)
    assert answer["status"]["allowed"] is may


def test_a_step_s_token_lists_pods_but_does_not_read_secrets(
    namespace: str, tmp_path: Path
) -> None:
    """Fault A7."""
    config = json.loads(
        kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json").stdout
    )
    config["users"][0]["user"] = {
        "token": kubectl(
            "-n", namespace, "create", "token", "kubert-pipeline", "--duration=10m"
        ).stdout.strip()
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    as_step = ["--kubeconfig", str(tmp_path / "kubeconfig"), "-n", namespace]
    assert kubectl(*as_step, "get", "pods", "-o", "name").stdout
    refused = kubectl(*as_step, "get", "secrets", check=False)
    assert refused.returncode != 0 and "Forbidden" in refused.stderr
