"""`kubert schedule`: the pipeline runs again by itself, as the configuration's `schedule` section says."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.connection import (
    AnyConfig,
    ConfigName,
    Endpoint,
    Experiment,
    Json,
    Namespace,
    Set,
)

if TYPE_CHECKING:
    from pipeline.kubeflow.client import KubeflowClient
    from pipeline.kubeflow.records import Schedule

app = typer.Typer(
    help="Run the pipeline again by itself: apply, list, show, pause, resume, run-now, delete.",
    no_args_is_help=True,
)
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The schedule's name: schedule.name, or that of the model."
    ),
]
SHOWN = 5


@app.command()
def apply(
    config: ConfigName = "quickstart",
    assignments: Set = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    experiment: Experiment = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything and show what would be done; do nothing."),
    ] = False,
    allow_tags: Annotated[
        bool, typer.Option("--allow-tags", help="Accept images without a digest, which may move.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the schedule on the server the one in the configuration. Nothing changed: nothing done. Changed: no slot is lost or run twice."""
    from rich.console import Console
    from rich.text import Text

    from pipeline.cli.connection import connected, loaded
    from pipeline.kubeflow import schedules
    from pipeline.kubeflow.endpoint import resolve_connection
    from pipeline.kubeflow.submission import prepare_submission

    chosen = loaded(config, assignments)
    place = resolve_connection(
        chosen.cluster, endpoint=endpoint, namespace=namespace, experiment=experiment
    )
    console = Console(stderr=as_json, highlight=False)
    with prepare_submission(
        chosen.model_copy(update={"cluster": place}), allow_tags=allow_tags, scheduled=True
    ) as submission:
        wanted = schedules.desired_schedule(submission)
        with connected(place) as api:
            schedules.check_server_version(api.get_health(), api.endpoint.url)
            if dry_run:
                _show_plan(api, wanted, as_json)
                return
            applied = schedules.apply_schedule(
                api, submission, lambda text: console.print(Text(text, style="dim"), soft_wrap=True)
            )
            told = {
                **_row(api, applied.schedule),
                "changed": bool(applied.actions),
                "done": list(applied.actions),
            }
    if as_json:
        typer.echo(json.dumps(told))
        return
    what = "as configured" if applied.actions else "nothing changed, nothing done"
    next_slot = told["next"] or "no slot: it is paused"
    console.print(Text(f"schedule {told['name']}: {what}; next: {next_slot}"), soft_wrap=True)


@app.command("list")
def list_(
    config: AnyConfig = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    experiment: Experiment = None,
    as_json: Json = False,
) -> None:
    """List kubert's schedules in the experiment, each with its next slot and its last run."""
    from pipeline.cli.commands.runs import show_table
    from pipeline.cli.connection import at
    from pipeline.kubeflow import schedules

    with at(config, endpoint, namespace, experiment) as (api, _):
        found = api.find_experiment(api.endpoint.experiment)
        every = api.list_schedules(found) if found else []
        rows = [
            _row(api, schedule) for schedule in every if schedules.parse_content_digest(schedule)
        ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    show_table(
        rows,
        f"no schedules in experiment {api.endpoint.experiment}; `kubert schedule apply CONFIG` makes one",
    )


@app.command()
def show(
    name: Name,
    config: AnyConfig = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    experiment: Experiment = None,
    as_json: Json = False,
) -> None:
    """Show a schedule: its next slots in its own time zone, its latest runs, its parameters."""
    from rich.console import Console
    from rich.text import Text

    from pipeline.cli.commands.runs import row, show_table
    from pipeline.cli.connection import at
    from pipeline.kubeflow import schedules

    with at(config, endpoint, namespace, experiment) as (api, _):
        schedule = schedules.get_schedule(api, name)
        told = _row(api, schedule)
        cron, now = schedules.parse_schedule_cron(schedule), api.server_time()
        slots = (
            [
                slot.isoformat(timespec="minutes")
                for slot in itertools.islice(cron.times_after(now), SHOWN)
            ]
            if cron
            else []
        )
        experiment_id = api.find_experiment(api.endpoint.experiment) or ""
        latest = [
            row(run)
            for run in schedules.list_schedule_runs(api, experiment_id, schedule, limit=SHOWN)
        ]
        url = api.endpoint.page_url("recurringrun", schedule.id)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    **told,
                    "url": url,
                    "slots": slots,
                    "runs": latest,
                    "parameters": dict(schedule.parameters),
                }
            )
        )
        return
    console = Console(highlight=False)
    for label, value in {
        **told,
        "url": url,
        "slots": ", ".join(slots) if schedule.enabled else "none while it is paused",
    }.items():
        if value not in (None, ""):
            console.print(Text(f"{label:<12} {value}"), soft_wrap=True)
    show_table(latest, "no runs yet")


@app.command()
def pause(
    name: Name,
    config: AnyConfig = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    experiment: Experiment = None,
) -> None:
    """Start no more runs, until `resume` or an `apply` with schedule.enabled=true; runs under way go on."""
    _enable(name, config, endpoint, namespace, experiment, enabled=False)


@app.command()
def resume(
    name: Name,
    config: AnyConfig = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    experiment: Experiment = None,
) -> None:
    """Start runs again. Of the slots missed meanwhile the latest is run at once; all of them with schedule.catch_up."""
    _enable(name, config, endpoint, namespace, experiment, enabled=True)


@app.command("run-now")
def run_now(
    name: Name,
    config: AnyConfig = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    experiment: Experiment = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Name of the run; asked for again with the same key, it is the same run."
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Show the steps as they go; the exit code is that of `kubert run`."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the schedule's pipeline once, now, outside its slots, with data up to now."""
    from rich.console import Console
    from rich.text import Text

    from pipeline.cli.connection import at
    from pipeline.cli.connection import wait as waiting
    from pipeline.kubeflow import schedules, submit

    console = Console(stderr=as_json, highlight=False)
    if key is not None:
        submit.check_key(key)
    with at(config, endpoint, namespace, experiment) as (api, place):
        submitted = schedules.run_schedule_now(api, schedules.get_schedule(api, name), key)
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
        ended = waiting(api, place, run.id, console) if wait else None
    if as_json:
        typer.echo(
            json.dumps(
                {**told, **({"state": ended.run.state, "verdict": ended.verdict} if ended else {})}
            )
        )
    if ended:
        raise typer.Exit(ended.exit_code)


@app.command()
def delete(
    name: Name,
    config: AnyConfig = None,
    endpoint: Endpoint = None,
    namespace: Namespace = None,
    experiment: Experiment = None,
) -> None:
    """Delete a schedule; its runs, also those under way, stay."""
    from pipeline.cli.connection import at
    from pipeline.kubeflow import schedules

    with at(config, endpoint, namespace, experiment) as (api, _):
        schedules.get_schedule(api, name)
        for schedule in schedules.managed_schedules(
            api, api.find_experiment(api.endpoint.experiment) or "", name
        ):
            api.delete_schedule(schedule.id)
    typer.echo(f"schedule {name} is deleted; its runs are kept")


def _enable(
    name: str,
    config: str | None,
    endpoint: str | None,
    namespace: str | None,
    experiment: str | None,
    *,
    enabled: bool,
) -> None:
    from pipeline.cli.connection import at
    from pipeline.kubeflow import schedules

    with at(config, endpoint, namespace, experiment) as (api, _):
        schedule = schedules.get_schedule(api, name)
        if schedule.enabled == enabled:
            typer.echo(f"schedule {name} {'runs' if enabled else 'is paused'} already")
            return
        api.set_schedule_enabled(schedule.id, enabled)
        told = _row(api, schedules.get_schedule(api, name))
    typer.echo(
        f"schedule {name} runs again; next: {told['next']}"
        if enabled
        else f"schedule {name} is paused"
    )


def _row(api: KubeflowClient, schedule: Schedule) -> dict[str, Any]:
    from pipeline.kubeflow import schedules

    cron = schedules.parse_schedule_cron(schedule)
    experiment = api.find_experiment(api.endpoint.experiment)
    last = schedules.list_schedule_runs(api, experiment, schedule, limit=1) if experiment else []
    upcoming = (
        next(cron.times_after(api.server_time())).isoformat(timespec="minutes")
        if cron and schedule.enabled
        else None
    )
    return {
        "name": schedule.name,
        "state": "enabled" if schedule.enabled else "paused",
        "cron": schedule.cron.removeprefix("0 "),
        "server zone": cron.server_zone.key if cron else "",
        "next": upcoming,
        "last run": last[0].state.lower() if last else None,
        "concurrency": schedule.max_concurrent_runs,
        "catch up": schedule.catch_up,
        "id": schedule.id,
    }


def _show_plan(api: KubeflowClient, wanted: Any, as_json: bool) -> None:
    import yaml

    from pipeline.kubeflow import schedules

    experiment = api.find_experiment(api.endpoint.experiment)
    found = schedules.managed_schedules(api, experiment, wanted.name) if experiment else []
    there = next(
        (
            schedule
            for schedule in found
            if schedules.parse_content_digest(schedule) == wanted.content
        ),
        None,
    )
    action = (
        "create"
        if not found
        else "replace"
        if there is None
        else "nothing"
        if there.enabled == wanted.enabled
        else "enable or pause"
    )
    slots = [
        slot.isoformat(timespec="minutes")
        for slot in itertools.islice(wanted.cron.times_after(api.server_time()), SHOWN)
    ]
    planned = {
        "would": action,
        "cron on the server": wanted.cron.server_expression,
        "slots": slots,
        "schedule": wanted.body,
    }
    typer.echo(
        json.dumps(planned)
        if as_json
        else yaml.safe_dump(planned, sort_keys=False, allow_unicode=True, width=10_000),
        nl=as_json,
    )
