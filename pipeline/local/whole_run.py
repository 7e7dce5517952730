"""A whole run on this machine: checks, the pipeline, and the figures of what it made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from components.config.schema import Config
from components.progress import ProgressEvent
from pipeline import parameters
from pipeline.local import inputs, runner
from pipeline.local.run_summary import RunSummary, summarize_run
from pipeline.local.runner import LocalRun, StepFailedError


def run_here(
    config: Config,
    workdir: Path,
    on_start: Callable[[LocalRun], None],
    on_event: Callable[[ProgressEvent], None],
) -> tuple[RunSummary, Config]:
    """Run the pipeline in a work directory; the figures, and the configuration with whole paths.

    Data, encoder, model store and GPUs are checked before the first step. Raises StepFailedError if
    a step fails, and what the checks and `execute_pipeline` raise. A closed gate is no error.
    """
    workdir = workdir.absolute()
    runner.check_workdir(workdir)
    settings, _ = inputs.prepare_inputs(config, workdir)
    inputs.check_gpus(settings)
    with runner.create_run(workdir) as run:
        arguments = {
            **parameters.build_arguments(settings),
            "fingerprint": inputs.compute_fingerprint(settings),
            "scratch": str(run.state_directory),
        }
        on_start(run)
        run_state = runner.execute_pipeline(run, arguments, on_event)
        if failure := run_state.failure:
            raise StepFailedError(failure.step, failure.message, failure.exit_code, run.log)
        return summarize_run(run, run_state), settings
