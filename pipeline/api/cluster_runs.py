"""Runs the pipeline on a cluster with Kubeflow Pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from components.config.cluster import ClusterConfig
from pipeline.api.connection import (
    connect_to_cluster,
    find_namespace,
    find_run_id,
    find_run_pods,
    stop_run,
)
from pipeline.api.display import ShowEvent, create_view, format_table
from pipeline.api.settings import ConfigSource, Options, load_settings
from pipeline.api.submission import open_submission
from pipeline.cross_validation.options import refuse_parallel_without_folds

if TYPE_CHECKING:
    from pipeline.kubeflow.follow_run import RunResult
    from pipeline.kubeflow.run_logs import PodLog


@dataclass(frozen=True)
class Run:
    """A run on a Kubeflow Pipelines server.

    url: its page, if `cluster.ui` is set. created: False if a run with this key existed already.
    """

    id: str
    name: str
    url: str | None
    created: bool
    cluster: ClusterConfig

    def wait(self, show: ShowEvent | None = None) -> RunResult:
        """Wait until the run has ended, and show its steps meanwhile.

        The result has `verdict` (a sentence), `exit_code` (as that of `kubert submit --wait`),
        `run_state` and `notes`. A run that fails is no error of this call. An interrupt ends the
        waiting, not the run.
        """
        from pipeline.kubeflow.follow_run import follow_run

        with connect_to_cluster(self.cluster) as api, create_view(show) as view:
            return follow_run(api, self.id, find_run_pods(api, self.cluster, self.id), view)

    def status(self) -> RunResult:
        """The run as it is now."""
        from pipeline.kubeflow.follow_run import read_run

        with connect_to_cluster(self.cluster) as api:
            return read_run(api, self.id, find_run_pods(api, self.cluster, self.id))

    def logs(self, step: str | None = None) -> list[PodLog]:
        """The logs of the run's pods, or of one step's, as long as Kubernetes keeps them.

        Each has `pod` and `lines`. KubertError where Kubernetes cannot be reached.
        """
        from pipeline.kubeflow.run_logs import RunPods

        with connect_to_cluster(self.cluster) as api:
            namespace = find_namespace(api, self.cluster)
        return list(RunPods.connect(self.id, namespace).read_logs(step))

    def stop(self) -> None:
        """Stop the run and its training workers, which save a checkpoint first.

        KubertError where Kubernetes cannot be reached: the run is stopped all the same, and its
        workers end by themselves within a minute. Nothing happens to a run that has ended.
        """
        with connect_to_cluster(self.cluster) as api:
            if not api.get_run(self.id).has_ended:
                stop_run(api, self.cluster, self.id)

    def __repr__(self) -> str:
        return f"<Run {self.name} {self.id}>"

    def _repr_html_(self) -> str:
        return format_table({"run": self.id, "name": self.name, "page": self.url or ""})


def submit(
    config: ConfigSource = "quickstart",
    options: Options | None = None,
    *,
    folds: int | None = None,
    parallel: int | None = None,
    key: str | None = None,
    use_cache: bool = True,
    allow_tags: bool = False,
    check: bool = True,
) -> Run:
    """Run the whole pipeline on a cluster, as `kubert submit` does; ends when the run is created.

    Args:
        config: a shipped configuration's name, a YAML file, or a `Config`. Its section `cluster`
            says where the server is; the KUBERT_ variables take precedence.
        options: options that are changed, such as {"cluster.endpoint": "http://..."}.
        folds: cross-validate instead, with so many models; nothing is released.
        parallel: how many folds are computed at a time; by default, all of them.
        key: name of the run; submitting again with the same key creates no second run.
        use_cache: reuse steps of earlier runs from the server's cache.
        allow_tags: accept images without a digest, whose content can change.
        check: check accounts, secrets, JobSet, queue and quota first, where there is a cluster.

    Raises ConfigError, DataError or UsageError for what the user can mend, before anything is sent.
    """
    from pipeline.kubeflow.endpoint import resolve_connection
    from pipeline.kubeflow.submission import prepare_cross_validation, prepare_submission
    from pipeline.kubeflow.submit import submit_run

    settings = load_settings(config, options)
    refuse_parallel_without_folds(folds, parallel)
    prepare = (
        prepare_submission
        if folds is None
        else partial(prepare_cross_validation, folds=folds, parallel=parallel)
    )
    cluster = resolve_connection(settings.cluster)
    with open_submission(settings, cluster, prepare, key, allow_tags=allow_tags, check=check) as (
        api,
        submission,
    ):
        submitted = submit_run(api, submission, key, no_cache=not use_cache)
        page = api.endpoint.page_url("runs", submitted.run.id)
    return Run(submitted.run.id, submitted.run.name, page, submitted.created, cluster)


def find_run(run: str, config: ConfigSource = "quickstart", options: Options | None = None) -> Run:
    """A run by its id, or the newest one of a name; NotFoundError if there is none.

    The section `cluster` of the configuration says where the server is.
    """
    from pipeline.kubeflow.endpoint import resolve_connection

    cluster = resolve_connection(load_settings(config, options).cluster)
    with connect_to_cluster(cluster) as api:
        found = api.get_run(find_run_id(api, run))
        page = api.endpoint.page_url("runs", found.id)
    return Run(found.id, found.name, page, False, cluster)
