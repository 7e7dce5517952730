"""The `cluster` and `schedule` sections: options that only a run on a cluster has."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from components.config.section import Section

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
CPU_QUANTITY = r"^[0-9]+(\.[0-9]+)?m?$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
_LABEL_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
_DNS_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
EXTENDED_RESOURCE = f"^{_DNS_SUBDOMAIN}/{_LABEL_NAME}"
LABEL_KEY = f"^({_DNS_SUBDOMAIN}/)?{_LABEL_NAME}"
HTTP_URL = r"^https?://[^\s@]+$"
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
_SCHEDULE_NAME = r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}$"
PATTERN_MEANINGS = {
    DNS_LABEL: "lower-case letters, digits and '-', 63 at most, such as kubert-1",
    CPU_QUANTITY: "a number of CPU cores, such as 2, 0.5 or 500m",
    QUANTITY: "a Kubernetes quantity, such as 500Mi or 4Gi",
    EXTENDED_RESOURCE: "DOMAIN/NAME, such as nvidia.com/gpu or nvidia.com/mig-1g.5gb",
    LABEL_KEY: "a label's key, such as topology.kubernetes.io/zone",
    HTTP_URL: "an address without credentials, such as https://kfp.example.com",
    MODEL_NAME: "letters, digits, '_', '.' and '-', 63 at most, such as news-2",
    _SCHEDULE_NAME: "letters, digits, spaces, '_', '.' and '-', 63 at most, such as news nightly",
}
"""What a value has to be, for messages: a regular expression helps nobody."""
_QUOTA_PREFIX = "requests."
_MAX_RESOURCE_DOMAIN = 253 - len(_QUOTA_PREFIX)
REMOTE_SCHEMES = ("gs://", "s3://", "minio://")
STATE_MOUNT = "/mnt/kubert-state"
"""Where `checkpoint_pvc` is mounted, in the launcher's pod and in the workers'."""
GPU_ENVIRONMENT = {"NCCL_DEBUG": "WARN"}
"""Variables of workers with GPUs, unless `environment` sets them.

From WARN on, NCCL says why it failed. NCCL_SOCKET_IFNAME stays unset: NCCL takes all interfaces but
lo and docker*, which is what a pod has (NCCL user guide, Environment Variables).
"""
_RESERVED_PREFIXES = ("KUBERT_", "JOBSET_")
_RESERVED_VARIABLES = ("TF_CONFIG", "JOB_COMPLETION_INDEX")
_TOLERATION_FIELDS = ("key", "operator", "value", "effect", "tolerationSeconds")


class ClusterConfig(Section):
    """Where runs are submitted, and the pods of the steps and workers."""

    endpoint: str | None = Field(
        None,
        pattern=HTTP_URL,
        description="address of the Kubeflow Pipelines API, such as https://kfp.example.com; "
        "default: --endpoint or KUBERT_ENDPOINT",
    )
    auth: Literal["auto", "none", "in-cluster", "token", "cookie", "port-forward"] = Field(
        "auto",
        description="how to reach the API: with the pod's own token (in-cluster), KUBERT_TOKEN, "
        "KUBERT_COOKIE, or through a port-forward, which takes KUBERT_TOKEN or KUBERT_COOKIE with "
        "it; auto: the first that is available",
    )
    ui: str | None = Field(
        None,
        pattern=HTTP_URL,
        description="address of the web pages of Kubeflow Pipelines, such as "
        "https://kubeflow.example.com/pipeline or http://localhost:8080, for links to runs and "
        "schedules; default: no links",
    )
    namespace: str = Field(
        "kubert",
        pattern=DNS_LABEL,
        description="namespace of the runs and of the workers' pods on a multi-user server",
    )
    kubeflow_namespace: str = Field(
        "kubeflow",
        pattern=DNS_LABEL,
        description="namespace of Kubeflow Pipelines, for its address inside the cluster and for "
        "the port-forward; a single-user server starts all runs in it",
    )
    experiment: str = Field(
        "kubert", min_length=1, max_length=128, description="experiment that lists the runs"
    )
    pipeline_root: str | None = Field(
        None,
        description="gs://, s3:// or minio:// URI of the runs' artifacts; default: the server's",
    )
    service_account: str = Field(
        "kubert-pipeline",
        pattern=DNS_LABEL,
        description="service account of the steps; it may create JobSets",
    )
    worker_service_account: str = Field(
        "kubert-worker",
        pattern=DNS_LABEL,
        description="service account of the workers; it needs no rights in Kubernetes",
    )
    train_image: str | None = Field(
        None,
        description="image of the workers, and of the steps unless `step_image` is known, by "
        "digest (name@sha256:...); default: KUBERT_TRAIN_IMAGE",
    )
    step_image: str | None = Field(
        None,
        description="image of the steps that use no GPU (tokenize, evaluate, gate, export), by "
        "digest; default: KUBERT_STEP_IMAGE, else `train_image`",
    )
    tools_image: str | None = Field(
        None,
        description="image of the launcher and the puller, by digest; default: KUBERT_TOOLS_IMAGE",
    )
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        "IfNotPresent", description="when nodes pull the images"
    )
    image_pull_secrets: tuple[str, ...] = Field(
        (), description="secrets with the credentials of the image registry"
    )
    backend: Literal["local", "jobset"] = Field(
        "local",
        description="where the training workers run: local: as processes of the training step; "
        "jobset: in one pod each, as one JobSet",
    )
    checkpoint_uri: str | None = Field(
        None,
        description="gs://, s3:// or minio:// URI of the checkpoints of running trainings, "
        "shared by all workers; default: beside the run's artifacts",
    )
    checkpoint_pvc: str | None = Field(
        None,
        pattern=DNS_LABEL,
        description="ReadWriteMany PersistentVolumeClaim for the checkpoints of running "
        "trainings, instead of `checkpoint_uri`",
    )
    storage_endpoint: str | None = Field(
        None,
        pattern=HTTP_URL,
        description="address of an S3 service other than AWS, as seen from the pods; "
        "default for minio://: the object store of Kubeflow Pipelines",
    )
    storage_secret: str | None = Field(
        None,
        pattern=DNS_LABEL,
        description="secret with the S3 keys of steps and workers; that of Kubeflow Pipelines is "
        "mlpipeline-minio-artifact",
    )
    storage_secret_keys: tuple[str, str] = Field(
        ("accesskey", "secretkey"),
        description="names of the access key and the secret key in `storage_secret`",
    )
    cpu: str = Field("2", pattern=CPU_QUANTITY, description="CPU request per worker")
    memory: str = Field(
        "4Gi",
        pattern=QUANTITY,
        description="memory request and limit per worker; a worker that exceeds it is killed",
    )
    ephemeral_storage: str = Field(
        "10Gi", pattern=QUANTITY, description="disk per worker, for shards and checkpoints"
    )
    gpus: int = Field(
        0,
        ge=0,
        le=16,
        description="GPUs per worker; one that sees fewer ends before any training; 0: none on a "
        "cluster, and on one machine those that are there: all for one worker, else equal parts",
    )
    gpu_resource: str = Field(
        "nvidia.com/gpu",
        pattern=EXTENDED_RESOURCE,
        max_length=317,
        description="resource name of the GPUs; that of a MIG partition is like "
        "nvidia.com/mig-1g.5gb, of shared GPUs often nvidia.com/gpu.shared",
    )
    gpu_steps: tuple[Literal["evaluate", "export"], ...] = Field(
        (),
        description="steps besides training that get a GPU: evaluate, export; they use "
        "`train_image` and the workers' `node_selector` and `tolerations`",
    )
    shared_memory: str = Field(
        "1Gi",
        pattern=QUANTITY,
        description="size of /dev/shm per worker, part of its memory; NCCL needs it",
    )
    environment: dict[str, str] = Field(
        {},
        description="environment variables of the steps and workers, such as NCCL_DEBUG or "
        "NCCL_SOCKET_IFNAME; no secrets",
    )
    step_cpu: str = Field("1", pattern=CPU_QUANTITY, description="CPU request of each step's pod")
    step_memory: str = Field(
        "4Gi",
        pattern=QUANTITY,
        description="memory request and limit of each step's pod",
    )
    topology_key: str | None = Field(
        None,
        pattern=LABEL_KEY,
        description="label of nodes of which all workers of a training must have the same value, "
        "such as topology.kubernetes.io/zone; default: workers may be anywhere",
    )
    node_selector: dict[str, str] = Field(
        {}, description="labels of the nodes that workers may run on"
    )
    tolerations: tuple[dict[str, Any], ...] = Field(
        (), description="tolerations of the workers, in Kubernetes' format"
    )
    queue: str | None = Field(
        None,
        pattern=DNS_LABEL,
        description="Kueue LocalQueue, in which the JobSet waits until all its workers fit",
    )
    priority_class: str | None = Field(
        None, pattern=DNS_LABEL, description="PriorityClass of the workers"
    )
    pod_start_timeout: int = Field(
        900,
        ge=1,
        description="seconds until all workers must run (nodes found, images pulled); "
        "waiting in a queue does not count",
    )
    active_deadline: int = Field(
        86_400, ge=60, description="seconds after which a training that still runs is stopped"
    )
    termination_grace_period: int = Field(
        45,
        ge=10,
        le=3600,
        description="seconds in which workers that are stopped save and upload a checkpoint",
    )
    ttl_after_finished: int = Field(
        3600, ge=0, description="seconds for which the pods of a finished training are kept"
    )

    @field_validator("environment")
    @classmethod
    def _check_variable_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} is not the name of an environment variable")
            if name.startswith(_RESERVED_PREFIXES) or name in _RESERVED_VARIABLES:
                raise ValueError(f"{name} is set by kubert itself")
        return value

    @field_validator("tolerations")
    @classmethod
    def _check_toleration_fields(
        cls, value: tuple[dict[str, Any], ...]
    ) -> tuple[dict[str, Any], ...]:
        for name in (name for toleration in value for name in toleration):
            if name not in _TOLERATION_FIELDS:
                raise ValueError(
                    f"{name!r} is not a field of a toleration; "
                    f"those are {', '.join(_TOLERATION_FIELDS)}"
                )
        return value

    @field_validator("gpu_resource")
    @classmethod
    def _check_resource_is_extended(cls, value: str) -> str:
        domain = value.partition("/")[0]
        if "kubernetes.io/" in value:
            raise ValueError(
                "kubernetes.io/ is reserved for Kubernetes' own resources; write that of the "
                "device plugin, such as nvidia.com/gpu"
            )
        if value.startswith(_QUOTA_PREFIX):
            raise ValueError(
                f"the prefix {_QUOTA_PREFIX} names a resource in a quota only; write "
                f"{value.removeprefix(_QUOTA_PREFIX)}"
            )
        if len(domain) > _MAX_RESOURCE_DOMAIN:
            raise ValueError(
                f"the part before / has {len(domain)} characters; Kubernetes takes "
                f"{_MAX_RESOURCE_DOMAIN} at most, write that of the device plugin, such as "
                "nvidia.com/gpu"
            )
        return value

    @field_validator("gpu_steps")
    @classmethod
    def _check_steps_are_named_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"names a step twice; write [{', '.join(dict.fromkeys(value))}]")
        return value

    @field_validator("pipeline_root", "checkpoint_uri")
    @classmethod
    def _check_remote(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(REMOTE_SCHEMES):
            raise ValueError(
                "must start with gs://, s3:// or minio://, so that every pod can reach it"
            )
        return value

    @model_validator(mode="after")
    def _check_one_checkpoint_location(self) -> ClusterConfig:
        if self.checkpoint_uri and self.checkpoint_pvc:
            raise ValueError(
                "checkpoint_uri and checkpoint_pvc exclude each other; set only one of them"
            )
        return self

    @property
    def has_gpu_parts(self) -> bool:
        """Whether `gpu_resource` is a part of a GPU, MIG or shared; a process can use only one."""
        name = self.gpu_resource.partition("/")[2]
        return name.startswith("mig-") or name.endswith(".shared")

    @model_validator(mode="after")
    def _check_one_part_of_a_gpu(self) -> ClusterConfig:
        if self.gpus > 1 and self.has_gpu_parts:
            raise ValueError(
                f"gpus={self.gpus}: a worker can use only one {self.gpu_resource}, a part of a "
                "GPU; set gpus to 1 and raise train.workers"
            )
        return self

    @model_validator(mode="after")
    def _check_gpu_steps_have_the_gpu_image(self) -> ClusterConfig:
        if self.gpu_steps and not self.gpus:
            raise ValueError(
                f"gpu_steps={list(self.gpu_steps)} needs workers with GPUs, because their image is "
                "the one with CUDA; set gpus, or leave gpu_steps out"
            )
        return self


class ScheduleConfig(Section):
    """When the pipeline runs periodically."""

    cron: str | None = Field(
        None,
        description="minute, hour, day of month, month, day of week, such as `30 2 * * 1`; "
        "default: no schedule",
    )
    time_zone: str = Field(
        "UTC", min_length=1, description="time zone of `cron`, such as Europe/Berlin"
    )
    server_time_zone: str = Field(
        "UTC",
        min_length=1,
        description="time zone in which the server evaluates all schedules (its "
        "CRON_SCHEDULE_TIMEZONE); the API does not report it",
    )
    name: str | None = Field(
        None,
        pattern=_SCHEDULE_NAME,
        description="name of the schedule; default: the model's name",
    )
    max_concurrent_runs: int = Field(
        1,
        ge=1,
        le=10,
        description="runs of the schedule that may run at the same time; "
        "further runs wait for one to end",
    )
    catch_up: bool = Field(
        False,
        description="scheduled times missed during a pause or a long run: "
        "true: run each of them afterwards; false: run only the latest",
    )
    enabled: bool = Field(True, description="false: the schedule exists, but is paused")
