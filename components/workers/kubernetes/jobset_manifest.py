"""A gang as a JobSet: equal jobs on an equal cluster give equal JobSets, under a name that says which run they belong to.

One pod per worker; all of them restart together. Which failures are retried is decided in the cluster, not by the
launcher, so that a gang goes on while nobody watches it. The rules rely on the text of the Job controller's messages,
which a test pins: "Container train for pod <pod> failed with exit code 65 matching FailJob rule at index 0".
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from components.config.cluster import STATE_MOUNT, ClusterConfig
from components.config.environment import (
    ENV_FAILURE_FILE,
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
from components.train.job import Job
from components.workers import exit_codes

JOBSET_GROUP, JOBSET_VERSION, JOBSET_PLURAL = "jobset.x-k8s.io", "v1alpha2", "jobsets"
SPEC_DIGEST_ANNOTATION = "kubert.dev/spec-sha256"
WORKER_LABELS = {"app.kubernetes.io/name": "kubert", "app.kubernetes.io/component": "train-worker"}
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
REPLICATED_JOB, CONTAINER = "worker", "train"
USER_ID = 10001
_MARGIN = 10
"""Seconds between the worker's own deadline after SIGTERM and the kubelet's SIGKILL."""
_PERMANENT = sorted(exit_codes.PERMANENT)
FAILURE_MESSAGE_PATTERNS = {
    "permanent": [f"exit code ({'|'.join(map(str, _PERMANENT))}) matching"],
    "disrupted": [
        "condition DisruptionTarget matching",
        f"exit code {exit_codes.PREEMPTED} matching",
    ],
}
"""Regular expressions over the message of a failed Job, by the failure policy's rule."""


def render_jobset(
    job: Job, job_place: str, cluster: ClusterConfig, launcher: LauncherPod
) -> dict[str, Any]:
    """The JobSet; `job_place` is where its workers read the job. ConfigError if the image is not known."""
    if not cluster.train_image:
        raise ConfigError(
            "cluster.train_image is not set, nor is KUBERT_TRAIN_IMAGE; name the workers' image by digest (name@sha256:...)"
        )
    spec = _jobset_spec(job, job_place, cluster)
    digest = hashlib.sha256(
        json.dumps([spec, job.model_dump(mode="json")], sort_keys=True).encode()
    ).hexdigest()
    labels = WORKER_LABELS | ({QUEUE_LABEL: cluster.queue} if cluster.queue else {})
    return {
        "apiVersion": f"{JOBSET_GROUP}/{JOBSET_VERSION}",
        "kind": "JobSet",
        "metadata": {
            "name": jobset_name(launcher.run, digest),
            "namespace": launcher.namespace,
            "labels": labels,
            "annotations": {SPEC_DIGEST_ANNOTATION: digest}
            | ({"kubert.dev/run": launcher.run} if launcher.run else {}),
            "ownerReferences": launcher.owner_references(),
        },
        "spec": spec,
    }


def jobset_name(run: str, digest: str) -> str:
    """A DNS label of at most 46 characters, so that its pods' names fit in 63; equal for the same run and spec."""
    of_run = f"{hashlib.sha256(run.encode()).hexdigest()[:8]}-" if run else ""
    return f"kubert-train-{of_run}{digest[:12]}"


def job_file_name(job: Job, launcher: LauncherPod) -> str:
    """The name, below the state, of the file that tells this run's gang what to do."""
    told = hashlib.sha256((job.model_dump_json() + launcher.run).encode()).hexdigest()
    return f"jobs/{told[:16]}.json"


def _jobset_spec(job: Job, job_place: str, cluster: ClusterConfig) -> dict[str, Any]:
    return {
        # Kueue lifts it when all workers fit; without Kueue in the cluster the gang would otherwise run past the queue.
        **({"suspend": True} if cluster.queue else {}),
        "ttlSecondsAfterFinished": cluster.keep_finished,
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
        "failurePolicy": {
            "maxRestarts": job.train.max_restarts,
            "restartStrategy": "BlockingRecreate",
            "rules": [
                {
                    "name": "overtime",
                    "action": "FailJobSet",
                    "onJobFailureReasons": ["DeadlineExceeded"],
                },
                _rule("permanent", "FailJobSet"),
                _rule("disrupted", "RestartJobSetAndIgnoreMaxRestarts"),
                {"name": "other", "action": "RestartJobSet"},
            ],
        },
        "replicatedJobs": [
            {
                "name": REPLICATED_JOB,
                "replicas": 1,
                "template": {"spec": _job_spec(job, job_place, cluster)},
            }
        ],
    }


def _rule(name: str, action: str) -> dict[str, Any]:
    return {
        "name": name,
        "action": action,
        "onJobFailureReasons": ["PodFailurePolicy"],
        "onJobFailureMessagePatterns": FAILURE_MESSAGE_PATTERNS[name],
    }


def _job_spec(job: Job, job_place: str, cluster: ClusterConfig) -> dict[str, Any]:
    def ended_with(*codes: int) -> dict[str, Any]:
        return {
            "action": "FailJob",
            "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": list(codes)},
        }

    return {
        "parallelism": job.train.workers,
        "completions": job.train.workers,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "activeDeadlineSeconds": cluster.time_limit,
        "podFailurePolicy": {
            "rules": [
                ended_with(*_PERMANENT),
                {
                    "action": "FailJob",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                },
                ended_with(exit_codes.PREEMPTED),
            ]
        },
        "template": {
            "metadata": {"labels": dict(WORKER_LABELS)},
            "spec": _pod_spec(job, job_place, cluster),
        },
    }


def _pod_spec(job: Job, job_place: str, cluster: ClusterConfig) -> dict[str, Any]:
    optional = {
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
        "terminationGracePeriodSeconds": cluster.stop_grace + _MARGIN,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **{field: value for field, value in optional.items() if value},
        "containers": [_container(job, job_place, cluster)],
        "volumes": [
            {"name": "work", "emptyDir": {"sizeLimit": cluster.ephemeral_storage}},
            {
                "name": "shared-memory",
                "emptyDir": {"medium": "Memory", "sizeLimit": cluster.shared_memory},
            },
            *(
                [{"name": "state", "persistentVolumeClaim": {"claimName": cluster.state_claim}}]
                if cluster.state_claim
                else []
            ),
        ],
    }


def _container(job: Job, job_place: str, cluster: ClusterConfig) -> dict[str, Any]:
    gpus = {cluster.gpu_resource: str(cluster.gpus)} if cluster.gpus else {}
    fixed = {"memory": cluster.memory, "ephemeral-storage": cluster.ephemeral_storage, **gpus}
    return {
        "name": CONTAINER,
        "image": cluster.train_image,
        "imagePullPolicy": cluster.image_pull_policy,
        "command": ["python", "-m", "components.train.worker", job_place],
        "env": _environment(job, cluster),
        "ports": [{"name": "tensorflow", "containerPort": 2222}],
        "resources": {"requests": {"cpu": cluster.cpu, **fixed}, "limits": fixed},
        # The worker writes its last message there; where it could not (killed), the end of its log stands for it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "work", "mountPath": "/tmp"},  # noqa: S108
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108
            *([{"name": "state", "mountPath": STATE_MOUNT}] if cluster.state_claim else []),
        ],
    }


def _environment(job: Job, cluster: ClusterConfig) -> list[dict[str, Any]]:
    plain = {
        "HOME": "/tmp",  # noqa: S108 - the only place that is writable for sure
        "PYTHONUNBUFFERED": "1",
        ENV_IMAGE: str(cluster.train_image),
        ENV_WORKERS: str(job.train.workers),
        ENV_THREADS: str(max(1, math.ceil(parse_cpu_quantity(cluster.cpu)))),
        ENV_WORK_DIR: "/tmp",  # noqa: S108
        ENV_STOP_GRACE: str(cluster.stop_grace),
        ENV_FAILURE_FILE: "/dev/termination-log",
        **({"AWS_ENDPOINT_URL": cluster.storage_endpoint} if cluster.storage_endpoint else {}),
        **cluster.environment,
    }
    labels = {
        "JOBSET_NAME": "jobset.sigs.k8s.io/jobset-name",
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
    """A number of CPU cores as Kubernetes writes it: 2, 0.5, 250m."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


class LauncherPod(BaseModel):
    """Name, uid and run are empty where the launcher is no pod (on a developer's machine)."""

    model_config = ConfigDict(frozen=True)
    namespace: str
    name: str = ""
    uid: str = ""
    run: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], namespace: str) -> LauncherPod:
        """The pod that KUBERT_POD_NAME, KUBERT_POD_UID, KUBERT_NAMESPACE and KUBERT_RUN describe; `namespace` counts without the third."""
        return cls(
            namespace=environment.get(ENV_NAMESPACE) or namespace,
            name=environment.get(ENV_POD_NAME, ""),
            uid=environment.get(ENV_POD_UID, ""),
            run=environment.get(ENV_RUN, ""),
        )

    def owner_references(self) -> list[dict[str, object]]:
        """What makes Kubernetes delete the gang when this pod is deleted."""
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
