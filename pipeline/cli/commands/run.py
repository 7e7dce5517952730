"""`kubert run`: the whole pipeline on this machine."""

from __future__ import annotations

from pathlib import Path

import typer

from components import __version__
from components.errors import USER_ERROR_CODES, ExitCode, KubertError
from pipeline.cli.options import (
    DEFAULT_CONFIG,
    DEFAULT_WORKDIR,
    Assignments,
    ConfigName,
    JsonOutput,
    Workdir,
)


class StepFailedError(KubertError):
    """A step of the run failed with an error of its own."""

    def __init__(self, step: str, message: str, exit_code: int, log: Path) -> None:
        super().__init__(f"{step}: {message}\nlog: {log}")
        self.exit_code = exit_code if exit_code in USER_ERROR_CODES else ExitCode.FAILURE


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
    from pipeline import parameters, presets
    from pipeline.cli.progress_bar import ProgressView
    from pipeline.cli.run_summary import summarize_run
    from pipeline.cli.tables import create_console, print_json, print_line
    from pipeline.local import inputs, runner

    workdir = workdir.absolute()
    runner.check_workdir(workdir)
    settings, _ = inputs.prepare_inputs(presets.load_preset(config, assignments), workdir)
    inputs.check_gpus(settings)
    console = create_console(to_stderr=as_json)
    with runner.create_run(workdir) as run:
        arguments = {
            **parameters.build_arguments(settings),
            "fingerprint": inputs.compute_fingerprint(settings),
            "scratch": str(run.state_directory),
        }
        print_line(console, f"kubert {__version__}, {config}; log: {run.log}", style="dim")
        with ProgressView(console) as view:
            run_state = runner.execute_pipeline(run, arguments, view.show)
        if failure := run_state.failure:
            raise StepFailedError(failure.step, failure.message, failure.exit_code, run.log)
        summary = summarize_run(run, run_state, settings.data.source)
    summary.print(console)
    if as_json:
        print_json(summary.to_dict())
    if not summary.gate["passed"]:
        raise typer.Exit(ExitCode.GATE_CLOSED)
