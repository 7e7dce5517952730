"""`kubert run`: the whole pipeline on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from components import __version__
from components.errors import ExitCode
from pipeline.cli.options import (
    DEFAULT_CONFIG,
    DEFAULT_WORKDIR,
    Assignments,
    ConfigName,
    JsonOutput,
    Workdir,
)

if TYPE_CHECKING:
    from pipeline.local.runner import LocalRun


def run_pipeline(
    config: ConfigName = DEFAULT_CONFIG,
    assignments: Assignments = None,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: JsonOutput = False,
) -> None:
    """Run the whole pipeline on this machine: tokenize, train, evaluate, gate, export.

    Data, encoder, model store and GPUs are checked before the first step, as `kubert doctor` does.
    Steps that an earlier run in the same work directory has finished with the same inputs, options
    and code are reused.
    """
    from pipeline import presets
    from pipeline.cli.run_summary import find_example_text, print_summary
    from pipeline.cli.tables import create_console, print_json, print_line
    from pipeline.local.whole_run import run_here
    from pipeline.progress_bar import ProgressView

    settings = presets.load_preset(config, assignments)
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
        print_json(summary.to_dict())
    if not summary.gate["passed"]:
        raise typer.Exit(ExitCode.GATE_CLOSED)
