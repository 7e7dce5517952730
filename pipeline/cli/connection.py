"""Connects a command to Kubeflow Pipelines, reports the run that it submitted and follows the run.

Precedence of where the server is: options, then KUBERT_ variables, then the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from components.errors import ExitCode
from pipeline.api.connection import connect_to_cluster, find_run_pods
from pipeline.cli.options import ServerOptions
from pipeline.cli.tables import print_json, print_line

if TYPE_CHECKING:
    from rich.console import Console

    from components.config.cluster import ClusterConfig
    from pipeline.kubeflow.client import KubeflowClient
    from pipeline.kubeflow.deduplication import SubmittedRun
    from pipeline.kubeflow.follow_run import RunResult


def resolve_cluster(server: ServerOptions, cluster: ClusterConfig) -> ClusterConfig:
    """The section `cluster` with the options and the KUBERT_ variables applied to it."""
    from pipeline.kubeflow.endpoint import resolve_connection

    return resolve_connection(
        cluster,
        endpoint=server.endpoint,
        namespace=server.namespace,
        experiment=server.experiment,
    )


@contextmanager
def connect_to_server(server: ServerOptions) -> Iterator[tuple[KubeflowClient, ClusterConfig]]:
    """The API and the resolved section, for commands that read nothing else of a configuration."""
    from pipeline import presets

    cluster = resolve_cluster(server, presets.load_preset(server.config).cluster)
    with connect_to_cluster(cluster) as api:
        yield api, cluster


def report_submitted_run(
    api: KubeflowClient,
    cluster: ClusterConfig,
    submitted: SubmittedRun,
    console: Console,
    *,
    wait: bool,
    as_json: bool,
    submit_without_cache: Callable[[], SubmittedRun] | None = None,
) -> None:
    """Print the submitted run; with `wait`, follow it to its end and exit with its code.

    If the run meets a cached step whose artifact has been deleted, the run of
    `submit_without_cache` is followed in its place.
    """
    run, page = submitted.run, api.endpoint.page_url("runs", submitted.run.id)
    state = "created" if submitted.created else "already exists with this key"
    hint = page or f"show it: kubert runs show {run.id}"
    print_line(console, f"run {run.id} ({run.name}) {state}\n{hint}")
    result: dict[str, Any] = {
        "run": run.id,
        "name": run.name,
        "created": submitted.created,
        "url": page,
    }
    if not wait:
        if as_json:
            print_json(result)
        return
    ended = wait_for_run(api, cluster, run.id, console)
    if ended.lacks_cached_artifact and submit_without_cache is not None:
        print_line(console, "the artifact of a reused step is gone: all steps run again")
        again = submit_without_cache()
        report_submitted_run(api, cluster, again, console, wait=wait, as_json=as_json)
        return
    if as_json:
        print_json(
            {
                **result,
                "state": ended.run.state,
                "verdict": ended.verdict,
                "failed_rules": ended.failed_rules,
                "notes": ended.notes,
            }
        )
    raise typer.Exit(ended.exit_code)


def wait_for_run(
    api: KubeflowClient, cluster: ClusterConfig, run_id: str, console: Console
) -> RunResult:
    """Show the run's steps until it has ended; Ctrl-C stops following, not the run."""
    from pipeline.kubeflow.follow_run import follow_run
    from pipeline.progress_bar import ProgressView

    try:
        with ProgressView(console) as view:
            ended = follow_run(api, run_id, find_run_pods(api, cluster, run_id), view.show)
    except KeyboardInterrupt:
        print_line(
            console,
            f"The run continues. Show it: kubert runs show {run_id}\n"
            f"Stop it: kubert runs stop {run_id}",
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    for note in ended.notes:
        print_line(console, note)
    print_line(console, ended.verdict, style="bold")
    return ended
