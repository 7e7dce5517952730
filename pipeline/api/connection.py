"""Connects to Kubeflow Pipelines and to the cluster behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from components.errors import KubertError

if TYPE_CHECKING:
    from components.config.cluster import ClusterConfig
    from pipeline.kubeflow.client import KubeflowClient
    from pipeline.kubeflow.run_logs import RunPods
    from pipeline.kubeflow.submission import Submission


class WorkersNotStoppedError(KubertError):
    """A run was stopped, but its training workers could not be deleted from here."""


@contextmanager
def connect_to_cluster(cluster: ClusterConfig) -> Iterator[KubeflowClient]:
    """The API of a resolved section: reachable, new enough, and allowing this user to list runs."""
    from pipeline.kubeflow import submit
    from pipeline.kubeflow.client import KubeflowClient
    from pipeline.kubeflow.endpoint import open_endpoint

    with open_endpoint(cluster) as endpoint:
        api = KubeflowClient(endpoint)
        submit.check_server(api)
        yield api


def check_run_requirements(api: KubeflowClient, submission: Submission) -> None:
    """Raise ConfigError if the cluster of the current context lacks what the run needs.

    Does nothing where there is no such cluster, or it is not the server's.
    """
    from pipeline.doctor.requirements import refuse_without_requirements
    from pipeline.kubeflow.submit import set_run_namespace

    worker_counts = submission.kind.count_workers(submission.config)
    cluster = set_run_namespace(submission.config.cluster, api.health)
    refuse_without_requirements(worker_counts, cluster)


def find_run_pods(api: KubeflowClient, cluster: ClusterConfig, run_id: str) -> RunPods | None:
    """The run's pods, or None if Kubernetes cannot be reached."""
    from pipeline.kubeflow.run_logs import RunPods

    try:
        return RunPods.connect(run_id, find_namespace(api, cluster))
    except KubertError:
        return None


def find_namespace(api: KubeflowClient, cluster: ClusterConfig) -> str:
    """The namespace of the server's runs."""
    return api.namespace or cluster.kubeflow_namespace


def find_run_id(api: KubeflowClient, run: str) -> str:
    """The id itself if there is such a run, else that of the newest run with this name."""
    from pipeline.kubeflow.errors import NotFoundError

    try:
        return api.get_run(run).id
    except NotFoundError:
        experiment = api.endpoint.experiment
        experiment_id = api.find_experiment(experiment)
        named = api.list_runs(experiment_id, limit=1, display_name=run) if experiment_id else []
        if not named:
            raise NotFoundError(
                f"no run has the id or the name {run} in experiment {experiment}; "
                "list them: kubert runs list"
            ) from None
        return named[0].id


def stop_run(api: KubeflowClient, cluster: ClusterConfig, run_id: str) -> list[str]:
    """Stop a run and its training workers; the names of the JobSets that were deleted.

    Its launcher may not have the time to delete them. Raises WorkersNotStoppedError where that is
    not possible from here.
    """
    from components.workers.kubernetes.run_jobsets import delete_run_jobsets

    api.terminate_run(run_id)
    try:
        return list(delete_run_jobsets(run_id, find_namespace(api, cluster)))
    except KubertError as error:
        raise WorkersNotStoppedError(
            f"training workers of the run, if any, end by themselves within a minute; {error}"
        ) from None
