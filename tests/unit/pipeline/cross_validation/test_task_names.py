from __future__ import annotations

import pytest

from components.progress import ProgressEvent, StepName
from pipeline.cross_validation.options import MAX_FOLDS
from pipeline.cross_validation.task_names import (
    TaskName,
    find_event_task,
    find_task,
    list_fold_tasks,
    name_fold_task,
    parse_task_name,
)


@pytest.mark.parametrize("step", ["fold", "train", "evaluate"])
@pytest.mark.parametrize("fold", [1, MAX_FOLDS])
def test_a_fold_and_its_step_are_read_from_the_name_of_a_task(step: str, fold: int) -> None:
    name = name_fold_task(step, fold)
    assert parse_task_name(name) == TaskName(step, fold)
    assert find_event_task(ProgressEvent(StepName(step), fold=fold)) == name
    assert find_task(["root", name, "x"]) == name


def test_other_tasks_have_the_names_of_their_steps() -> None:
    assert parse_task_name("train") == TaskName("train")
    assert find_event_task(ProgressEvent(StepName.TRAIN)) == "train"
    assert find_task(["root", "condition-1"]) is None


def test_the_tasks_of_a_cross_validation_in_their_order() -> None:
    assert list_fold_tasks(2) == [
        *("tokenize", "fold-1", "train-fold-1", "evaluate-fold-1"),
        *("fold-2", "train-fold-2", "evaluate-fold-2", "summarize"),
    ]
