"""`kubert runs`: lists, shows and stops runs on a cluster, and prints their logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import JsonOutput, ServerOptions, with_server_options

if TYPE_CHECKING:
    import datetime

    from pipeline.kubeflow.client import KubeflowClient
    from pipeline.kubeflow.records import Run

app = typer.Typer(
    help="List, show and stop runs on a cluster, and print their logs.", no_args_is_help=True
)
RunId = Annotated[
    str,
    typer.Argument(metavar="RUN", help="The run's id, or its name (the newest of that name)."),
]


@app.command("list")
@with_server_options()
def list_runs(
    server: ServerOptions,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Runs to show, newest first.")] = 20,
    as_json: JsonOutput = False,
) -> None:
    """List the runs of the experiment, newest first."""
    from pipeline.cli.connection import connect_to_server
    from pipeline.cli.tables import print_json, print_table

    with connect_to_server(server) as (api, _):
        experiment_id = api.find_experiment(api.endpoint.experiment)
        runs = api.list_runs(experiment_id, limit=limit) if experiment_id else []
        rows = [run_row(run, was_stopped=was_stopped(api, run)) for run in runs]
    if as_json:
        print_json(rows)
        return
    print_table(rows, if_empty=f"no runs in experiment {api.endpoint.experiment}")


@app.command("show")
@with_server_options()
def show_run(run: RunId, server: ServerOptions, as_json: JsonOutput = False) -> None:
    """Show a run: its steps, its result, its parameters."""
    from pipeline.api.connection import find_run_id, find_run_pods
    from pipeline.cli.connection import connect_to_server
    from pipeline.cli.tables import print_fields, print_json, print_table
    from pipeline.kubeflow.follow_run import read_run

    with connect_to_server(server) as (api, cluster):
        run_id = find_run_id(api, run)
        known = read_run(api, run_id, find_run_pods(api, cluster, run_id))
        url = api.endpoint.page_url("runs", run_id)
    steps = [
        {
            "step": step.name,
            "status": known.step_status(step.name),
            "seconds": step.seconds or None,  # only known of a step that has finished
        }
        for step in known.run_state.steps.values()
    ]
    verdict = known.verdict if known.run.has_ended or known.is_deleted else None
    row = run_row(known.run, was_stopped=known.was_stopped)
    summary = {**row, "schedule": known.run.schedule_id or None, "url": url}
    if as_json:
        print_json(
            {
                **summary,
                "steps": steps,
                "notes": list(known.notes),
                "verdict": verdict,
                "failed_rules": known.failed_rules,
                "parameters": dict(known.run.parameters),
            }
        )
        return
    print_fields(summary)
    print_table(steps)
    for line in (*known.notes, verdict):
        if line:
            typer.echo(line)
    print_table(
        [
            {"parameter": name, "value": value}
            for name, value in known.run.parameters.items()
            if value not in ("", "{}")
        ]
    )


@app.command("logs")
@with_server_options()
def print_logs(
    run: RunId,
    server: ServerOptions,
    step: Annotated[
        str | None,
        typer.Option(
            help="Only the pods of one step: tokenize, train, evaluate, gate or export; "
            "of a run that scores: resolve or score; of a cross-validation also fold or summarize, "
            "or those of one fold, such as train-fold-3."
        ),
    ] = None,
    tail: Annotated[
        int | None, typer.Option(min=1, help="Only the last lines of each pod.")
    ] = None,
) -> None:
    """Print the logs of a run's pods, as long as Kubernetes keeps them.

    Needs a kubeconfig file, or a pod's own service account.
    """
    from pipeline.api.connection import find_namespace, find_run_id
    from pipeline.cli.connection import connect_to_server
    from pipeline.kubeflow.run_logs import RunPods

    with connect_to_server(server) as (api, cluster):
        run_id = find_run_id(api, run)
        pods = RunPods.connect(run_id, find_namespace(api, cluster))
    has_logs = False
    for log in pods.read_logs(step):
        has_logs = True
        typer.echo(f"==> {log.pod} <==")
        for line in log.lines[-tail:] if tail else log.lines:
            typer.echo(line)
    if not has_logs:
        typer.echo(
            f"no logs: the run's pods in namespace {pods.namespace} have not started or are gone",
            err=True,
        )


@app.command("stop")
@with_server_options()
def stop_run(run: RunId, server: ServerOptions) -> None:
    """Stop a run, and its training workers.

    Workers save a checkpoint first; submitting the same training again resumes from it. Without
    access to Kubernetes they notice by themselves, and end within a minute.
    """
    from pipeline.api.connection import WorkersNotStoppedError, find_run_id
    from pipeline.api.connection import stop_run as stop_cluster_run
    from pipeline.cli.connection import connect_to_server

    with connect_to_server(server) as (api, cluster):
        run_id = find_run_id(api, run)
        before = api.get_run(run_id)
        if before.has_ended:
            state = run_row(before, was_stopped=was_stopped(api, before))["state"]
            typer.echo(f"run {run_id} has ended already: {state}")
            return
        try:
            deleted = stop_cluster_run(api, cluster, run_id)
        except WorkersNotStoppedError as error:
            typer.echo(f"run {run_id} is stopping")
            typer.echo(str(error), err=True)
            return
    typer.echo(f"run {run_id} is stopping")
    for name in deleted:
        typer.echo(f"JobSet {name} is stopping")


def run_row(run: Run, *, was_stopped: bool) -> dict[str, Any]:
    """What tables and JSON show of a run; the server calls one that was stopped failed."""
    duration = run.finished_at - run.created_at if run.finished_at else None
    return {
        "run": run.id,
        "name": run.name,
        "state": "stopped" if was_stopped and run.has_ended else run.state.lower(),
        "created": _format_utc(run.created_at),
        "slot": _format_utc(run.scheduled_time) if run.schedule_id and run.scheduled_time else "",
        "minutes": round(duration.total_seconds() / 60, 1) if duration else "",
    }


def was_stopped(api: KubeflowClient, run: Run) -> bool:
    """Whether someone stopped the run; asks for its workflow where the run itself does not say."""
    from pipeline.kubeflow.follow_run import find_workflow, is_stopped

    return run.stop_requested or is_stopped(run, find_workflow(api, run))


def _format_utc(time: datetime.datetime) -> str:
    import datetime

    return time.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
