"""Renders a worker group as a JobSet (jobset.sigs.k8s.io): one pod per worker.

Equal groups on equal clusters give equal JobSets, under a name that is derived from the spec and
the job document. So a restarted launcher, and that of another run of the same training, finds the
JobSet that runs already.

Which failures are retried is decided by the policies in it (`restart_policy`) and not by the
launcher, so the group keeps running while no launcher watches.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from components.config.cluster import GPU_ENVIRONMENT, STATE_MOUNT, ClusterConfig
from components.config.environment import (
    ENV_FAILURE_FILE,
    ENV_GPUS,
    ENV_IMAGE,
    ENV_NAMESPACE,
    ENV_OWNER,
    ENV_POD_NAME,
    ENV_POD_UID,
    ENV_RUN,
    ENV_STOP_GRACE,
    ENV_THREADS,
    ENV_WORK_DIR,
    ENV_WORKERS,
)
from components.errors import ConfigError
from components.progress import StepName
from components.workers.group import WorkerGroup
from components.workers.kubernetes.restart_policy import (
    render_failure_policy,
    render_job_policy,
)
from components.workers.topology import WORKER_PORT

JOBSET_GROUP, JOBSET_VERSION, JOBSET_PLURAL = "jobset.x-k8s.io", "v1alpha2", "jobsets"
SPEC_DIGEST_ANNOTATION = "kubert.dev/spec-sha256"
RUN_ANNOTATION = "kubert.dev/run"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
JOBSET_NAME_LABEL = "jobset.sigs.k8s.io/jobset-name"
REPLICATED_JOB = "worker"
USER_ID = 10001
WORK_DIR = "/tmp"  # noqa: S108 - the only directory that is always writable
_TENSORFLOW_PORT = {"name": "tensorflow", "containerPort": WORKER_PORT}
_NETWORK = {"enableDNSHostnames": True, "publishNotReadyAddresses": True}
_SUPERVISOR = ("python", "-m", "components.workers.worker_supervisor")
KUBELET_MARGIN_SECONDS = 10
"""Seconds between the worker's own deadline after SIGTERM and the kubelet's SIGKILL."""


class LauncherPod(BaseModel):
    """The pod that the launcher runs in; name, UID and run are empty outside a cluster."""

    model_config = ConfigDict(frozen=True)
    namespace: str
    name: str = ""
    uid: str = ""
    run: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], namespace: str) -> LauncherPod:
        """Read the downward API's variables; `namespace` is used if KUBERT_NAMESPACE is unset."""
        return cls(
            namespace=environment.get(ENV_NAMESPACE) or namespace,
            name=environment.get(ENV_POD_NAME, ""),
            uid=environment.get(ENV_POD_UID, ""),
            run=environment.get(ENV_RUN, ""),
        )

    def owner_references(self) -> list[dict[str, object]]:
        """Return the references by which Kubernetes deletes the JobSet together with this pod."""
        if not (self.name and self.uid):
            return []
        return [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": self.name,
                "uid": self.uid,
                "controller": True,
            }
        ]


def worker_labels(step: StepName) -> dict[str, str]:
    """Return the labels of a step's JobSet and pods, which network policies select by."""
    return {"app.kubernetes.io/name": "kubert", "app.kubernetes.io/component": f"{step}-worker"}


def jobset_name(step: StepName, digest: str) -> str:
    """Return a DNS label of at most 46 characters, so that the pods' names fit in 63."""
    return f"kubert-{step}-{digest[:20]}"


def job_document_name(group: WorkerGroup) -> str:
    """Return the job document's file name below the group's directory."""
    return f"jobs/{hashlib.sha256(group.job_document.encode()).hexdigest()[:16]}.json"


def render_jobset(
    group: WorkerGroup, document_uri: str, cluster: ClusterConfig, launcher: LauncherPod
) -> dict[str, Any]:
    """Return the JobSet; its workers read the job document from `document_uri`.

    Raises ConfigError if the workers' image is unknown.
    """
    if not cluster.train_image:
        raise ConfigError(
            "neither cluster.train_image nor KUBERT_TRAIN_IMAGE is set; "
            "name the workers' image by digest (name@sha256:...)"
        )
    spec = _render_jobset_spec(group, document_uri, cluster)
    digest = hashlib.sha256(
        json.dumps([spec, json.loads(group.job_document)], sort_keys=True).encode()
    ).hexdigest()
    return {
        "apiVersion": f"{JOBSET_GROUP}/{JOBSET_VERSION}",
        "kind": "JobSet",
        "metadata": {
            "name": jobset_name(group.step, digest),
            "namespace": launcher.namespace,
            "labels": worker_labels(group.step)
            | ({QUEUE_LABEL: cluster.queue} if cluster.queue else {}),
            "annotations": {SPEC_DIGEST_ANNOTATION: digest}
            | ({RUN_ANNOTATION: launcher.run} if launcher.run else {}),
            "ownerReferences": launcher.owner_references(),
        },
        "spec": spec,
    }


def _render_jobset_spec(
    group: WorkerGroup, document_uri: str, cluster: ClusterConfig
) -> dict[str, Any]:
    return {
        # Kueue resumes it when all workers fit. Without Kueue in the cluster it stays suspended.
        **({"suspend": True} if cluster.queue else {}),
        "ttlSecondsAfterFinished": cluster.ttl_after_finished,
        "network": {"enableDNSHostnames": False} if group.independent else _NETWORK,
        "failurePolicy": render_failure_policy(group),
        "replicatedJobs": [
            {
                "name": REPLICATED_JOB,
                "replicas": 1,
                "template": {"spec": _render_job_spec(group, document_uri, cluster)},
            }
        ],
    }


def _render_job_spec(
    group: WorkerGroup, document_uri: str, cluster: ClusterConfig
) -> dict[str, Any]:
    return {
        "parallelism": group.workers,
        "completions": group.workers,
        "completionMode": "Indexed",
        "activeDeadlineSeconds": cluster.active_deadline,
        **render_job_policy(group),
        "template": {
            "metadata": {"labels": worker_labels(group.step)},
            "spec": _render_pod_spec(group, document_uri, cluster),
        },
    }


def _render_pod_spec(
    group: WorkerGroup, document_uri: str, cluster: ClusterConfig
) -> dict[str, Any]:
    optional = {
        "affinity": {} if group.independent else _render_affinity(group, cluster.topology_key),
        "imagePullSecrets": [{"name": secret} for secret in cluster.image_pull_secrets],
        "nodeSelector": dict(cluster.node_selector),
        "tolerations": [dict(toleration) for toleration in cluster.tolerations],
        "priorityClassName": cluster.priority_class,
    }
    return {
        "restartPolicy": "Never",
        "serviceAccountName": cluster.worker_service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": cluster.termination_grace_period + KUBELET_MARGIN_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **{field: value for field, value in optional.items() if value},
        "containers": [_render_container(group, document_uri, cluster)],
        "volumes": [
            {"name": "work", "emptyDir": {"sizeLimit": cluster.ephemeral_storage}},
            {
                "name": "shared-memory",
                "emptyDir": {"medium": "Memory", "sizeLimit": cluster.shared_memory},
            },
            *(
                [{"name": "state", "persistentVolumeClaim": {"claimName": cluster.checkpoint_pvc}}]
                if cluster.checkpoint_pvc
                else []
            ),
        ],
    }


def _render_affinity(group: WorkerGroup, topology_key: str | None) -> dict[str, Any]:
    """Keep a JobSet's workers together. The first one may run anywhere: it matches its own term."""
    if topology_key is None:
        return {}
    term = {
        "labelSelector": {"matchLabels": worker_labels(group.step)},
        # Only workers of the same JobSet, whose name is not known yet: it depends on this spec.
        "matchLabelKeys": [JOBSET_NAME_LABEL],
        "topologyKey": topology_key,
    }
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def _render_container(
    group: WorkerGroup, document_uri: str, cluster: ClusterConfig
) -> dict[str, Any]:
    gpus = {cluster.gpu_resource: str(cluster.gpus)} if cluster.gpus else {}
    fixed = {"memory": cluster.memory, "ephemeral-storage": cluster.ephemeral_storage, **gpus}
    return {
        "name": group.step.value,
        "image": cluster.train_image,
        "imagePullPolicy": cluster.image_pull_policy,
        "command": [*_SUPERVISOR, group.directory, group.module, document_uri],
        "env": _render_environment(group, cluster),
        **({} if group.independent else {"ports": [_TENSORFLOW_PORT]}),
        "resources": {"requests": {"cpu": cluster.cpu, **fixed}, "limits": fixed},
        # The worker writes its last message there. If it was killed first, the kubelet takes the
        # last lines of its log instead.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "work", "mountPath": WORK_DIR},
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108
            *([{"name": "state", "mountPath": STATE_MOUNT}] if cluster.checkpoint_pvc else []),
        ],
    }


def _render_environment(group: WorkerGroup, cluster: ClusterConfig) -> list[dict[str, Any]]:
    plain = {
        "HOME": WORK_DIR,
        "PYTHONUNBUFFERED": "1",
        ENV_IMAGE: str(cluster.train_image),
        ENV_WORKERS: str(group.workers),
        ENV_THREADS: str(max(1, math.ceil(parse_cpu_quantity(cluster.cpu)))),
        ENV_WORK_DIR: WORK_DIR,
        ENV_STOP_GRACE: str(cluster.termination_grace_period),
        ENV_FAILURE_FILE: "/dev/termination-log",
        **({ENV_GPUS: str(cluster.gpus)} if cluster.gpus else {}),
        **({"AWS_ENDPOINT_URL": cluster.storage_endpoint} if cluster.storage_endpoint else {}),
        **(GPU_ENVIRONMENT if cluster.gpus else {}),
        **cluster.environment,
    }
    labels = {
        "JOBSET_NAME": JOBSET_NAME_LABEL,
        "REPLICATED_JOB": "jobset.sigs.k8s.io/replicatedjob-name",
        "JOB_INDEX": "jobset.sigs.k8s.io/job-index",
        ENV_OWNER: "jobset.sigs.k8s.io/jobset-uid",
    }
    secret = dict(
        zip(
            ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), cluster.storage_secret_keys, strict=True
        )
    )
    return [
        *({"name": variable, "value": value} for variable, value in plain.items()),
        *(
            {
                "name": variable,
                "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{label}']"}},
            }
            for variable, label in labels.items()
        ),
        *(
            {
                "name": variable,
                "valueFrom": {"secretKeyRef": {"name": cluster.storage_secret, "key": key}},
            }
            for variable, key in (secret.items() if cluster.storage_secret else ())
        ),
    ]


def parse_cpu_quantity(quantity: str) -> float:
    """Return the number of CPU cores that a Kubernetes quantity means: 2, 0.5, 250m."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)
