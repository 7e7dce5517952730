"""`kubert submit`: one run of the pipeline on a cluster."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from pipeline.cli.connection import ConfigName, Endpoint, Experiment, Json, Namespace, Set


def submit(
    config: ConfigName = "quickstart",
    assignments: Set = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    experiment: Experiment = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Name of the run; submitted again with the same key, it is the same run."
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Show the steps as they go; the exit code is that of `kubert run`."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check everything and show what would be sent; send nothing."
        ),
    ] = False,
    no_cache: Annotated[
        bool,
        typer.Option("--no-cache", help="Use no step of an earlier run from the server's cache."),
    ] = False,
    allow_tags: Annotated[
        bool, typer.Option("--allow-tags", help="Accept images without a digest, which may move.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the whole pipeline on a cluster with Kubeflow Pipelines.

    All that can be checked is checked before anything is sent. Without --wait the command ends as soon as the run is created.
    """
    from rich.console import Console
    from rich.text import Text

    from pipeline.cli.connection import connected, loaded
    from pipeline.cli.connection import wait as waiting
    from pipeline.kubeflow import submit as submitting
    from pipeline.kubeflow.endpoint import resolve_connection
    from pipeline.kubeflow.submission import prepare_submission

    chosen = loaded(config, assignments)
    place = resolve_connection(
        chosen.cluster, endpoint=endpoint, namespace=namespace, experiment=experiment
    )
    if key is not None:
        submitting.check_key(key)
    console = Console(stderr=as_json, highlight=False)
    with (
        prepare_submission(
            chosen.model_copy(update={"cluster": place}), allow_tags=allow_tags
        ) as submission,
        connected(place) as api,
    ):
        if dry_run:
            _show(submitting.plan_submission(api, submission, key, no_cache=no_cache), as_json)
            return
        submitted = submitting.submit_run(api, submission, key, no_cache=no_cache)
        run = submitted.run
        told: dict[str, Any] = {
            "run": run.id,
            "name": run.name,
            "created": submitted.created,
            "url": api.endpoint.page_url("runs", run.id),
        }
        said = "created" if submitted.created else "is there already, with this key"
        console.print(
            Text(
                f"run {run.id} ({run.name}) {said}\n{told['url'] or f'see it: kubert runs show {run.id}'}"
            ),
            soft_wrap=True,
        )
        if not wait:
            if as_json:
                typer.echo(json.dumps(told))
            return
        ended = waiting(api, place, run.id, console)
    if as_json:
        typer.echo(
            json.dumps(
                {**told, "state": ended.run.state, "verdict": ended.verdict, "notes": ended.notes}
            )
        )
    raise typer.Exit(ended.exit_code)


def _show(planned: dict[str, Any], as_json: bool) -> None:
    import yaml

    typer.echo(
        json.dumps(planned)
        if as_json
        else yaml.safe_dump(planned, sort_keys=False, allow_unicode=True, width=10_000),
        nl=as_json,
    )
