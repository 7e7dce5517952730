"""`kubert submit`: one run of the pipeline on a cluster."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from pipeline.cli.options import (
    DEFAULT_CONFIG,
    AllowTags,
    Assignments,
    ConfigName,
    DryRun,
    JsonOutput,
    RunKey,
    ServerOptions,
    SkipCheck,
    WaitForRun,
    with_server_options,
)


@with_server_options(config_option=False)
def submit_run(
    config: ConfigName = DEFAULT_CONFIG,
    assignments: Assignments = None,
    *,
    server: ServerOptions,
    key: RunKey = None,
    wait: WaitForRun = False,
    dry_run: DryRun = False,
    no_cache: Annotated[
        bool,
        typer.Option("--no-cache", help="Reuse no steps of earlier runs from the server's cache."),
    ] = False,
    allow_tags: AllowTags = False,
    skip_check: SkipCheck = False,
    as_json: JsonOutput = False,
) -> None:
    """Run the whole pipeline on a cluster with Kubeflow Pipelines.

    Everything that can be checked is checked before anything is sent. Without --wait the command
    ends as soon as the run is created. With --wait and without --key, a run that meets a cached
    step whose artifact has been deleted is submitted again without the cache.
    """
    from pipeline import presets
    from pipeline.api.connection import check_run_requirements, connect_to_cluster
    from pipeline.cli.connection import report_submitted_run, resolve_cluster
    from pipeline.cli.tables import create_console, print_json, print_yaml
    from pipeline.kubeflow import submit
    from pipeline.kubeflow.submission import prepare_submission

    settings = presets.load_preset(config, assignments)
    cluster = resolve_cluster(server, settings.cluster)
    if key is not None:
        submit.check_key(key)
    settings = settings.model_copy(update={"cluster": cluster})
    with (
        prepare_submission(settings, allow_tags=allow_tags) as submission,
        connect_to_cluster(cluster) as api,
    ):
        if not skip_check:
            check_run_requirements(api, settings)
        if dry_run:
            plan = submit.plan_submission(api, submission, key, no_cache=no_cache)
            (print_json if as_json else print_yaml)(plan)
            return
        submitted = submit.submit_run(api, submission, key, no_cache=no_cache)
        console = create_console(to_stderr=as_json)
        # A key is one run: then the verdict names the command, and the user chooses another key.
        may_repeat = key is None and not no_cache
        report_submitted_run(
            api,
            cluster,
            submitted,
            console,
            wait=wait,
            as_json=as_json,
            submit_without_cache=partial(submit.submit_run, api, submission, None, no_cache=True)
            if may_repeat
            else None,
        )
