"""Settings of the steps' pods on a cluster: image, account, resources, volumes, secrets."""

from __future__ import annotations

from typing import Any

from kfp import kubernetes

from components.config.cluster import GPU_ENVIRONMENT, STATE_MOUNT, ClusterConfig
from components.config.environment import (
    ENV_GPUS,
    ENV_IMAGE,
    ENV_NAMESPACE,
    ENV_POD_NAME,
    ENV_POD_UID,
    ENV_RUN,
)
from pipeline.cross_validation.task_names import parse_task_name

USER_ID = 10001
SUPERVISOR = ("python", "-m", "components.step_supervisor")
MAX_RETRIES = 2
RETRY_BACKOFF = "5s"
"""A launcher has to be back before its workers take it for lost."""
MAX_RETRY_DURATION = f"{30 * 86_400}s"
"""Since the start of the first pod. Argo retries none after it, and ends the retried pod then: with
Kubeflow's default of an hour no longer training could be retried."""
_RUN = (ENV_RUN, "metadata.labels['pipeline/runid']")
_LAUNCHER = (
    (ENV_POD_NAME, "metadata.name"),
    (ENV_POD_UID, "metadata.uid"),
    (ENV_NAMESPACE, "metadata.namespace"),
)
_LAUNCHER_CPU, _LAUNCHER_MEMORY = "250m", "512Mi"


def configure_light_step(task: Any, cluster: ClusterConfig) -> None:
    """Configure a step that computes nothing: the image of the steps, and few resources."""
    _configure_common(task, cluster, str(cluster.step_image))
    _set_resources(task, _LAUNCHER_CPU, _LAUNCHER_MEMORY)


def configure_step(
    task: Any, cluster: ClusterConfig, *, gpus: int = 0, launches_workers: bool = False
) -> None:
    """Configure a step other than training; with `gpus`, for the workers' nodes and image.

    One that launches workers shares their state, and owns their JobSets.
    """
    _configure_common(task, cluster, str(cluster.train_image if gpus else cluster.step_image))
    _set_resources(task, cluster.step_cpu, cluster.step_memory)
    if gpus:
        task.set_env_variable(ENV_GPUS, str(gpus))
        _schedule_on_worker_nodes(task, cluster, gpus)
    if launches_workers:
        _mount_state(task, cluster)
        _name_launcher_pod(task, cluster)


def configure_scoring(task: Any, cluster: ClusterConfig) -> None:
    """Configure the step that scores: it reads the source and writes the output itself.

    Its workers have their own pods, or are processes of its pod.
    """
    if cluster.backend == "jobset":
        configure_step(task, cluster, launches_workers=True)
        return
    _configure_common(task, cluster, str(cluster.train_image))
    _configure_worker_pod(task, cluster, cluster.gpus)


def configure_training(task: Any, cluster: ClusterConfig, workers: int) -> None:
    """Configure the training step: a small launcher if workers have their own pods, else a worker.

    Workers that run as processes of the step share its pod, which has the GPUs of all of them.
    A launcher whose pod was lost goes on with its workers, or restarts them from their checkpoints.
    """
    is_launcher = cluster.backend == "jobset"
    _configure_common(
        task, cluster, str(cluster.tools_image if is_launcher else cluster.train_image)
    )
    _mount_state(task, cluster)
    if is_launcher:
        _set_resources(task, _LAUNCHER_CPU, _LAUNCHER_MEMORY)
        _name_launcher_pod(task, cluster)
        return
    _configure_worker_pod(task, cluster, cluster.gpus * workers)


def _mount_state(task: Any, cluster: ClusterConfig) -> None:
    if cluster.checkpoint_pvc:
        kubernetes.mount_pvc(task, pvc_name=cluster.checkpoint_pvc, mount_path=STATE_MOUNT)


def _name_launcher_pod(task: Any, cluster: ClusterConfig) -> None:
    """Tell a launcher which pod it runs in: Kubernetes deletes its JobSets with that pod."""
    for name, path in _LAUNCHER if cluster.backend == "jobset" else ():
        kubernetes.use_field_path_as_env(task, name, path)


def _configure_worker_pod(task: Any, cluster: ClusterConfig, gpus: int) -> None:
    """Give a step whose workers are its processes what a worker's pod has, and `gpus` GPUs."""
    _set_resources(task, cluster.cpu, cluster.memory)
    kubernetes.set_timeout(task, cluster.active_deadline)
    kubernetes.empty_dir_mount(
        task,
        "shared-memory",
        "/dev/shm",  # noqa: S108 - the mount point of the pod's shared memory
        medium="Memory",
        size_limit=cluster.shared_memory,
    )
    _schedule_on_worker_nodes(task, cluster, gpus)
    for name in GPU_ENVIRONMENT.keys() - cluster.environment.keys() if cluster.gpus else ():
        task.set_env_variable(name, GPU_ENVIRONMENT[name])


def _schedule_on_worker_nodes(task: Any, cluster: ClusterConfig, gpus: int) -> None:
    if gpus:
        task.set_accelerator_type(cluster.gpu_resource).set_accelerator_limit(gpus)
    for label, value in cluster.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in cluster.tolerations:
        kubernetes.add_toleration(
            task,
            toleration.get("key"),
            toleration.get("operator"),
            toleration.get("value"),
            toleration.get("effect"),
            toleration.get("tolerationSeconds"),
        )


def _configure_retries(task: Any) -> None:
    """Retry a pod that was lost, and in the pod a command that died.

    Which pods are retried is a setting of Kubeflow's controller; a compiled pipeline cannot name
    the policy.
    """
    task.set_retry(
        num_retries=MAX_RETRIES,
        backoff_duration=RETRY_BACKOFF,
        backoff_max_duration=MAX_RETRY_DURATION,
    )
    container = task.container_spec
    container.command = [*SUPERVISOR, parse_task_name(task.name).step, *container.command]


def _configure_common(task: Any, cluster: ClusterConfig, image: str) -> None:
    _configure_retries(task)
    task.set_container_image(image)
    task.set_env_variable(ENV_IMAGE, image)
    task.set_env_variable("HOME", "/tmp")  # noqa: S108 - always writable
    for name, value in cluster.environment.items():
        task.set_env_variable(name, value)
    kubernetes.use_field_path_as_env(task, *_RUN)
    kubernetes.set_image_pull_policy(task, cluster.image_pull_policy)
    if cluster.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(cluster.image_pull_secrets))
    kubernetes.set_security_context(
        task, run_as_user=USER_ID, run_as_group=USER_ID, run_as_non_root=True
    )
    if cluster.storage_endpoint:
        task.set_env_variable("AWS_ENDPOINT_URL", cluster.storage_endpoint)
    if cluster.storage_secret:
        names = dict(
            zip(
                cluster.storage_secret_keys,
                ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
                strict=True,
            )
        )
        kubernetes.use_secret_as_env(task, cluster.storage_secret, names)


def _set_resources(task: Any, cpu: str, memory: str) -> None:
    task.set_cpu_request(cpu).set_memory_request(memory).set_memory_limit(memory)
