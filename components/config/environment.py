"""Every environment variable that kubert reads or sets: its name, meaning, default and readers.

This module imports nothing of kubert, so that all layers can use the names. Code uses the `ENV_*`
constants and never writes a name itself; the table at the end is what the reference page is
generated from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

ENV_AUTH: Final = "KUBERT_AUTH"
ENV_CA: Final = "KUBERT_CA"
ENV_COOKIE: Final = "KUBERT_COOKIE"
ENV_DEBUG: Final = "KUBERT_DEBUG"
ENV_ENDPOINT: Final = "KUBERT_ENDPOINT"
ENV_EXPERIMENT: Final = "KUBERT_EXPERIMENT"
ENV_FAILURE_FILE: Final = "KUBERT_FAILURE"
ENV_GPUS: Final = "KUBERT_GPUS"
ENV_GPUS_OPTIONAL: Final = "KUBERT_GPUS_OPTIONAL"
ENV_IMAGE: Final = "KUBERT_IMAGE"
ENV_LAUNCHER_PID: Final = "KUBERT_LAUNCHER"
ENV_LOG_LEVEL: Final = "KUBERT_LOG_LEVEL"
ENV_NAMESPACE: Final = "KUBERT_NAMESPACE"
ENV_OWNER: Final = "KUBERT_OWNER"
ENV_POD_NAME: Final = "KUBERT_POD_NAME"
ENV_POD_UID: Final = "KUBERT_POD_UID"
ENV_PROGRESS: Final = "KUBERT_PROGRESS"
ENV_RUN: Final = "KUBERT_RUN"
ENV_SAVING_FD: Final = "KUBERT_SAVING_FD"
ENV_STEP_IMAGE: Final = "KUBERT_STEP_IMAGE"
ENV_STOP_GRACE: Final = "KUBERT_STOP_GRACE"
ENV_THREADS: Final = "KUBERT_THREADS"
ENV_TOKEN: Final = "KUBERT_TOKEN"  # noqa: S105 - the name of a variable
ENV_TOKEN_FILE: Final = "KUBERT_TOKEN_FILE"  # noqa: S105 - the name of a variable
ENV_TOOLS_IMAGE: Final = "KUBERT_TOOLS_IMAGE"
ENV_TRAIN_IMAGE: Final = "KUBERT_TRAIN_IMAGE"
ENV_WORK_DIR: Final = "KUBERT_WORK"
ENV_WORKERS: Final = "KUBERT_WORKERS"


@dataclass(frozen=True)
class EnvironmentVariable:
    """One variable; `set_by`: the user, or kubert itself for its own processes and pods."""

    name: str
    description: str
    default: str
    read_by: str
    set_by: Literal["user", "kubert"]


ENVIRONMENT_VARIABLES: Final = (
    EnvironmentVariable(
        ENV_ENDPOINT,
        "Address of the Kubeflow Pipelines API. Precedence: --endpoint, this, cluster.endpoint.",
        "cluster.endpoint",
        "kubert submit, runs, schedule, doctor",
        "user",
    ),
    EnvironmentVariable(
        ENV_AUTH,
        "How to authenticate at the API: auto, none, in-cluster, token, cookie or port-forward.",
        "cluster.auth",
        "kubert submit, runs, schedule, doctor",
        "user",
    ),
    EnvironmentVariable(
        ENV_TOKEN,
        "Bearer token for the API. Read anew for every request.",
        "unset",
        "kubert submit, runs, schedule, doctor",
        "user",
    ),
    EnvironmentVariable(
        ENV_TOKEN_FILE,
        "File with the bearer token, for tokens that are renewed. "
        f"Takes precedence over {ENV_TOKEN}.",
        "unset",
        "kubert submit, runs, schedule, doctor",
        "user",
    ),
    EnvironmentVariable(
        ENV_COOKIE,
        "Session cookie for the API, as name=value.",
        "unset",
        "kubert submit, runs, schedule, doctor",
        "user",
    ),
    EnvironmentVariable(
        ENV_CA,
        "PEM file with the certificate authority of the API server.",
        "SSL_CERT_FILE, else the system's authorities",
        "kubert submit, runs, schedule, doctor",
        "user",
    ),
    EnvironmentVariable(
        ENV_NAMESPACE,
        "Namespace of the runs. In a launcher's pod kubert sets it to the pod's own namespace.",
        "cluster.namespace",
        "kubert submit, runs, schedule, doctor; the training step with cluster.backend=jobset",
        "user",
    ),
    EnvironmentVariable(
        ENV_EXPERIMENT,
        "Kubeflow Pipelines experiment of the runs.",
        "cluster.experiment",
        "kubert submit, runs, schedule, doctor",
        "user",
    ),
    EnvironmentVariable(
        ENV_TRAIN_IMAGE,
        "Image of the workers, used when cluster.train_image is unset. `make images` prints it.",
        "kubert-train-python:<version>",
        "kubert submit, schedule, compile, doctor",
        "user",
    ),
    EnvironmentVariable(
        ENV_STEP_IMAGE,
        "Image of the steps that use no GPU, used when cluster.step_image is unset. "
        "`make images` prints it.",
        "the workers' image",
        "kubert submit, schedule, compile, doctor",
        "user",
    ),
    EnvironmentVariable(
        ENV_TOOLS_IMAGE,
        "Image of the launcher and the puller, used when cluster.tools_image is unset. "
        "`make images` prints it.",
        "kubert-tools-python:<version>",
        "kubert submit, schedule, compile, doctor",
        "user",
    ),
    EnvironmentVariable(
        ENV_LOG_LEVEL,
        "Lowest level of log messages: DEBUG, INFO, WARNING, ERROR or CRITICAL.",
        "INFO",
        "all long-running commands, steps and workers",
        "user",
    ),
    EnvironmentVariable(
        ENV_DEBUG,
        "Any value: `kubert` prints the traceback of an unexpected error, as with --debug.",
        "unset",
        "kubert",
        "user",
    ),
    EnvironmentVariable(
        ENV_PROGRESS,
        "File that progress events are appended to as JSON lines.",
        "unset: standard output",
        "all steps and workers",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_RUN,
        "Identifier of the pipeline run, recorded in the release and in the JobSet's labels.",
        "empty",
        "the export and training steps",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_IMAGE,
        "Reference of the container image, recorded in every artifact's manifest.",
        "empty",
        "all steps and workers",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_POD_NAME,
        "Name of the launcher's pod, which owns the JobSet.",
        "empty",
        "the training step with cluster.backend=jobset",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_POD_UID,
        "UID of the launcher's pod, which owns the JobSet.",
        "empty",
        "the training step with cluster.backend=jobset",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_WORKERS,
        "Number of workers in the JobSet.",
        "required in a JobSet",
        "training workers",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_GPUS,
        "GPUs that a worker needs, or a step of cluster.gpu_steps. One that sees fewer ends at "
        "once with exit code 72.",
        "0: the worker uses what it sees",
        "training workers, steps",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_GPUS_OPTIONAL,
        f"Any value: a worker that sees fewer GPUs than {ENV_GPUS} warns instead.",
        "unset",
        "training workers",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_THREADS,
        "CPU threads of one worker.",
        "the CPUs that the process may use",
        "training workers",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_WORK_DIR,
        "Directory in which a worker creates its temporary directory.",
        "the system's temporary directory",
        "training workers",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_OWNER,
        "Name of the worker group, equal in all its attempts. A newer chief of the same group "
        "may take over the lease.",
        "empty",
        "training workers",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_STOP_GRACE,
        "Seconds between SIGTERM and SIGKILL, in which a worker saves a checkpoint.",
        "25",
        "training workers",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_FAILURE_FILE,
        "File that a worker writes its last error message to.",
        "unset: the message is only logged",
        "training workers",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_LAUNCHER_PID,
        "Process ID of the launcher on this machine, or of the supervisor in a pod; a worker ends "
        "when that process ends.",
        "unset",
        "training workers",
        "kubert",
    ),
    EnvironmentVariable(
        ENV_SAVING_FD,
        "File descriptor that a worker in a pod writes to when it has something to save.",
        "unset",
        "workers in pods",
        "kubert",
    ),
)
