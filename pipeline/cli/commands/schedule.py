"""`kubert schedule`: periodic runs, as the configuration's `schedule` section defines them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import (
    DEFAULT_CONFIG,
    AllowTags,
    Assignments,
    ConfigName,
    DryRun,
    JsonOutput,
    PipelineName,
    RunKey,
    ServerOptions,
    SkipCheck,
    WaitForRun,
    with_server_options,
)

if TYPE_CHECKING:
    from pipeline.kubeflow.client import KubeflowClient
    from pipeline.kubeflow.cron import Cron
    from pipeline.kubeflow.records import Schedule
    from pipeline.kubeflow.schedules import DesiredSchedule

app = typer.Typer(
    help="Run the pipeline periodically: apply, list, show, pause, resume, run-now, delete.",
    no_args_is_help=True,
)
ScheduleName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The schedule: schedule.name, or the model's name."),
]


MAX_SHOWN = 5
"""Scheduled times and runs that `show` and --dry-run list."""


@app.command("apply")
@with_server_options(config_option=False)
def apply_schedule(
    config: ConfigName = DEFAULT_CONFIG,
    assignments: Assignments = None,
    *,
    server: ServerOptions,
    pipeline: Annotated[
        PipelineName,
        typer.Option(
            help="train: the whole pipeline. score: score what the section `score` names with the "
            "released model; the schedule's name ends in -score."
        ),
    ] = PipelineName.TRAIN,
    dry_run: DryRun = False,
    allow_tags: AllowTags = False,
    skip_check: SkipCheck = False,
    as_json: JsonOutput = False,
) -> None:
    """Create or update the schedule on the server to match the configuration.

    Applying the same configuration again changes nothing. On a change, no scheduled time is skipped
    or run twice.
    """
    from pipeline import presets
    from pipeline.api.connection import check_run_requirements, connect_to_cluster
    from pipeline.cli.connection import resolve_cluster
    from pipeline.cli.tables import create_console, print_json, print_line
    from pipeline.kubeflow import schedules
    from pipeline.kubeflow.submission import prepare_scoring, prepare_submission

    prepare = prepare_scoring if pipeline is PipelineName.SCORE else prepare_submission
    settings = presets.load_preset(config, assignments)
    cluster = resolve_cluster(server, settings.cluster)
    console = create_console(to_stderr=as_json)
    settings = settings.model_copy(update={"cluster": cluster})
    with prepare(settings, allow_tags=allow_tags, scheduled=True) as submission:
        desired = schedules.desired_schedule(submission)
        with connect_to_cluster(cluster) as api:
            schedules.check_server_version(api.health, api.endpoint.url)
            if not skip_check:
                check_run_requirements(api, submission)
            if dry_run:
                _print_plan(api, desired, as_json)
                return
            applied = schedules.apply_schedule(
                api, submission, lambda text: print_line(console, text, style="dim")
            )
            result = {
                **_schedule_row(api, applied.schedule),
                "changed": bool(applied.actions),
                "done": list(applied.actions),
            }
    if as_json:
        print_json(result)
        return
    change = "updated to the configuration" if applied.actions else "unchanged"
    upcoming = result["next"] or "none, because the schedule is paused"
    print_line(console, f"schedule {result['name']}: {change}; next run: {upcoming}")


@app.command("list")
@with_server_options()
def list_schedules(server: ServerOptions, as_json: JsonOutput = False) -> None:
    """List kubert's schedules in the experiment, each with its next time and its last run."""
    from pipeline.cli.connection import connect_to_server
    from pipeline.cli.tables import print_json, print_table
    from pipeline.kubeflow import schedules

    with connect_to_server(server) as (api, _):
        experiment_id = api.find_experiment(api.endpoint.experiment)
        existing = api.list_schedules(experiment_id) if experiment_id else []
        rows = [
            _schedule_row(api, schedule)
            for schedule in existing
            if schedules.parse_content_digest(schedule)
        ]
    if as_json:
        print_json(rows)
        return
    print_table(
        rows,
        if_empty=f"no schedules in experiment {api.endpoint.experiment}; "
        "create one: kubert schedule apply CONFIG",
    )


@app.command("show")
@with_server_options()
def show_schedule(name: ScheduleName, server: ServerOptions, as_json: JsonOutput = False) -> None:
    """Show a schedule: its next times in its own time zone, its latest runs, its parameters."""
    from pipeline.cli.commands.runs import run_row, was_stopped
    from pipeline.cli.connection import connect_to_server
    from pipeline.cli.tables import print_fields, print_json, print_table
    from pipeline.kubeflow import schedules

    with connect_to_server(server) as (api, _):
        schedule = schedules.get_schedule(api, name)
        row = _schedule_row(api, schedule)
        cron = schedules.parse_schedule_cron(schedule)
        times = _next_times(api, cron) if cron else []
        experiment_id = api.find_experiment(api.endpoint.experiment) or ""
        runs = schedules.list_schedule_runs(api, experiment_id, schedule, limit=MAX_SHOWN)
        latest = [run_row(run, was_stopped=was_stopped(api, run)) for run in runs]
        url = api.endpoint.page_url("recurringrun", schedule.id)
    if as_json:
        parameters = dict(schedule.parameters)
        print_json({**row, "url": url, "slots": times, "runs": latest, "parameters": parameters})
        return
    shown_times = ", ".join(times) if schedule.enabled else "none while the schedule is paused"
    print_fields({**row, "url": url, "slots": shown_times})
    print_table(latest, if_empty="no runs yet")


@app.command("pause")
@with_server_options()
def pause_schedule(name: ScheduleName, server: ServerOptions) -> None:
    """Start no more runs until `resume`, or `apply` with schedule.enabled=true.

    Runs that have started continue.
    """
    _set_enabled(name, server, enabled=False)


@app.command("resume")
@with_server_options()
def resume_schedule(name: ScheduleName, server: ServerOptions) -> None:
    """Start runs again.

    Of the times missed during the pause, the latest is run at once; all of them are run with
    schedule.catch_up=true.
    """
    _set_enabled(name, server, enabled=True)


@app.command("run-now")
@with_server_options()
def run_schedule_now(
    name: ScheduleName,
    server: ServerOptions,
    key: RunKey = None,
    wait: WaitForRun = False,
    as_json: JsonOutput = False,
) -> None:
    """Run the schedule's pipeline once, now, with data up to now."""
    from pipeline.cli.connection import connect_to_server, report_submitted_run
    from pipeline.cli.tables import create_console
    from pipeline.kubeflow import schedules, submit

    if key is not None:
        submit.check_key(key)
    with connect_to_server(server) as (api, cluster):
        submitted = schedules.run_schedule_now(api, schedules.get_schedule(api, name), key)
        console = create_console(to_stderr=as_json)
        report_submitted_run(api, cluster, submitted, console, wait=wait, as_json=as_json)


@app.command("delete")
@with_server_options()
def delete_schedule(name: ScheduleName, server: ServerOptions) -> None:
    """Delete a schedule. Its runs are kept, and those that have started continue."""
    from pipeline.cli.connection import connect_to_server
    from pipeline.kubeflow import schedules

    with connect_to_server(server) as (api, _):
        schedules.get_schedule(api, name)
        experiment_id = api.find_experiment(api.endpoint.experiment) or ""
        for schedule in schedules.managed_schedules(api, experiment_id, name):
            api.delete_schedule(schedule.id)
    typer.echo(f"schedule {name} is deleted; its runs are kept")


def _set_enabled(name: str, server: ServerOptions, *, enabled: bool) -> None:
    from pipeline.cli.connection import connect_to_server
    from pipeline.kubeflow import schedules

    with connect_to_server(server) as (api, _):
        schedule = schedules.get_schedule(api, name)
        if schedule.enabled == enabled:
            typer.echo(f"schedule {name} is {'enabled' if enabled else 'paused'} already")
            return
        api.set_schedule_enabled(schedule.id, enabled)
        row = _schedule_row(api, schedules.get_schedule(api, name))
    result = f"enabled; next run: {row['next']}" if enabled else "paused"
    typer.echo(f"schedule {name} is {result}")


def _schedule_row(api: KubeflowClient, schedule: Schedule) -> dict[str, Any]:
    """What tables and JSON show of a schedule."""
    from pipeline.kubeflow import schedules

    cron = schedules.parse_schedule_cron(schedule)
    experiment_id = api.find_experiment(api.endpoint.experiment)
    last = (
        schedules.list_schedule_runs(api, experiment_id, schedule, limit=1) if experiment_id else []
    )
    upcoming = _next_times(api, cron, count=1) if cron and schedule.enabled else [None]
    return {
        "name": schedule.name,
        "state": "enabled" if schedule.enabled else "paused",
        "cron": schedule.cron.removeprefix("0 "),
        "server zone": cron.server_zone.key if cron else "",
        "next": upcoming[0],
        "last run": last[0].state.lower() if last else None,
        "concurrency": schedule.max_concurrent_runs,
        "catch up": schedule.catch_up,
        "id": schedule.id,
    }


def _next_times(api: KubeflowClient, cron: Cron, count: int = MAX_SHOWN) -> list[str]:
    """The next scheduled times, in the schedule's own time zone."""
    times = itertools.islice(cron.times_after(api.server_time()), count)
    return [time.isoformat(timespec="minutes") for time in times]


def _print_plan(api: KubeflowClient, desired: DesiredSchedule, as_json: bool) -> None:
    """Print what `apply` would do to the schedule on the server."""
    from pipeline.cli.tables import print_json, print_yaml

    plan = {
        "would": _planned_action(api, desired),
        "cron on the server": desired.cron.server_expression,
        "slots": _next_times(api, desired.cron),
        "schedule": desired.body,
    }
    (print_json if as_json else print_yaml)(plan)


def _planned_action(api: KubeflowClient, desired: DesiredSchedule) -> str:
    from pipeline.kubeflow import schedules

    experiment_id = api.find_experiment(api.endpoint.experiment)
    existing = (
        schedules.managed_schedules(api, experiment_id, desired.name) if experiment_id else []
    )
    if not existing:
        return "create"
    for schedule in existing:
        if schedules.parse_content_digest(schedule) == desired.content:
            return "nothing" if schedule.enabled == desired.enabled else "enable or pause"
    return "replace"
