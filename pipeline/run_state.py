"""What a run has done so far: the state that the steps' progress events add up to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from components.errors import ExitCode

STEP_NAMES = ("tokenize", "train", "evaluate", "gate", "export")
StepStatus = Literal["waiting", "running", "finished", "reused", "failed"]


@dataclass(frozen=True)
class StepFailure:
    """Why a step ended: the message for the person, and the step's exit code."""

    step: str
    message: str
    exit_code: int


@dataclass(frozen=True)
class StepState:
    """One step: `seconds` of its own run (0 when reused), paths of its `outputs`, and the `figures` it reported."""

    name: str
    status: StepStatus = "waiting"
    seconds: float = 0.0
    outputs: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunState:
    """All steps in their order, and the first failure, if any."""

    steps: Mapping[str, StepState] = field(
        default_factory=lambda: {name: StepState(name) for name in STEP_NAMES}
    )
    failure: StepFailure | None = None

    def apply(self, event: dict[str, Any]) -> RunState:
        """The outcome with one progress event added; events of unknown steps or kinds change nothing."""
        step = self.steps.get(event.get("step", ""))
        kind = event.get("kind")
        if step is None or kind not in ("started", "finished", "reused", "error"):
            return self
        failure = self.failure
        if kind == "error":
            failure = failure or StepFailure(
                step.name, event.get("message", ""), int(event.get("exit_code", ExitCode.FAILURE))
            )
        status: StepStatus = {"started": "running", "error": "failed"}.get(kind, kind)
        step = replace(
            step,
            status=status,
            seconds=event.get("seconds", step.seconds),
            outputs=event.get("outputs", step.outputs),
            figures=event.get("figures", step.figures),
        )
        return RunState({**self.steps, step.name: step}, failure)

    def is_complete(self, step: str) -> bool:
        """Whether the step ended well in this run, by running or by reuse."""
        return self.steps[step].status in ("finished", "reused")

    def output_path(self, step: str, name: str) -> Path:
        """Where an output of a step that ended well lies."""
        return Path(self.steps[step].outputs[name])


class EventFile:
    """Reads a growing file of JSON lines, each complete line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read_new_events(self) -> Iterable[dict[str, Any]]:
        """The events of the lines completed since the last call; a line that is not JSON is passed over."""
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict):
                    yield event
