"""Strata of folds: the rarest label of each text, and which labels are too rare for the folds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from components.artifacts.task.label_columns import LabelSets
from components.cross_validation.fold_strata import (
    BATCH_ROWS,
    assign_folds_by_labels,
    choose_rarest_labels,
    count_texts_by_label,
)
from components.data.splits import hash_texts
from components.errors import ConfigError

CLASSES = ("often", "rare", "seldom")
ROWS = [[0], [0, 1], [0, 2], [], [2], [0, 1, 2], [0]]


def make_labels(rows: list[list[int]]) -> LabelSets:
    return LabelSets([pa.array(rows, pa.list_(pa.int32()))], len(CLASSES))


def test_the_rarest_label_of_a_text_is_its_stratum_and_none_is_one_of_its_own() -> None:
    labels = [make_labels(ROWS[:3]), make_labels(ROWS[3:])]
    assert choose_rarest_labels(labels, np.array([5, 2, 3])).tolist() == [0, 1, 2, 3, 2, 1, 0]


def test_equal_texts_count_once_for_each_of_their_labels() -> None:
    hashes = hash_texts(["a", "b", "c", "d", "A", "a", "e"])
    labels = [make_labels(ROWS[:4]), make_labels(ROWS[4:])]
    assert count_texts_by_label(hashes, labels, 3).tolist() == [4, 2, 2]


def test_folds_have_equal_shares_of_the_texts_of_each_rarest_label() -> None:
    rows = [ROWS[number % len(ROWS)] for number in range(BATCH_ROWS + 900)]
    hashes = hash_texts([f"text {number}" for number in range(len(rows))])
    labels = [make_labels(rows[:100]), make_labels(rows[100:])]
    assigned = assign_folds_by_labels(hashes, labels, "multi_label", CLASSES, 5)
    strata = np.array([1 if 1 in row else row[-1] if row else 3 for row in rows])
    for stratum in range(4):
        sizes = np.bincount(assigned[strata == stratum], minlength=5)
        assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize(
    ("kind", "rows", "message"),
    [
        pytest.param(
            "multi_label",
            [[0], [0, 1], [0, 1], [2], [0, 2], [2]],
            r"3 folds with data\.stratify need 3 .* 'rare' has 2; use at most 2 folds, more rows",
            id="rare",
        ),
        pytest.param(
            "multi_label", [[0], [0, 1], [0]], r"'rare' has 1; use more rows, or", id="once"
        ),
        pytest.param("regression", [[0]], r"task\.kind=regression has none", id="numbers"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(
    kind: str, rows: list[list[int]], message: str
) -> None:
    """Fault K4."""
    hashes = hash_texts([str(number) for number in range(len(rows))])
    with pytest.raises(ConfigError, match=message):
        assign_folds_by_labels(hashes, [make_labels(rows)], kind, CLASSES, 3)  # type: ignore[arg-type]
