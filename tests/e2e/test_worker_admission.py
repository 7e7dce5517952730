"""The JobSets of the examples, and their pods, in namespaces with their overlays' quotas."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator

import pytest

from components.config.loading import load_config
from components.config.schema import Config
from components.train.job import Job
from components.train.step import build_worker_group
from components.workers.kubernetes.jobset_manifest import (
    JOBSET_NAME_LABEL,
    LauncherPod,
    render_jobset,
)
from tests.support import manifests
from tests.support.manifests import Object, dry_run, kubectl

EXAMPLES = {"kind": "05-kind-jobset.yaml", "gke": "06-gke-gpu.yaml", "eks": "08-eks-gpu.yaml"}
NAMESPACE_KINDS = {"Namespace", "ServiceAccount", "ResourceQuota", "LimitRange"}
CHANGED = {
    "train_image": "registry.k8s.io/pause:3.10",
    "topology_key": "topology.kubernetes.io/zone",
    # Cluster-wide, so these namespaces do not have it.
    "priority_class": None,
}


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> Iterator[Config]:
    """An example whose namespace exists, with the accounts and quotas of its overlay."""
    overlay, name = request.param, f"kubert-{request.param}-{uuid.uuid4().hex[:6]}"
    built = manifests.build(manifests.ROOT / "overlays" / overlay)
    own = [each for each in built if each["kind"] in NAMESPACE_KINDS]
    for each in own:
        each["metadata"]["name" if each["kind"] == "Namespace" else "namespace"] = name
    config = load_config(manifests.ROOT.parent / "examples" / EXAMPLES[overlay])
    try:
        kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": own})
        wait_for_quota(name)
        cluster = config.cluster.model_copy(update={**CHANGED, "namespace": name})
        yield config.model_copy(update={"cluster": cluster})
    finally:
        kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


def wait_for_quota(namespace: str) -> None:
    """Return when the quota counts: until then every pod is refused."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        quota = kubectl("-n", namespace, "get", "resourcequota", "kubert", "-o", "json")
        if "hard" in json.loads(quota.stdout).get("status", {}):
            return
        time.sleep(0.2)


def render_example(config: Config) -> Object:
    job = Job(model=config.model, train=config.train, shards="gs://b/shards", state="gs://b/state")
    launcher = LauncherPod(namespace=config.cluster.namespace, run="run")
    return render_jobset(build_worker_group(job), "gs://b/job.json", config.cluster, launcher)


def test_jobset_and_workers_are_admitted_where_the_overlay_was_applied(example: Config) -> None:
    """Fault A9. GPUs are within the quota where the overlay is for a cloud with GPUs."""
    cluster, jobset = example.cluster, render_example(example)
    done = dry_run(cluster.namespace, jobset)
    assert (done.returncode, done.stderr) == (0, "")
    template = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    labels = {**template["metadata"]["labels"], JOBSET_NAME_LABEL: "the-jobset"}
    worker = dry_run(
        cluster.namespace,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "worker", "labels": labels},
            "spec": template["spec"],
        },
    )
    assert worker.returncode == 0, worker.stderr
    found = json.loads(worker.stdout)["spec"]
    assert [volume for volume in found["volumes"] if "projected" in volume] == []
    limits = found["containers"][0]["resources"]["limits"]
    assert int(limits.get(cluster.gpu_resource, "0")) == cluster.gpus
    (term,) = found["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    # The API server adds the JobSet's name, so that other trainings do not count.
    assert {"key": JOBSET_NAME_LABEL, "operator": "In", "values": ["the-jobset"]} in term[
        "labelSelector"
    ]["matchExpressions"]
