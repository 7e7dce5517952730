"""What `kubectl apply -k` would apply. Needs kubectl, but no cluster."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support import manifests
from tests.support.manifests import Object

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

FIXED = re.compile(r"[a-z0-9.-]+(/[a-z0-9._-]+)+@sha256:[0-9a-f]{64}")
TAGGED = re.compile(r"[a-z0-9.-]+(/[a-z0-9._-]+)+:[0-9]+\.[0-9]+\.[0-9]+")


@pytest.fixture(scope="module", params=manifests.OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[False, True], ids=["as-shipped", "everything-on"])
def built_manifests(
    request: pytest.FixtureRequest, overlay: str, tmp_path_factory: pytest.TempPathFactory
) -> list[Object]:
    tree = manifests.copy_tree(tmp_path_factory.mktemp("k8s") / "k8s", everything=request.param)
    return manifests.build(tree / "overlays" / overlay)


def strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for key, entry in value.items() for text in (str(key), *strings(entry))]
    if isinstance(value, list):
        return [text for entry in value for text in strings(entry)]
    return [value] if isinstance(value, str) else []


def test_all_of_it_is_labelled_and_in_the_namespace(built_manifests: list[Object]) -> None:
    for manifest in built_manifests:
        metadata = manifest["metadata"]
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "kubert"
        assert metadata.get("namespace") == manifests.expected_namespace(manifest)


def test_single_user_adds_accounts_and_rights_to_kubeflow_s_namespace_and_nothing_else() -> None:
    built = manifests.build(manifests.ROOT / "single-user")
    assert {manifest["kind"] for manifest in built} == {"ServiceAccount", "Role", "RoleBinding"}
    assert {manifest["metadata"]["namespace"] for manifest in built} == {"kubeflow"}
    bindings = [manifest for manifest in built if manifest["kind"] == "RoleBinding"]
    subjects = [subject for binding in bindings for subject in binding["subjects"]]
    assert {subject["namespace"] for subject in subjects} == {"kubeflow"}
    accounts = {m["metadata"]["name"] for m in built if m["kind"] == "ServiceAccount"}
    assert accounts == {"kubert-pipeline", "kubert-worker", "kubert-submitter"}
    assert {subject["name"] for subject in subjects} <= accounts
    assert any("secrets" in rule["resources"] for m in built for rule in m.get("rules", []))


def test_nothing_is_there_twice(built_manifests: list[Object]) -> None:
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in built_manifests]
    assert sorted(names) == sorted(set(names))


def test_images_are_fixed(built_manifests: list[Object], overlay: str) -> None:
    fixed = TAGGED if overlay == "kind" else FIXED
    used = [
        container["image"]
        for manifest in built_manifests
        for pod in manifests.pod_specs(manifest)
        for container in manifests.containers(pod)
    ]
    assert used and [image for image in used if not fixed.fullmatch(image)] == []


def test_no_placeholder_is_left(built_manifests: list[Object]) -> None:
    pods = [pod for manifest in built_manifests for pod in manifests.pod_specs(manifest)]
    assert [text for text in strings(pods) if "KUBERT_" in text] == []


def test_gpus_are_within_the_quota_where_there_are_any(
    built_manifests: list[Object], overlay: str
) -> None:
    (quota,) = [
        manifest["spec"]["hard"]
        for manifest in built_manifests
        if manifest["kind"] == "ResourceQuota"
    ]
    assert (quota["requests.nvidia.com/gpu"] == "0") == (overlay == "kind")


def test_selectors_are_not_changed_by_labels(built_manifests: list[Object]) -> None:
    """A Deployment's selector cannot be changed, so it has no label that an overlay adds."""
    for manifest in (manifest for manifest in built_manifests if manifest["kind"] == "Deployment"):
        assert set(manifest["spec"]["selector"]["matchLabels"]) == {
            "app.kubernetes.io/name",
            "app.kubernetes.io/component",
        }


def test_one_file_says_what_is_served_and_watched(tmp_path: Path) -> None:
    tree = manifests.copy_tree(tmp_path / "k8s", everything=True)
    path = tree / "overlays/gke/settings.yaml"
    path.write_text(
        path.read_text()
        .replace("/models/news", "/models/mail")
        .replace("NAME: news", "NAME: mail")
        .replace("/state", "/other")
    )
    built_manifests = manifests.build(tree / "overlays/gke")
    pods = {
        manifest["metadata"]["name"]: pod
        for manifest in built_manifests
        for pod in manifests.pod_specs(manifest)
    }
    assert pods.keys() == {"kubert-serving", "kubert", "kubert-tensorboard"}
    for name in ("kubert-serving", "kubert"):
        puller, server = manifests.containers(pods[name])
        assert puller["args"][0] == "gs://project-id-kubert/models/mail"
        assert server["args"][0] == "--model_name=mail"
        assert server["readinessProbe"]["httpGet"]["path"] == "/v1/models/mail"
    assert pods["kubert-tensorboard"]["containers"][1]["args"][0] == "gs://project-id-kubert/other"


def test_kueue_never_admits_more_than_the_quota(
    built_manifests: list[Object], overlay: str
) -> None:
    queues = [manifest for manifest in built_manifests if manifest["kind"] == "ClusterQueue"]
    (quota,) = [
        manifest["spec"]["hard"]
        for manifest in built_manifests
        if manifest["kind"] == "ResourceQuota"
    ]
    for resource in (
        entry
        for queue in queues
        for entry in queue["spec"]["resourceGroups"][0]["flavors"][0]["resources"]
    ):
        assert amount(resource["nominalQuota"]) <= amount(quota[f"requests.{resource['name']}"]), (
            overlay,
            resource,
        )


def amount(quantity: str) -> float:
    units = {"": 1, "m": 1e-3, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", quantity)
    assert match
    number, unit = match.groups()
    return float(number) * units[unit]
