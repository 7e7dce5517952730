"""Names of the tasks of the pipelines: that of the step, and in a cross-validation its fold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from components.progress import ProgressEvent, StepName

_FOLD_TASK = re.compile(r"(?:(\w+)-)?fold-([0-9]+)")


class TaskName(NamedTuple):
    """A task's step, and the number of its fold; None in the other pipelines."""

    step: str
    fold: int | None = None


def name_fold_task(step: str, fold: int) -> str:
    """The name of a step's task for a fold, such as train-fold-3; of the step `fold` fold-3."""
    return f"fold-{fold}" if step == StepName.FOLD else f"{step}-fold-{fold}"


def find_event_task(event: ProgressEvent) -> str:
    """The name of the task that an event is about."""
    return event.step if event.fold is None else name_fold_task(event.step, event.fold)


def list_fold_tasks(folds: int) -> list[str]:
    """The names of the tasks of a cross-validation, in their order."""
    steps = (StepName.FOLD, StepName.TRAIN, StepName.EVALUATE)
    each = [name_fold_task(step, fold) for fold in range(1, folds + 1) for step in steps]
    return [StepName.TOKENIZE, *each, StepName.SUMMARIZE]


def parse_task_name(name: str) -> TaskName:
    """Step and fold of a task."""
    match = _FOLD_TASK.fullmatch(name)
    return TaskName(match[1] or StepName.FOLD, int(match[2])) if match else TaskName(name)


def find_task(names: Iterable[str]) -> str | None:
    """The first of the names that is that of a task of a step; None if there is none."""
    return next((name for name in names if parse_task_name(name).step in set(StepName)), None)
