"""The options that only a run on a cluster has; a part of `components.config.schema`, where all sections meet."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from components.config.section import Section

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"


STATE_MOUNT = "/mnt/kubert-state"
"""Where `state_claim` is mounted, in the launcher's pod and in the workers'."""


class ClusterConfig(Section):
    """Where a run is submitted to, and the pods that its workers get."""

    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s@]+$",
        description="address of the Kubeflow Pipelines API, such as https://kfp.example.com; without it, --endpoint or KUBERT_ENDPOINT",
    )
    auth: Literal["auto", "none", "in-cluster", "token", "cookie", "port-forward"] = Field(
        "auto",
        description="how the API is reached: with the pod's own token, KUBERT_TOKEN, KUBERT_COOKIE, or by port-forward; auto: the first at hand",
    )
    namespace: str = Field(
        "kubert", pattern=DNS_LABEL, description="namespace of the runs and of the workers' pods"
    )
    kubeflow_namespace: str = Field(
        "kubeflow",
        pattern=DNS_LABEL,
        description="namespace of Kubeflow Pipelines itself, for the address inside the cluster and the port-forward",
    )
    experiment: str = Field(
        "kubert", min_length=1, max_length=128, description="experiment that runs are listed under"
    )
    pipeline_root: str | None = Field(
        None,
        description="gs://, s3:// or minio:// place of the runs' artifacts; without it, the server's own",
    )
    service_account: str = Field(
        "kubert-pipeline",
        pattern=DNS_LABEL,
        description="account of the steps; it may create JobSets",
    )
    worker_service_account: str = Field(
        "kubert-worker",
        pattern=DNS_LABEL,
        description="account of the workers; it needs no rights in Kubernetes",
    )
    train_image: str | None = Field(
        None,
        description="image of the steps and workers, by digest (name@sha256:...); without it, KUBERT_TRAIN_IMAGE",
    )
    tools_image: str | None = Field(
        None,
        description="image of the launcher and the puller, by digest; without it, KUBERT_TOOLS_IMAGE",
    )
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        "IfNotPresent", description="when nodes pull the images"
    )
    image_pull_secrets: tuple[str, ...] = Field(
        (), description="secrets with the registry's credentials"
    )
    backend: Literal["local", "jobset"] = Field(
        "local",
        description="where training's workers run: local: processes of the step itself; jobset: a pod each, as one JobSet",
    )
    state: str | None = Field(
        None,
        description="gs://, s3:// or minio:// place of checkpoints under way, shared by all workers; without it, beside the run's artifacts",
    )
    state_claim: str | None = Field(
        None,
        pattern=DNS_LABEL,
        description="a ReadWriteMany volume claim for checkpoints under way, in place of `state`",
    )
    storage_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s@]+$",
        description="address of an S3 service other than AWS, as the pods see it; for minio:// it is Kubeflow's own without it",
    )
    storage_secret: str | None = Field(
        None,
        pattern=DNS_LABEL,
        description="secret with S3 keys for steps and workers; Kubeflow's own is mlpipeline-minio-artifact",
    )
    storage_secret_keys: tuple[str, str] = Field(
        ("accesskey", "secretkey"),
        description="names of the access key and of the secret key in `storage_secret`",
    )
    cpu: str = Field(
        "2", pattern=QUANTITY, description="CPU cores per worker, as Kubernetes writes them"
    )
    memory: str = Field(
        "4Gi", pattern=QUANTITY, description="memory per worker; one that needs more is killed"
    )
    ephemeral_storage: str = Field(
        "10Gi", pattern=QUANTITY, description="disk per worker, for shards and checkpoints"
    )
    gpus: int = Field(0, ge=0, le=16, description="GPUs per worker")
    gpu_resource: str = Field(
        "nvidia.com/gpu",
        pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$",
        description="resource name of the GPUs",
    )
    shared_memory: str = Field(
        "1Gi",
        pattern=QUANTITY,
        description="size of /dev/shm per worker, part of its memory; NCCL needs it",
    )
    environment: dict[str, str] = Field(
        {},
        description="variables of the steps and workers, such as NCCL_DEBUG or NCCL_SOCKET_IFNAME; no secrets",
    )
    step_cpu: str = Field("1", pattern=QUANTITY, description="CPU cores of each step's own pod")
    step_memory: str = Field(
        "4Gi",
        pattern=QUANTITY,
        description="memory of each step's own pod; its disk is that of a worker",
    )
    node_selector: dict[str, str] = Field(
        {}, description="labels of the nodes that workers may run on"
    )
    tolerations: tuple[dict[str, Any], ...] = Field(
        (), description="taints that workers put up with, as Kubernetes writes them"
    )
    queue: str | None = Field(
        None,
        pattern=DNS_LABEL,
        description="Kueue's local queue; the gang waits there until all its workers fit",
    )
    priority_class: str | None = Field(
        None, pattern=DNS_LABEL, description="priority class of the workers"
    )
    pod_deadline: int = Field(
        900,
        ge=1,
        description="seconds until all workers must run (nodes found, images pulled); waiting in a queue does not count",
    )
    time_limit: int = Field(
        86_400, ge=60, description="seconds after which a gang that is still running is ended"
    )
    stop_grace: int = Field(
        60,
        ge=10,
        le=3600,
        description="seconds that workers get to save and upload a checkpoint when they are stopped",
    )
    keep_finished: int = Field(
        3600, ge=0, description="seconds that a finished gang's pods are kept"
    )

    @field_validator("environment")
    @classmethod
    def _variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} is not the name of a variable")
            if name.startswith(("KUBERT_", "JOBSET_")) or name in (
                "TF_CONFIG",
                "JOB_COMPLETION_INDEX",
            ):
                raise ValueError(f"{name} is set by kubert itself")
        return value

    @field_validator("tolerations")
    @classmethod
    def _known_fields(cls, value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        known = ("key", "operator", "value", "effect", "tolerationSeconds")
        for name in (name for toleration in value for name in toleration):
            if name not in known:
                raise ValueError(
                    f"{name!r} is no field of a toleration; those are {', '.join(known)}"
                )
        return value

    @field_validator("pipeline_root", "state")
    @classmethod
    def _remote(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("gs://", "s3://", "minio://")):
            raise ValueError(
                "must start with gs://, s3:// or minio://, so that every pod can reach it"
            )
        return value

    @model_validator(mode="after")
    def _one_place(self) -> ClusterConfig:
        if self.state and self.state_claim:
            raise ValueError(
                "state and state_claim are two places for the same files; give one of them"
            )
        return self


class ScheduleConfig(Section):
    """When the pipeline runs again by itself."""

    cron: str | None = Field(
        None,
        description="minute, hour, day of month, month, day of week, as in `30 2 * * 1`; without it, there is no schedule",
    )
    time_zone: str = Field(
        "UTC", min_length=1, description="time zone that `cron` is meant in, such as Europe/Berlin"
    )
    server_time_zone: str = Field(
        "UTC",
        min_length=1,
        description="time zone that the server runs all its schedules in (its CRON_SCHEDULE_TIMEZONE); its API does not tell it",
    )
    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}$",
        description="name of the schedule; without it, that of the model",
    )
    concurrency: int = Field(
        1,
        ge=1,
        le=10,
        description="runs of the schedule under way at once; further slots wait for one to end",
    )
    catch_up: bool = Field(
        False,
        description="slots missed in a pause or behind a long run: true: each is run afterwards; false: only the latest one is",
    )
    enabled: bool = Field(True, description="false: the schedule exists, but is paused")
