"""`kubert run`: the whole pipeline, or a cross-validation, on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from components import __version__
from components.errors import ExitCode
from pipeline.cli.options import (
    DEFAULT_CONFIG,
    DEFAULT_WORKDIR,
    Assignments,
    ConfigName,
    Folds,
    JsonOutput,
    ParallelFolds,
    Workdir,
)

if TYPE_CHECKING:
    from pathlib import Path

    from components.config.schema import Config
    from pipeline.local.runner import LocalRun


def run_pipeline(
    config: ConfigName = DEFAULT_CONFIG,
    assignments: Assignments = None,
    workdir: Workdir = DEFAULT_WORKDIR,
    folds: Folds = None,
    parallel: ParallelFolds = None,
    release: Annotated[
        bool,
        typer.Option(
            "--release", help="With --folds: run the whole pipeline afterwards, with its gate."
        ),
    ] = False,
    as_json: JsonOutput = False,
) -> None:
    """Run the whole pipeline on this machine: tokenize, train, evaluate, gate, export.

    Data, encoder, model store and GPUs are checked before the first step, as `kubert doctor` does.
    Steps that an earlier run in the same work directory has finished with the same inputs, options
    and code are reused.
    """
    from components.errors import UsageError
    from pipeline import presets
    from pipeline.cross_validation.options import refuse_parallel_without_folds

    refuse_parallel_without_folds(folds, parallel)
    settings = presets.load_preset(config, assignments)
    if folds is None:
        if release:
            raise UsageError(
                "--release is about a cross-validation; a run without --folds releases"
            )
        _run_once(config, settings, workdir, as_json=as_json)
        return
    figures = _cross_validate(
        config, settings, workdir, folds, parallel, release=release, as_json=as_json
    )
    if not release:
        if as_json:
            _print_json(figures)
        return
    _run_once(config, settings, workdir, as_json=as_json, added={"cross_validation": figures})


def _run_once(
    config: str,
    settings: Config,
    workdir: Path,
    *,
    as_json: bool,
    added: dict[str, object] | None = None,
) -> None:
    """Run the pipeline and print its result; `added` to the JSON value."""
    from pipeline.cli.run_summary import find_example_text, print_summary
    from pipeline.cli.tables import create_console, print_line
    from pipeline.local.whole_run import run_here
    from pipeline.progress_bar import ProgressView

    console = create_console(to_stderr=as_json)
    view = ProgressView(console)

    def show_start(run: LocalRun) -> None:
        print_line(console, f"kubert {__version__}, {config}; log: {run.log}", style="dim")
        view.start()

    try:
        summary, settings = run_here(settings, workdir, show_start, view.show)
    finally:
        view.stop()
    print_summary(summary, console, find_example_text(summary, settings.data.source))
    if as_json:
        _print_json({**summary.to_dict(), **(added or {})})
    if not summary.gate["passed"]:
        raise typer.Exit(ExitCode.GATE_CLOSED)


def _cross_validate(
    config: str,
    settings: Config,
    workdir: Path,
    folds: int,
    parallel: int | None,
    *,
    release: bool,
    as_json: bool,
) -> dict[str, object]:
    """Run a cross-validation, print its result, and return its figures."""
    from pipeline.cli.fold_summary import print_fold_summary
    from pipeline.cli.tables import create_console, print_line
    from pipeline.cross_validation.options import check_release_options
    from pipeline.local.fold_runs import cross_validate_here
    from pipeline.progress_bar import ProgressView

    if release:
        check_release_options(settings)
    console = create_console(to_stderr=as_json)
    view = ProgressView(console, folds)

    def show_start(run: LocalRun, at_a_time: int) -> None:
        plan = f"{folds} folds, {at_a_time} at a time"
        print_line(
            console, f"kubert {__version__}, {config}, {plan}; logs: {run.directory}", style="dim"
        )
        view.start()

    try:
        result, _ = cross_validate_here(settings, folds, workdir, show_start, view.show, parallel)
    finally:
        view.stop()
    print_fold_summary(result, console, will_release=release)
    return result.to_dict()


def _print_json(value: dict[str, object]) -> None:
    from pipeline.cli.tables import print_json

    print_json(value)
