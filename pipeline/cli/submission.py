"""Checks a configuration, submits a run of it, and reports the run: for all pipelines."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pipeline.api.submission import Prepare, open_submission
from pipeline.cli.connection import report_submitted_run, resolve_cluster
from pipeline.cli.options import ServerOptions
from pipeline.cli.tables import create_console, print_json, print_yaml

if TYPE_CHECKING:
    from components.config.schema import Config


def submit_configuration(
    settings: Config,
    server: ServerOptions,
    prepare: Prepare,
    key: str | None,
    *,
    wait: bool,
    dry_run: bool,
    allow_tags: bool,
    skip_check: bool,
    as_json: bool,
    no_cache: bool = False,
) -> None:
    """Submit a run, or with `dry_run` print what would be sent.

    With `wait`, follow the run and exit with its code. All that can be checked is checked first.
    """
    from pipeline.kubeflow import submit

    cluster = resolve_cluster(server, settings.cluster)
    with open_submission(
        settings, cluster, prepare, key, allow_tags=allow_tags, check=not skip_check
    ) as (api, submission):
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
