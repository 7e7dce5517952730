"""Several labels per text: how values hold them, the classes, and why a row is rejected."""

from __future__ import annotations

from typing import Any

import pytest

from components.data.labels import UnusableLabel
from components.data.labels.class_names import MISSING, UNKNOWN
from components.data.labels.label_sets import (
    BLANK,
    LACKING,
    NESTED,
    NOT_BINARY,
    RECORD,
    WRITTEN_LIST,
    LabelSetFormat,
    LabelSetMap,
    LabelSetStatistics,
    build_label_sets,
)
from components.errors import DataError

LISTS = [["b", "a"], [], ["a"], ["c", "a", "c"]]
FIELDS = ["b|a", "", "a", "c | a|c|"]
COLUMNS = [(1, "1", 0), (0, "0", 0), ("0", True, "false"), ("TRUE", 1.0, "1.0")]


def build(values: list[Any], configured: tuple[str, ...] | None = None, **how: Any) -> LabelSetMap:
    statistics = LabelSetStatistics(format=LabelSetFormat(**how))
    statistics.add_rows(values)
    return build_label_sets(statistics, configured, None, "a.csv, column 'tags'")


@pytest.mark.parametrize(
    ("values", "how", "classes", "indices"),
    [
        pytest.param(LISTS, {}, ("a", "b", "c"), [(0, 1), (), (0,), (0, 2)], id="lists"),
        pytest.param(
            FIELDS,
            {"separator": "|"},
            ("a", "b", "c"),
            [(0, 1), (), (0,), (0, 2)],
            id="fields with a separator",
        ),
        pytest.param(
            COLUMNS,
            {"columns": ("z", "y", "x")},
            ("z", "y", "x"),
            [(0, 1), (), (1,), (0, 1, 2)],
            id="columns of 0 and 1",
        ),
        pytest.param(
            [[1, 10], [2], [10]], {}, ("1", "2", "10"), [(0, 2), (1,), (2,)], id="numbers in lists"
        ),
        pytest.param(["a", "b", ["a"]], {}, ("a", "b"), [(0,), (1,), (0,)], id="single names"),
    ],
)
def test_values_become_the_ascending_indices_of_their_different_labels(
    values: list[Any], how: dict[str, Any], classes: tuple[str, ...], indices: list[tuple[int, ...]]
) -> None:
    labels = build(values, **how)
    assert labels.classes == classes
    assert [labels.encode(value) for value in values] == indices
    assert labels.encode_batch(values) == indices


@pytest.mark.parametrize(
    ("value", "how", "reason"),
    [
        pytest.param(None, {}, MISSING, id="null"),
        pytest.param(float("nan"), {}, MISSING, id="nan"),
        pytest.param({"a": 1}, {}, RECORD, id="a record"),
        pytest.param([["a"], "b"], {}, NESTED, id="a nested list"),
        pytest.param(["a", None], {}, BLANK, id="null in the list"),
        pytest.param(["a", " "], {}, BLANK, id="a blank name in the list"),
        pytest.param(["a", "d"], {}, UNKNOWN, id="an unknown name in the list"),
        pytest.param("a|d", {"separator": "|"}, UNKNOWN, id="an unknown name in the field"),
        pytest.param("['a', 'b']", {"separator": ","}, WRITTEN_LIST, id="a list of Python"),
        pytest.param('["a"]', {}, WRITTEN_LIST, id="a list of JSON in a text"),
    ],
)
def test_a_row_is_rejected_for(value: Any, how: dict[str, Any], reason: str) -> None:
    labels = build(FIELDS if how else LISTS, ("a", "b", "c"), **{"separator": "|"} if how else {})
    found = LabelSetMap(LabelSetFormat(**how), labels.names).encode(value)
    assert isinstance(found, UnusableLabel)
    assert found.reason == reason
    assert labels.encode_batch(["a", {"x": 1}]) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [(2, NOT_BINARY), ("yes", NOT_BINARY), (0.5, NOT_BINARY), ("", LACKING), (None, LACKING)],
)
def test_a_column_says_0_or_1_and_the_wrong_one_is_named(value: Any, reason: str) -> None:
    found = build(COLUMNS, columns=("z", "y", "x")).encode((0, value, 1))
    assert isinstance(found, UnusableLabel)
    assert (found.reason, found.column) == (reason, "y")


@pytest.mark.parametrize(
    ("values", "how", "message"),
    [
        pytest.param(
            ["a|b", "b"], {}, r"'\|', such as 'a\|b'; set task.separator='\|'", id="none given"
        ),
        pytest.param(
            ["a;b", "b"],
            {"separator": "|"},
            r"no field holds the separator '\|'; the labels seem to be separated by ';'",
            id="another one",
        ),
        pytest.param(
            ["a", "b"], {"separator": "|"}, "leave out task.kind=multi_label", id="never found"
        ),
        pytest.param([["a"], []], {}, r"only one class \(a\)", id="one class"),
        pytest.param([[], []], {}, "no label at all", id="no labels"),
        pytest.param([(2, 3)], {"columns": ("x", "y")}, "no row says 0 or 1", id="no 0 and 1"),
    ],
)
def test_a_source_is_refused_for(values: list[Any], how: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build(values, **how)


def test_the_rarest_label_stands_for_a_row_in_stratified_splits() -> None:
    labels = build(LISTS)
    assert labels.choose_strata([(0, 1), (), (0, 1, 2)], {"a": 9, "b": 4, "c": 2}) == [1, 3, 2]


@pytest.mark.parametrize(
    ("values", "how", "note"),
    [
        pytest.param(LISTS, {}, None, id="several"),
        pytest.param([["a"], ["b"]], {}, "no row has more than one label: if a text", id="one"),
        pytest.param(
            [["a"], [], ["b"], []], {}, "than one label, and 2 have none: if a text", id="one-or-no"
        ),
        pytest.param([(0, 1), (1, 0)], {"columns": ("x", "y")}, "leave out", id="columns"),
    ],
)
def test_rows_that_have_one_label_each_are_noted(
    values: list[Any], how: dict[str, Any], note: str | None
) -> None:
    statistics = LabelSetStatistics(format=LabelSetFormat(**how))
    statistics.add_rows(values)
    notes = statistics.list_notes()
    assert len(notes) == (note is not None)
    assert (note or "") in "".join(notes)


@pytest.mark.parametrize(
    ("values", "how"),
    [
        pytest.param([[0, 1, 1], [1, 0, 0]], {}, id="numbers"),
        pytest.param([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0]], {}, id="fractional numbers"),
        pytest.param([[True, False, True]], {}, id="truth values"),
        pytest.param(["0|1|1", "1|0|0"], {"separator": "|"}, id="fields"),
        pytest.param([[0, 1, 1]], {"configured": ("x", "y", "z")}, id="configured classes"),
    ],
)
def test_lists_that_say_0_or_1_of_each_label_are_not_read_as_labels_0_and_1(
    values: list[Any], how: dict[str, Any]
) -> None:
    with pytest.raises(DataError, match="lists that say 0 or 1 of each label, such as"):
        build(values, **how)


def test_lists_that_repeat_a_label_may_hold_0_and_1() -> None:
    assert build([[1, 1], [0], [2, 0]]).classes == ("0", "1", "2")
    assert build([["1", "1"], ["0"]], ("0", "1")).encode(["1", "1"]) == (1,)
