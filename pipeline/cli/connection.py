"""How every command that talks to Kubeflow Pipelines finds it: the same flags, then KUBERT_ variables, then the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from components.config.cluster import ClusterConfig
    from components.config.schema import Config
    from pipeline.kubeflow.client import KubeflowClient
    from pipeline.kubeflow.follow_run import RunResult, ShowEvent

ConfigName = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        show_default=False,
        help="A YAML file, or a shipped configuration's name; without it, quickstart.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SECTION.OPTION=VALUE", help="Change one option; may be repeated."
    ),
]
AnyConfig = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="CONFIG", help="A configuration whose `cluster` section says where."
    ),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        help="Address of the Kubeflow Pipelines API; or KUBERT_ENDPOINT, or cluster.endpoint."
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(help="Namespace of the runs; or KUBERT_NAMESPACE, or cluster.namespace."),
]
Experiment = Annotated[
    str | None,
    typer.Option(help="Experiment of the runs; or KUBERT_EXPERIMENT, or cluster.experiment."),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="One JSON value as the last line of standard output; progress goes to standard error.",
    ),
]


def loaded(config: str | None, assignments: list[str] | None = None) -> Config:
    """The configuration of a file or a shipped one; without a name, the defaults."""
    from components.config.loading import load_config
    from pipeline import presets

    return load_config(presets.find_preset(config) if config else None, assignments or ())


@contextmanager
def connected(cluster: ClusterConfig) -> Iterator[KubeflowClient]:
    """The API of a settled section, checked: reachable, new enough, and willing to list runs for us."""
    from pipeline.kubeflow import submit as submitting
    from pipeline.kubeflow.client import KubeflowClient
    from pipeline.kubeflow.endpoint import open_endpoint

    with open_endpoint(cluster) as endpoint:
        api = KubeflowClient(endpoint)
        submitting.check_server(api)
        yield api


@contextmanager
def at(
    config: str | None, endpoint: str | None, namespace: str | None, experiment: str | None
) -> Iterator[tuple[KubeflowClient, ClusterConfig]]:
    """The API and the settled section, for a command whose configuration matters only for where the server is."""
    from pipeline.kubeflow.endpoint import resolve_connection

    place = resolve_connection(
        loaded(config).cluster, endpoint=endpoint, namespace=namespace, experiment=experiment
    )
    with connected(place) as api:
        yield api, place


def pods_of(api: KubeflowClient, place: ClusterConfig, run: str) -> Any:
    """The run's pods, or None where Kubernetes itself is out of reach."""
    from components.errors import KubertError
    from pipeline.kubeflow.run_logs import RunPods

    try:
        return RunPods.connect(run, api.namespace or place.kubeflow_namespace)
    except KubertError:
        return None


def wait(api: KubeflowClient, place: ClusterConfig, run: str, console: Console) -> RunResult:
    """Show the run's steps until it has ended; Ctrl-C leaves it going and says how to follow or stop it."""
    from rich.text import Text

    from pipeline.cli.progress_bar import ProgressView
    from pipeline.kubeflow.follow_run import follow_run

    try:
        with ProgressView(console) as view:
            show: ShowEvent = view.show
            ended = follow_run(api, run, pods_of(api, place, run), show)
    except KeyboardInterrupt:
        console.print(
            Text(
                f"The run goes on. Look at it: kubert runs show {run}\nStop it:    kubert runs stop {run}"
            ),
            soft_wrap=True,
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    for line in (*ended.notes, ended.verdict):
        console.print(Text(line, style="bold" if line == ended.verdict else ""), soft_wrap=True)
    return ended
