"""What can be said of the manifests without a cluster and without kubectl."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

from components import __version__
from components.config.cluster import ClusterConfig
from components.config.loading import load_config
from components.config.schema import Config
from components.train.job import Job
from components.train.step import build_worker_group
from components.workers.kubernetes import jobset_manifest
from components.workers.kubernetes.jobset_manifest import LauncherPod
from pipeline import images
from tests.support import manifests
from tests.support.manifests import Object, Written

WRITTEN = manifests.list_written()
IDS = [f"{file}:{manifest['kind']}-{manifest['metadata']['name']}" for file, manifest in WRITTEN]
PODS = [
    pytest.param(file, pod, id=file)
    for file, manifest in WRITTEN
    for pod in manifests.pod_specs(manifest)
]
PLUGIN = "overlays/eks/device-plugin/daemon-set.yaml"
EXAMPLES = {"gke": "06-gke-gpu.yaml", "eks": "08-eks-gpu.yaml"}
CLOUDS = list(EXAMPLES)


@pytest.mark.parametrize(("file", "manifest"), WRITTEN, ids=IDS)
def test_it_is_named_labelled_and_in_the_namespace(file: str, manifest: Object) -> None:
    metadata = manifest["metadata"]
    assert {"app.kubernetes.io/name", "app.kubernetes.io/component"} <= set(metadata["labels"])
    assert metadata.get("namespace") == manifests.expected_namespace(manifest)


def test_every_file_belongs_to_a_kustomization() -> None:
    named: set[Path] = set()
    for path in manifests.ROOT.rglob("kustomization.yaml"):
        read = yaml.safe_load(path.read_text())
        listed = [
            *read.get("resources", []),
            *read.get("components", []),
            *(patch["path"] for patch in read.get("patches", [])),
        ]
        named |= {(path.parent / entry).resolve() for entry in listed}
        commented = [
            line.split()[2] for line in path.read_text().splitlines() if line.startswith("  # - ")
        ]
        named |= {(path.parent / entry).resolve() for entry in commented if "{" not in entry}
    known = {entry / "kustomization.yaml" if entry.is_dir() else entry for entry in named}
    ends = {
        manifests.ROOT / "overlays" / overlay / "kustomization.yaml"
        for overlay in manifests.OVERLAYS
    } | {manifests.ROOT / "single-user/kustomization.yaml"}
    assert set(manifests.files()) == known | ends


def test_no_secret_is_in_them_and_no_image_that_moves() -> None:
    assert [entry.file for entry in WRITTEN if entry.manifest["kind"] == "Secret"] == []
    assert [str(path) for path in manifests.files() if ":latest" in path.read_text()] == []


def test_the_namespace_enforces_the_restricted_profile() -> None:
    labels = manifests.one("Namespace", ClusterConfig().namespace)["metadata"]["labels"]
    assert [
        labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")
    ] == ["restricted"] * 3


@pytest.mark.parametrize(("file", "pod"), PODS)
def test_pods_are_restricted_and_have_no_token(file: str, pod: Object) -> None:
    """Fault A9."""
    assert pod["automountServiceAccountToken"] is False
    for container in manifests.containers(pod):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
    if file == PLUGIN:
        return
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == jobset_manifest.USER_ID
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]} == {"emptyDir"}


@pytest.mark.parametrize(("file", "pod"), PODS)
def test_every_container_says_what_it_needs(file: str, pod: Object) -> None:
    for container in manifests.containers(pod):
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        assert "ports" not in container or {
            "startupProbe",
            "readinessProbe",
            "livenessProbe",
        } <= set(container)
        assert (
            file == PLUGIN
            or {"name": "temporary", "mountPath": "/tmp"} in container["volumeMounts"]
        )


@pytest.mark.parametrize(("file", "pod"), PODS)
def test_what_runs_in_our_images_exists(file: str, pod: Object) -> None:
    for container in manifests.containers(pod):
        if container["image"].startswith("kubert-"):
            python, flag, module = container["command"]
            assert (python, flag) == ("python", "-m")
            assert importlib.util.find_spec(module), module


def test_kserve_runs_the_very_pod_of_the_deployment() -> None:
    (plain,) = manifests.pod_specs(manifests.one("Deployment", "kubert-serving"))
    (kserve,) = manifests.pod_specs(manifests.one("InferenceService", "kubert"))
    for field in (
        "serviceAccountName",
        "securityContext",
        "initContainers",
        "volumes",
        "terminationGracePeriodSeconds",
    ):
        assert kserve[field] == plain[field]
    for field in (
        "image",
        "command",
        "args",
        "env",
        "lifecycle",
        "resources",
        "securityContext",
        "volumeMounts",
    ):
        assert kserve["containers"][0][field] == plain["containers"][0][field]


def test_accounts_are_those_that_runs_use_by_default() -> None:
    cluster = ClusterConfig()
    accounts = {m["metadata"]["name"]: m for _, m in WRITTEN if m["kind"] == "ServiceAccount"}
    assert {cluster.service_account, cluster.worker_service_account} <= set(accounts)
    assert {
        name
        for name, account in accounts.items()
        if account.get("automountServiceAccountToken") is not False
    } == {cluster.service_account}
    used = {
        pod["serviceAccountName"]
        for _, manifest in WRITTEN
        for pod in manifests.pod_specs(manifest)
        if "serviceAccountName" in pod
    }
    assert used == {"kubert-serving", "kubert-tensorboard"} <= set(accounts)


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_images_are_those_that_make_images_builds(overlay: str) -> None:
    chosen = {
        image["name"]: image for image in manifests.kustomization(f"overlays/{overlay}")["images"]
    }
    used = {
        c["image"]
        for file, m in WRITTEN
        for pod in manifests.pod_specs(m)
        for c in manifests.containers(pod)
        if file != PLUGIN
    }
    ours = {reference.partition(":")[0] for reference in images.DEFAULT_IMAGES.values()}
    assert used == ours | {"tensorflow-serving"}
    assert used <= set(chosen)
    for name in ours:
        assert chosen[name]["newName"].rpartition("/")[2] == name
        assert overlay != "kind" or chosen[name]["newTag"] == __version__
    assert overlay == "kind" or all(
        image["digest"].startswith("sha256:") and len(image["digest"]) == 71
        for image in chosen.values()
    )


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_the_model_that_is_served_is_called_what_it_is(overlay: str) -> None:
    settings = manifests.settings(overlay)
    assert settings["KUBERT_MODEL"].rpartition("/")[2] == settings["KUBERT_MODEL_NAME"]


def configuration(overlay: str) -> Config:
    return load_config(manifests.ROOT.parent / "examples" / EXAMPLES[overlay])


@pytest.mark.parametrize("overlay", CLOUDS)
def test_a_cloud_s_configuration_fits_its_manifests(overlay: str) -> None:
    given, settings = configuration(overlay), manifests.settings(overlay)
    assert given.cluster.checkpoint_uri == settings["KUBERT_STATE"]
    assert f"{given.export.model_store}/{given.export.model_name}" == settings["KUBERT_MODEL"]
    assert manifests.one("PriorityClass", str(given.cluster.priority_class))
    assert given.cluster.gpus and given.cluster.node_selector and given.cluster.tolerations


def test_everything_a_worker_asks_for_is_covered_by_the_queue() -> None:
    given = configuration("gke")
    job = Job(model=given.model, train=given.train, shards="gs://b/shards", state="gs://b/state")
    cluster = given.cluster.model_copy(update={"train_image": "x@sha256:0", "queue": "kubert"})
    jobset = jobset_manifest.render_jobset(
        build_worker_group(job), "gs://b/job.json", cluster, LauncherPod(namespace="kubert")
    )
    asked = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"][
        "containers"
    ][0]["resources"]["requests"]
    (group,) = manifests.one("ClusterQueue", "kubert")["spec"]["resourceGroups"]
    assert set(asked) <= set(group["coveredResources"])
    assert [resource["name"] for resource in group["flavors"][0]["resources"]] == group[
        "coveredResources"
    ]
    assert (
        jobset["metadata"]["labels"][jobset_manifest.QUEUE_LABEL]
        == manifests.one("LocalQueue", "kubert")["metadata"]["name"]
    )


def test_written_manifests_are_found() -> None:
    """So that none of the tests above passes for want of files."""
    assert len(WRITTEN) > 30 and len(PODS) == 4
    assert isinstance(WRITTEN[0], Written)


def test_priority_classes_are_not_negative() -> None:
    """JobSet 0.11 and 0.12 cannot create pods with a negative priority."""
    values = {
        written.file: written.manifest["value"]
        for written in manifests.list_written()
        if written.manifest["kind"] == "PriorityClass"
    }
    assert values
    assert min(values.values()) >= 0, values
