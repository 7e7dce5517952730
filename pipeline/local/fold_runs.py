"""A cross-validation on this machine: tokenize once, folds side by side, then the summary.

Each fold is a process that runs its part of the compiled pipeline. What one process has finished
the others find in the shared cache, by its content: so a repeated command trains only what is
missing, and one failed fold does not lose the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.artifacts.cross_validation import (
    CrossValidationContent,
    FoldResult,
    open_cross_validation,
)
from components.config.schema import Config
from components.errors import USER_ERROR_CODES, ExitCode, KubertError
from components.progress import ProgressEvent, StepName
from pipeline import parameters
from pipeline.cross_validation.options import check_fold_options, prepare_fold_config
from pipeline.local import inputs, runner
from pipeline.local.fold_slots import FoldSlot, plan_slots
from pipeline.local.runner import LocalRun, PipelineProcess
from pipeline.run_state import FOLD_STEPS, RunState, StepFailure


class FoldsFailedError(KubertError):
    """Some folds failed; the others have finished, and are reused."""

    def __init__(self, failures: Mapping[int, StepFailure], folds: int, logs: Path) -> None:
        lines = [f"fold {fold}: {each.step}: {each.message}" for fold, each in failures.items()]
        finished = folds - len(failures)
        kept = (
            f"{finished} of {folds} folds are finished; the same command repeats only the others"
            if finished
            else "no fold is finished"
        )
        super().__init__("\n".join([*lines, kept, f"logs: {logs}"]))
        self.failures = dict(failures)
        codes = [each.exit_code for each in failures.values()]
        is_user_error = all(code in USER_ERROR_CODES for code in codes)
        self.exit_code = codes[0] if is_user_error else ExitCode.FAILURE


@dataclass(frozen=True)
class CrossValidation:
    """A finished cross-validation: its figures, and where its files are.

    states: the steps of each fold, by its number. parallel: how many were trained side by side.
    """

    run: LocalRun
    content: CrossValidationContent
    directory: Path
    states: Mapping[int, RunState]
    parallel: int

    def to_dict(self) -> dict[str, Any]:
        """What `kubert run --folds K --json` prints; scripts depend on these keys."""
        task = self.content.task
        return {
            **({} if task == "single_label" else {"task": task}),
            "folds": self.content.folds,
            "rows": self.content.rows,
            "metrics": {
                name: each.model_dump(mode="json") for name, each in self.content.metrics.items()
            },
            "fold_results": [
                {
                    "fold": each.fold,
                    "rows": each.rows,
                    "metrics": each.metrics,
                    **self._describe_thresholds(each),
                    "report": str(self.find_fold_report(each.fold)),
                    "step_seconds": {
                        str(step.name): step.seconds
                        for step in self.states[each.fold].steps.values()
                    },
                    "cached": [
                        str(step.name)
                        for step in self.states[each.fold].steps.values()
                        if step.status == "reused" and step.name != StepName.TOKENIZE
                    ],
                }
                for each in self.content.results
            ],
            "notes": list(self.content.notes),
            "parallel": self.parallel,
            "report": str(self.directory / "report.html"),
            "predictions": str(self.directory / "predictions.parquet"),
            "logs": str(self.run.directory),
            "workdir": str(self.run.workdir),
        }

    @staticmethod
    def _describe_thresholds(result: FoldResult) -> dict[str, Any]:
        """The score from which the fold's model gives each label; none for other tasks."""
        if not result.per_class:
            return {}
        return {"thresholds": {name: each.threshold for name, each in result.per_class.items()}}

    def find_fold_report(self, fold: int) -> Path:
        """The HTML report of one fold's evaluation."""
        return self.states[fold].output_path("evaluate", "report") / "report.html"


def cross_validate_here(
    config: Config,
    folds: int,
    workdir: Path,
    on_start: Callable[[LocalRun, int], None],
    on_event: Callable[[ProgressEvent], None],
    parallel: int | None = None,
) -> tuple[CrossValidation, Config]:
    """Run a cross-validation in a work directory; the figures, and the configuration it had.

    `on_start` gets the run and the number of folds side by side. Options, data, encoder and GPUs
    are checked before the first step. Raises StepFailedError if a step that all folds share fails,
    FoldsFailedError if folds fail, once all others have ended, and RunInterruptedError as
    `runner.execute_pipeline` does.
    """
    check_fold_options(config, folds, parallel)
    workdir = workdir.absolute()
    runner.check_workdir(workdir)
    settings, _ = inputs.prepare_inputs(prepare_fold_config(config), workdir)
    slots = plan_slots(settings, folds, parallel)
    with runner.create_run(workdir) as run, runner.catch_signals() as received:
        arguments = {
            **parameters.build_arguments(settings, parameters.build_fold_layout(folds)),
            "fingerprint": inputs.compute_fingerprint(settings),
            "scratch": str(run.state_directory),
        }
        scheduler = FoldScheduler(run, arguments, folds, received, on_event)
        on_start(run, len(slots))
        scheduler.run_shared([], StepName.TOKENIZE)
        states = scheduler.run_folds(slots)
        last = scheduler.run_shared(None, StepName.SUMMARIZE)
    directory = last.output_path(StepName.SUMMARIZE, "summary")
    content = open_cross_validation(directory).content
    return CrossValidation(run, content, directory, states, len(slots)), settings


class FoldScheduler:
    """Starts the processes of a cross-validation and follows them; all end with this one.

    `received` has the stop signals so far; `command` is that of a process.
    """

    def __init__(
        self,
        run: LocalRun,
        arguments: Mapping[str, Any],
        folds: int,
        received: Sequence[int],
        on_event: Callable[[ProgressEvent], None],
        command: Sequence[str] = runner.KFP_COMMAND,
    ) -> None:
        self._run, self._arguments, self._folds = run, arguments, folds
        self._received, self._on_event, self._command = received, on_event, command

    def run_shared(self, only: list[int] | None, step: StepName) -> RunState:
        """Run the pipeline with these folds, for the step that all folds share; its state."""
        steps = (step,) if only == [] else (*FOLD_STEPS, step)
        with self._start(str(step), only, steps, FoldSlot()) as process:
            while (exit_code := process.exit_code) is None and not self._received:
                self._show_events(process, None, step)
                time.sleep(runner.POLL_SECONDS)
            self._show_events(process, None, step)
        self._raise_if_interrupted()
        if failure := runner.find_failure(process.state, exit_code or 0):
            raise runner.StepFailedError(
                failure.step, failure.message, failure.exit_code, process.run.log
            )
        return process.state

    def run_folds(self, slots: Sequence[FoldSlot]) -> dict[int, RunState]:
        """Run all folds, each in the first slot that becomes free; their states."""
        waiting = list(range(1, self._folds + 1))
        free = list(slots)
        states: dict[int, RunState] = {}
        failures: dict[int, StepFailure] = {}
        with ExitStack() as everything:
            running: dict[int, tuple[PipelineProcess, FoldSlot, ExitStack]] = {}
            while (waiting or running) and not self._received:
                while waiting and free:
                    fold, slot = waiting.pop(0), free.pop(0)
                    stack = everything.enter_context(ExitStack())
                    process = stack.enter_context(
                        self._start(f"fold-{fold}", [fold], FOLD_STEPS, slot)
                    )
                    running[fold] = (process, slot, stack)
                for fold, (process, slot, stack) in list(running.items()):
                    exit_code = process.exit_code
                    self._show_events(process, fold)
                    if exit_code is None:
                        continue
                    stack.close()
                    del running[fold]
                    free.append(slot)
                    states[fold] = process.state
                    if failure := runner.find_failure(process.state, exit_code):
                        failures[fold] = failure
                time.sleep(runner.POLL_SECONDS)
        self._raise_if_interrupted()
        if failures:
            raise FoldsFailedError(dict(sorted(failures.items())), self._folds, self._run.directory)
        return states

    def _show_events(
        self, process: PipelineProcess, fold: int | None, step: StepName | None = None
    ) -> None:
        """Show the events of the process; those of one step, or all but what every fold repeats."""
        for event in process.read_new_events():
            if event.step == step or (step is None and event.step != StepName.TOKENIZE):
                self._on_event(replace(event, fold=fold))

    def _start(
        self, name: str, only: list[int] | None, steps: Sequence[StepName], slot: FoldSlot
    ) -> AbstractContextManager[PipelineProcess]:
        directory = self._run.directory / name
        directory.mkdir()
        return runner.pipeline_process(
            LocalRun(self._run.workdir, directory),
            self._arguments,
            self._command,
            state=RunState.of_steps(steps),
            options={"folds": self._folds, "only": only, "cores": list(slot.cores)},
            variables=slot.variables,
            should_kill=lambda: len(self._received) > 1,
        )

    def _raise_if_interrupted(self) -> None:
        if self._received:
            raise runner.interrupted_error(self._run)
