"""`kubert runs`: the runs on a cluster, how far they are, what they said, and how to stop one."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.connection import AnyConfig, Endpoint, Experiment, Json, Namespace

if TYPE_CHECKING:
    import datetime

    from pipeline.kubeflow.records import Run

app = typer.Typer(
    help="List, show and stop runs on a cluster, and read their logs.", no_args_is_help=True
)
WIDTH = 200
"""Columns of a table that does not go to a terminal."""
RunId = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, or its name (the newest of that name).")
]


@app.command("list")
def list_(
    config: AnyConfig = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    experiment: Experiment = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Runs to show, newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List the runs of the experiment, newest first."""
    from pipeline.cli.connection import at

    with at(config, endpoint, namespace, experiment) as (api, _):
        found = api.find_experiment(api.endpoint.experiment)
        runs = api.list_runs(found, limit=limit) if found else []
        rows = [row(run) for run in runs]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    show_table(rows, f"no runs in experiment {api.endpoint.experiment}")


@app.command()
def show(
    run: RunId,
    config: AnyConfig = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    experiment: Experiment = None,
    as_json: Json = False,
) -> None:
    """Show a run: its steps, what it came to, its parameters."""
    from rich.console import Console
    from rich.text import Text

    from pipeline.cli.connection import at, pods_of
    from pipeline.kubeflow.follow_run import read_run

    with at(config, endpoint, namespace, experiment) as (api, place):
        identifier = _found(api, run)
        known = read_run(api, identifier, pods_of(api, place, identifier))
        url = api.endpoint.page_url("runs", identifier)
    steps = [
        {"step": step.name, "status": step.status, "seconds": step.seconds}
        for step in known.run_state.steps.values()
    ]
    verdict = known.verdict if known.run.has_ended else None
    changed = {
        name: value for name, value in known.run.parameters.items() if value not in ("", "{}")
    }
    told = {
        **row(known.run),
        "schedule": known.run.schedule_id or None,
        "url": url,
        "steps": steps,
        "notes": list(known.notes),
    }
    if as_json:
        typer.echo(
            json.dumps({**told, "verdict": verdict, "parameters": dict(known.run.parameters)})
        )
        return
    console = Console(highlight=False)
    for name, value in {**row(known.run), "schedule": known.run.schedule_id, "url": url}.items():
        if value:
            console.print(Text(f"{name:<10} {value}"), soft_wrap=True)
    show_table(steps, "")
    for line in (*known.notes, verdict):
        if line:
            console.print(Text(line), soft_wrap=True)
    show_table([{"parameter": name, "value": str(value)} for name, value in changed.items()], "")


@app.command()
def logs(
    run: RunId,
    config: AnyConfig = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    experiment: Experiment = None,
    step: Annotated[
        str | None,
        typer.Option(help="Only the pods of one step: tokenize, train, evaluate, gate or export."),
    ] = None,
    tail: Annotated[
        int | None, typer.Option(min=1, help="Only the last lines of each pod.")
    ] = None,
) -> None:
    """Print the logs of a run's pods, as long as Kubernetes keeps them; needs KUBECONFIG or a pod's own account."""
    from pipeline.cli.connection import at
    from pipeline.kubeflow.run_logs import RunPods

    with at(config, endpoint, namespace, experiment) as (api, place):
        identifier = _found(api, run)
        pods = RunPods.connect(identifier, api.namespace or place.kubeflow_namespace)
    some = False
    for log in pods.read_logs(step):
        some = True
        typer.echo(f"==> {log.pod} <==")
        for line in log.lines[-tail:] if tail else log.lines:
            typer.echo(line)
    if not some:
        typer.echo(
            f"no logs: the run's pods in namespace {pods.namespace} have not started, or are gone",
            err=True,
        )


@app.command()
def stop(
    run: RunId,
    config: AnyConfig = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    experiment: Experiment = None,
) -> None:
    """Stop a run; its workers save a checkpoint first, so the same training goes on from there when it is submitted again."""
    from pipeline.cli.connection import at

    with at(config, endpoint, namespace, experiment) as (api, _):
        identifier = _found(api, run)
        before = api.get_run(identifier)
        if before.has_ended:
            typer.echo(f"run {identifier} has ended already: {before.state.lower()}")
            return
        api.terminate_run(identifier)
    typer.echo(f"run {identifier} is stopping")


def _found(api: Any, run: str) -> str:
    """The id: given itself, or that of the newest run of this name."""
    from pipeline.kubeflow.errors import NotFoundError

    try:
        return str(api.get_run(run).id)
    except NotFoundError:
        experiment = api.find_experiment(api.endpoint.experiment)
        named = api.list_runs(experiment, limit=1, display_name=run) if experiment else []
        if not named:
            raise NotFoundError(
                f"no run has the id or the name {run} in experiment {api.endpoint.experiment}; see `kubert runs list`"
            ) from None
        return str(named[0].id)


def row(run: Run) -> dict[str, Any]:
    """What a table shows of a run."""
    end = run.finished_at - run.created_at if run.finished_at else None
    return {
        "run": run.id,
        "name": run.name,
        "state": "stopped" if run.stop_requested and run.has_ended else run.state.lower(),
        "created": _utc(run.created_at),
        "slot": _utc(run.scheduled_time) if run.schedule_id and run.scheduled_time else "",
        "minutes": round(end.total_seconds() / 60, 1) if end else "",
    }


def _utc(when: datetime.datetime) -> str:
    import datetime

    return when.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def show_table(rows: list[dict[str, Any]], otherwise: str) -> None:
    """A table with the rows' names as its head, or a sentence where there are no rows."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    if not rows:
        if otherwise:
            console.print(Text(otherwise))
        return
    table = Table(box=SIMPLE_HEAD)
    for name in rows[0]:
        table.add_column(name, overflow="fold", no_wrap=name in ("run", "step"))
    for values in rows:
        table.add_row(*[Text("" if value is None else str(value)) for value in values.values()])
    console.print(table)
