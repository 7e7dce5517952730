"""What a run has done so far: the state that the steps' progress events add up to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from components.errors import ExitCode

STEPS = ("tokenize", "train", "evaluate", "gate", "export")
Status = Literal["waiting", "running", "finished", "reused", "failed"]


@dataclass(frozen=True)
class Failure:
    """Why a step ended: the message for the person, and the step's exit code."""

    step: str
    message: str
    exit_code: int


@dataclass(frozen=True)
class Step:
    """One step: `seconds` of its own run (0 when reused), paths of its `outputs`, and the `figures` it reported."""

    name: str
    status: Status = "waiting"
    seconds: float = 0.0
    outputs: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """All steps in their order, and the first failure, if any."""

    steps: Mapping[str, Step] = field(default_factory=lambda: {name: Step(name) for name in STEPS})
    failure: Failure | None = None

    def after(self, event: dict[str, Any]) -> Outcome:
        """The outcome with one progress event added; events of unknown steps or kinds change nothing."""
        step = self.steps.get(event.get("step", ""))
        kind = event.get("kind")
        if step is None or kind not in ("started", "finished", "reused", "error"):
            return self
        failure = self.failure
        if kind == "error":
            failure = failure or Failure(
                step.name, event.get("message", ""), int(event.get("exit_code", ExitCode.FAILURE))
            )
        status: Status = {"started": "running", "error": "failed"}.get(kind, kind)
        step = replace(
            step,
            status=status,
            seconds=event.get("seconds", step.seconds),
            outputs=event.get("outputs", step.outputs),
            figures=event.get("figures", step.figures),
        )
        return Outcome({**self.steps, step.name: step}, failure)

    def done(self, step: str) -> bool:
        """Whether the step ended well in this run, by running or by reuse."""
        return self.steps[step].status in ("finished", "reused")

    def output(self, step: str, name: str) -> Path:
        """Where an output of a step that ended well lies."""
        return Path(self.steps[step].outputs[name])


class EventFile:
    """Reads a growing file of JSON lines, each complete line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> Iterable[dict[str, Any]]:
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
