"""`kubert submit`: one run of the pipeline, or a cross-validation, on a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.options import (
    DEFAULT_CONFIG,
    AllowTags,
    Assignments,
    ConfigName,
    DryRun,
    Folds,
    JsonOutput,
    ParallelFolds,
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
    folds: Folds = None,
    parallel: ParallelFolds = None,
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
    from functools import partial

    from pipeline import presets
    from pipeline.cli.submission import submit_configuration
    from pipeline.cross_validation.options import refuse_parallel_without_folds
    from pipeline.kubeflow.submission import prepare_cross_validation, prepare_submission

    refuse_parallel_without_folds(folds, parallel)
    prepare = (
        prepare_submission
        if folds is None
        else partial(prepare_cross_validation, folds=folds, parallel=parallel)
    )
    submit_configuration(
        presets.load_preset(config, assignments),
        server,
        prepare,
        key,
        wait=wait,
        dry_run=dry_run,
        allow_tags=allow_tags,
        skip_check=skip_check,
        as_json=as_json,
        no_cache=no_cache,
    )
