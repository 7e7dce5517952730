"""Checks of what is installed in the cluster: JobSet, Kueue and other API groups."""

from __future__ import annotations

from components.config.cluster import ClusterConfig
from pipeline.doctor import Finding
from pipeline.doctor.cluster_reader import ApiRequestError, Reader

JOBSET_GROUP, JOBSET_VERSION = "jobset.x-k8s.io", "v1alpha2"
KUEUE_GROUP = "kueue.x-k8s.io"
_WEBHOOK_FAILURE = "failed calling webhook"


def check_jobset(reader: Reader, cluster: ClusterConfig) -> Finding:
    """JobSet is installed, and its webhooks accept a JobSet (a dry run that creates nothing)."""
    if reader.get(f"/apis/{JOBSET_GROUP}/{JOBSET_VERSION}") is None:
        return Finding.missing(
            "JobSet is not installed",
            "install JobSet 0.12 (https://jobset.sigs.k8s.io), or set cluster.backend=local",
        )
    pod = {"restartPolicy": "Never", "containers": [{"name": "train", "image": "none"}]}
    job = {"spec": {"template": {"spec": pod}}}
    body = {
        "apiVersion": f"{JOBSET_GROUP}/{JOBSET_VERSION}",
        "kind": "JobSet",
        "metadata": {"name": "kubert-doctor"},
        "spec": {"replicatedJobs": [{"name": "worker", "template": job}]},
    }
    path = f"/apis/{JOBSET_GROUP}/{JOBSET_VERSION}/namespaces/{cluster.namespace}/jobsets"
    try:
        reader.post(path, body, dry_run=True)
    except ApiRequestError as error:
        if _WEBHOOK_FAILURE in error.reason:
            return Finding.missing(
                _WEBHOOK_FAILURE,
                "JobSet's controller does not answer: kubectl -n jobset-system get pods",
            )
        raise
    return Finding.ok(f"{JOBSET_VERSION}, accepts a JobSet (dry run)")


def check_priority_class(reader: Reader, cluster: ClusterConfig) -> Finding:
    """The workers' priority class exists, and JobSet can create pods with it.

    JobSet 0.11 and 0.12 copy the priority to a label, which cannot begin with a minus sign
    (kubernetes-sigs/jobset#1280).
    """
    name = cluster.priority_class
    priority_class = reader.get(f"/apis/scheduling.k8s.io/v1/priorityclasses/{name}")
    if priority_class is None:
        return Finding.missing(
            f"there is no {name}", "apply an overlay of k8s/, or set cluster.priority_class"
        )
    value = priority_class["value"]
    if value < 0:
        return Finding.missing(
            f"{name} has the value {value}: JobSet 0.11 and 0.12 cannot create pods with it",
            "use a class whose value is 0 or more",
        )
    return Finding.ok(f"{name}, value {value}")


def check_local_queue(reader: Reader, cluster: ClusterConfig) -> Finding:
    """Kueue is installed and has the local queue that the configuration names."""
    queue, namespace = cluster.queue, cluster.namespace
    group = reader.get(f"/apis/{KUEUE_GROUP}")
    if group is None:
        return Finding.missing("Kueue is not installed", "install it, or remove cluster.queue")
    version = group["preferredVersion"]["version"]
    path = f"/apis/{KUEUE_GROUP}/{version}/namespaces/{namespace}/localqueues/{queue}"
    if reader.get(path) is None:
        return Finding.missing(
            f"no local queue {queue} in {namespace}", "see the example in k8s/train/kueue"
        )
    return Finding.ok(f"queue {queue}")


def check_argo_workflows(reader: Reader, _cluster: ClusterConfig) -> Finding:
    """Argo Workflows, which Kubeflow Pipelines runs on, is installed."""
    name = "workflows.argoproj.io"
    if reader.get("/apis/argoproj.io") is None:
        return Finding.missing(f"no {name}", "install Kubeflow Pipelines")
    return Finding.ok(name)


def check_kserve(reader: Reader, _cluster: ClusterConfig) -> Finding:
    """KServe, which is optional."""
    if reader.get("/apis/serving.kserve.io") is None:
        return Finding.ok("not installed; only k8s/serve/kserve needs it")
    return Finding.ok("inferenceservices.serving.kserve.io")
