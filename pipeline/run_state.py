"""Run state, reduced from progress events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from components.errors import ExitCode
from components.progress import EventKind, ProgressEvent, StepName
from pipeline.cross_validation.task_names import find_event_task

STEP_NAMES = (
    StepName.TOKENIZE,
    StepName.TRAIN,
    StepName.EVALUATE,
    StepName.GATE,
    StepName.EXPORT,
)
"""The steps of a training."""
FOLD_STEPS = (StepName.TOKENIZE, StepName.FOLD, StepName.TRAIN, StepName.EVALUATE)
"""The steps of one fold of a cross-validation; all folds share the first one."""
SCORING_STEPS = (StepName.RESOLVE, StepName.SCORE)
StepStatus = Literal["waiting", "running", "finished", "reused", "failed"]
_STATUS: Mapping[EventKind, StepStatus] = {
    "started": "running",
    "finished": "finished",
    "reused": "reused",
    "error": "failed",
}


@dataclass(frozen=True)
class StepFailure:
    """Why a step failed: the message for the user, and the step's exit code.

    `missing_artifact`: what an earlier step made was not there.
    """

    step: str
    message: str
    exit_code: int
    missing_artifact: bool = False


@dataclass(frozen=True)
class StepState:
    """One step: its duration (0 if reused), the paths of its outputs, its reported figures."""

    name: str
    status: StepStatus = "waiting"
    seconds: float = 0.0
    outputs: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunState:
    """The state of each step, in the order of the pipeline, and the first failure, if any.

    The steps of a fold that was run beside others are named as their tasks, such as train-fold-3.
    """

    steps: Mapping[str, StepState] = field(
        default_factory=lambda: {name: StepState(name) for name in STEP_NAMES}
    )
    failure: StepFailure | None = None

    @classmethod
    def of_scoring(cls) -> RunState:
        """The state of a run of the pipeline that scores, before its first step."""
        return cls.of_steps(SCORING_STEPS)

    @classmethod
    def of_steps(cls, names: Iterable[str]) -> RunState:
        """The state of a run with these steps, before its first one."""
        return cls({name: StepState(name) for name in names})

    def apply(self, event: ProgressEvent) -> RunState:
        """The state after one more progress event; progress and notes do not change it."""
        if event.kind is None or event.kind == "note":
            return self
        step, failure = self.steps[find_event_task(event)], self.failure
        if event.kind == "started" and failure is not None and failure.step == step.name:
            failure = None  # the step is retried
        if event.kind == "error":
            failure = failure or StepFailure(
                step.name,
                event.message,
                event.exit_code or ExitCode.FAILURE,
                bool(event.metrics.get("missing_artifact")),
            )
        step = replace(
            step,
            status=_STATUS[event.kind],
            seconds=step.seconds if event.seconds is None else event.seconds,
            outputs=step.outputs if event.outputs is None else event.outputs,
            figures=step.figures if event.figures is None else event.figures,
        )
        return RunState({**self.steps, step.name: step}, failure)

    def is_complete(self, step: str) -> bool:
        """Whether the step succeeded in this run, by running or by reuse."""
        return self.steps[step].status in ("finished", "reused")

    def output_path(self, step: str, name: str) -> Path:
        """Path of an output of a step that succeeded."""
        return Path(self.steps[step].outputs[name])
