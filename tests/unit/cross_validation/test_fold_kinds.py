"""The shards of a fold with several labels per text, and with a number per text."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts.token_shards import open_shards
from components.config.task import TaskKind
from components.cross_validation import fold_step
from components.errors import DataError
from tests.support.cross_validation.fold_shards import Row, make_shards

SETS: tuple[tuple[int, ...], ...] = ((0,), (), (0, 1), (1,), (0,))


def make_rows(kind: TaskKind, prefix: str, count: int) -> list[Row]:
    """Different texts whose labels follow from their numbers."""
    if kind == "multi_label":
        return [(f"{prefix} {number}", SETS[number % 5]) for number in range(count)]
    return [(f"{prefix} {number}", number / 2 - 3) for number in range(count)]


def read_labels(directory: Path, split: Any) -> dict[Any, Any]:
    reader = open_shards(directory).open_split(split)
    labels = reader.read_labels()[:]
    if labels.ndim == 2:
        labels = [tuple(np.flatnonzero(row).tolist()) for row in labels]
    return dict(zip(reader.read_texts(range(len(reader))), labels, strict=True))


@pytest.mark.parametrize(
    ("kind", "stratify"),
    [
        pytest.param("multi_label", False, id="labels"),
        pytest.param("multi_label", True, id="stratified-labels"),
        pytest.param("regression", False, id="numbers"),
    ],
)
def test_each_row_is_held_out_once_with_its_labels(
    tmp_path: Path, kind: TaskKind, stratify: bool
) -> None:
    train, validation = make_rows(kind, "train", 60), make_rows(kind, "validation", 20)
    whole = make_shards(
        tmp_path / "shards",
        {"train": train, "validation": validation, "test": train[:1]},
        kind=kind,
    )
    held_out: dict[Any, Any] = {}
    for fold in (1, 2, 3):
        content = fold_step.run(whole, 3, fold, tmp_path / f"{fold}", stratify=stratify)
        test = read_labels(tmp_path / f"{fold}", "test")
        assert not held_out.keys() & test.keys()
        held_out |= test
        assert content.task.kind == kind
        assert open_shards(tmp_path / f"{fold}").content == content
        rest = [label for text, label in train if text not in test]
        if kind == "regression":
            assert content.task.mean == pytest.approx(statistics.fmean(rest))
            assert content.task.std == pytest.approx(statistics.pstdev(rest))
        else:
            assert content.splits["train"].class_counts == {
                name: sum(index in label for label in rest)
                for index, name in enumerate(("calm", "loud"))
            }
        if stratify:
            assert len(test) in (26, 27, 28)
            assert sum(not labels for labels in test.values()) in (5, 6)
    assert held_out == dict([*train, *validation])


@pytest.mark.parametrize(
    ("kind", "label", "message"),
    [
        pytest.param(
            "multi_label", (), r"fold \d of 2 leaves training rows without any label", id="labels"
        ),
        pytest.param("regression", 4.5, "all training rows have the number 4.5", id="numbers"),
    ],
)
def test_training_rows_that_teach_nothing_are_refused(
    tmp_path: Path, kind: TaskKind, label: Any, message: str
) -> None:
    """Fault K4."""
    different = (0, 1) if kind == "multi_label" else 1.0
    train = [(f"t {number}", label) for number in range(20)]
    whole = make_shards(
        tmp_path / "shards",
        {"train": [*train, ("other", different)], "validation": [("v", label), ("w 1", label)]},
        kind=kind,
    )
    with pytest.raises(DataError, match=message):
        for fold in (1, 2):
            fold_step.run(whole, 2, fold, tmp_path / f"{fold}")
