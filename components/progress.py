"""Progress events: what a step reports to whoever started it, one JSON object per line.

A step calls `report`; the process that started it reads the file that KUBERT_PROGRESS names.
Without that variable the events go to standard output, where they are part of the pod's log. All
readers use `parse_progress_event`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args

from components.config.environment import ENV_PROGRESS
from components.errors import escape_unprintable


class StepName(StrEnum):
    """The steps of the pipelines; those of a training in the order in which they run."""

    TOKENIZE = "tokenize"
    TRAIN = "train"
    EVALUATE = "evaluate"
    GATE = "gate"
    EXPORT = "export"
    FOLD = "fold"
    SUMMARIZE = "summarize"
    RESOLVE = "resolve"
    SCORE = "score"


EventKind = Literal["started", "finished", "reused", "error", "note"]
_EVENT_KINDS = frozenset(get_args(EventKind))


@dataclass(frozen=True)
class ProgressEvent:
    """One event of a step; without a `kind` it is about progress: `done` of `total` units.

    A note is a sentence about the data or the model that a person should read.

    time: seconds since the epoch.
    seconds, outputs, figures: of a step that has finished: its duration, the paths of its
    artifacts, its results.
    exit_code: of a step that failed; its `message` is then the error message.
    metrics: values to show beside the progress bar, such as loss=0.31 or examples_per_second=120.0.
    fold: number of the fold of a cross-validation, set by whoever reads the events: a step does not
        know it.
    """

    step: StepName
    message: str = ""
    kind: EventKind | None = None
    time: float = 0.0
    done: float | None = None
    total: float | None = None
    seconds: float | None = None
    exit_code: int | None = None
    outputs: Mapping[str, str] | None = None
    figures: Mapping[str, Any] | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    fold: int | None = None

    def to_json(self) -> str:
        """The event as one line of JSON, without the fields that are empty."""
        values = {
            "time": round(self.time, 3),
            "step": self.step,
            "message": self.message,
            "done": self.done,
            "total": self.total,
            "kind": self.kind,
            "exit_code": self.exit_code,
            "seconds": self.seconds,
            "outputs": self.outputs,
            "figures": self.figures,
            **self.metrics,
        }
        return json.dumps({key: value for key, value in values.items() if value not in (None, "")})


def report(
    step: StepName,
    message: str = "",
    *,
    done: float | None = None,
    total: float | None = None,
    **metrics: Any,
) -> None:
    """Report a step's progress; see `ProgressEvent` for the arguments."""
    write_progress_event(ProgressEvent(step, message, done=done, total=total, metrics=metrics))


def report_note(step: StepName, note: str) -> None:
    """Report a sentence that a person should read, also when the step has finished."""
    write_progress_event(ProgressEvent(step, escape_unprintable(note), kind="note"))


def write_progress_event(event: ProgressEvent) -> None:
    """Report the event with the current time; never raises because of a full or missing file."""
    line = replace(event, time=time.time()).to_json()
    path = os.environ.get(ENV_PROGRESS)
    if not path:
        print(line, file=sys.stdout, flush=True)
        return
    try:
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(line + "\n")
    except OSError:
        pass


def parse_progress_event(line: str | bytes) -> ProgressEvent | None:
    """The event in a line of a progress file or a log; None if the line is anything else."""
    if isinstance(line, bytes):
        line = line.decode("utf-8", "replace")
    if not line.startswith("{"):
        return None
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return _decode(values) if isinstance(values, dict) else None


class ProgressFile:
    """Reads a growing file of progress events, each complete line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read_new_events(self) -> Iterable[ProgressEvent]:
        """The events of the lines completed since the last call; any other line is skipped."""
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                if event := parse_progress_event(line):
                    yield event


def _decode(values: dict[str, Any]) -> ProgressEvent | None:
    step, message, kind = (
        values.pop("step", None),
        values.pop("message", ""),
        values.pop("kind", None),
    )
    timestamp = values.pop("time", 0.0)
    done, total, seconds = (values.pop(name, None) for name in ("done", "total", "seconds"))
    exit_code = values.pop("exit_code", None)
    outputs, figures = values.pop("outputs", None), values.pop("figures", None)
    if not (
        isinstance(step, str)
        and step in set(StepName)
        and isinstance(message, str)
        and (kind is None or _is_kind(kind))
        and _is_number(timestamp)
        and all(value is None or _is_number(value) for value in (done, total, seconds, exit_code))
        and all(value is None or isinstance(value, dict) for value in (outputs, figures))
    ):
        return None
    return ProgressEvent(
        StepName(step),
        message,
        kind,
        timestamp,
        done,
        total,
        seconds,
        exit_code,
        outputs,
        figures,
        values,
    )


def _is_kind(value: object) -> TypeGuard[EventKind]:
    return isinstance(value, str) and value in _EVENT_KINDS


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
