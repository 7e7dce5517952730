"""The label column of token shards: every kind of label is read as it was written."""

from __future__ import annotations

import numpy as np
import pytest

from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.artifacts.task.label_columns import create_label_column, read_label_columns
from components.errors import DataError

SETS = [(0, 2), (), (1,), (0, 1, 2)]
MATRIX = [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]]


def test_class_indices_are_int32() -> None:
    column = create_label_column("single_label")
    stored = [column.add([1, 0]), column.add(np.array([1, 1], np.int32))]
    labels = read_label_columns(stored, "single_label", 2)
    assert labels[:].dtype == np.int32
    assert labels[:].tolist() == [1, 0, 1, 1]
    assert (column.count_classes(), column.describe_task()) == ({0: 1, 1: 3}, SINGLE_LABEL)


def test_several_labels_are_read_as_a_matrix_of_the_rows_that_are_asked_for() -> None:
    column = create_label_column("multi_label")
    labels = read_label_columns([column.add(SETS[:1]), column.add(SETS[1:])], "multi_label", 3)
    assert len(labels) == 4
    assert labels[:].dtype == np.uint8
    assert labels[:].tolist() == MATRIX
    assert labels[1:3].tolist() == MATRIX[1:3]
    assert labels[np.array([3, 0])].tolist() == [MATRIX[3], MATRIX[0]]
    assert labels[:0].shape == (0, 3)
    assert column.count_classes() == {0: 2, 1: 2, 2: 2}


def test_what_was_read_can_be_written_again() -> None:
    column = create_label_column("multi_label")
    labels = read_label_columns([column.add(SETS)], "multi_label", 3)
    again = create_label_column("multi_label")
    assert again.add(labels[:]).to_pylist() == [list(indices) for indices in SETS]


def test_numbers_are_float64_and_their_mean_and_deviation_do_not_depend_on_the_batches() -> None:
    numbers = np.random.default_rng(5).normal(1e6, 3, 1000)
    column = create_label_column("regression")
    stored = [column.add(part.tolist()) for part in np.array_split(numbers, 7)]
    labels = read_label_columns(stored, "regression", 0)
    assert np.array_equal(labels[:], numbers)
    task = column.describe_task()
    assert task.scale == pytest.approx((numbers.mean(), numbers.std()), rel=1e-10)
    assert column.count_classes() == {}


def test_a_constant_cannot_be_learned() -> None:
    column = create_label_column("regression")
    column.add([2.5, 2.5])
    with pytest.raises(DataError, match=r"all training rows have the number 2\.5"):
        column.describe_task()


def test_only_a_regression_has_mean_and_deviation() -> None:
    assert TaskInfo(kind="multi_label").model_dump() == {"kind": "multi_label"}
    for wrong in ({"kind": "regression"}, {"kind": "multi_label", "mean": 0.0, "std": 1.0}):
        with pytest.raises(ValueError, match="a regression has mean and std"):
            TaskInfo.model_validate(wrong)


@pytest.mark.parametrize(
    ("mean", "std", "step"),
    [
        pytest.param(3.0, 1.0, None, id="usual"),
        pytest.param(0.0, 1e-9, None, id="no-mean"),
        pytest.param(-1e6, 1.0, None, id="limit"),
        pytest.param(1.7e9, 500.0, 128, id="seconds"),
        pytest.param(-1.0, 1e-8, 1.19e-7, id="negative"),
    ],
)
def test_numbers_that_float32_tells_apart_badly_are_noted(
    mean: float, std: float, step: float | None
) -> None:
    notes = TaskInfo(kind="regression", mean=mean, std=std).describe_rounding()
    assert len(notes) == (step is not None)
    if step is not None:
        assert float(np.spacing(np.float32(abs(mean)))) == pytest.approx(step, rel=0.01)
        assert f"which has steps of {step:g} there" in notes[0]
    assert SINGLE_LABEL.describe_rounding() == []
