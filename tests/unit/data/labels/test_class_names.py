"""Labels by name and by number, the classes that are found, and the reasons for rejected labels."""

import pytest

from components.data.labels.class_names import (
    FRACTIONAL,
    MISSING,
    NEGATIVE,
    NOT_A_NAME,
    OUT_OF_RANGE,
    UNKNOWN,
    ClassStatistics,
    build_label_map,
    parse_integer,
)
from components.errors import DataError


def map_labels(values, listed=None, named=None):
    statistics = ClassStatistics()
    for value in values:
        statistics.rows += 1
        statistics.add_label(value)
    return build_label_map(statistics, listed, named, "a.csv, column 'label'")


@pytest.mark.parametrize(
    ("values", "listed", "named", "classes", "indices"),
    [
        pytest.param(
            ["b", "a", "b"], None, None, ("a", "b"), {"b": 1, " a ": 0}, id="names-sorted"
        ),
        pytest.param(
            ["10", "9", "2"],
            None,
            None,
            ("2", "9", "10"),
            {"2": 0, "9": 1, 10: 2},
            id="numbers-by-value",
        ),
        pytest.param(
            [1.0, float("nan"), 2.0], None, None, ("1", "2"), {1.0: 0, 2: 1}, id="whole-floats"
        ),
        pytest.param(
            [True, False], None, None, ("false", "true"), {True: 1, False: 0}, id="booleans"
        ),
        pytest.param(
            ["1", "-1", "0"], None, None, ("-1", "0", "1"), {"-1": 0, -1: 0, "1": 2}, id="negative"
        ),
        pytest.param(
            ["101", "007", "012"], None, None, ("007", "012", "101"), {"007": 0}, id="zero-padded"
        ),
        pytest.param(
            ["1.5", "0.5", "1"], None, None, ("0.5", "1", "1.5"), {1.5: 2, "1": 1}, id="fractional"
        ),
        pytest.param(["1E5", "2e3"], None, None, ("2e3", "1E5"), {"1E5": 1}, id="exponents"),
        pytest.param(
            ["1", "1.0", "01"], None, None, ("01", "1", "1.0"), {"1.0": 2}, id="as-written"
        ),
        pytest.param(["0", "1"], ("x", "y"), None, ("x", "y"), {"0": 0, 1: 1}, id="listed-from-0"),
        pytest.param(["1", "2"], ("x", "y"), None, ("x", "y"), {"1": 0, 2: 1}, id="listed-from-1"),
        pytest.param(
            ["1"], ("x", "y"), None, ("x", "y"), {"1": 0, "2": 1}, id="listed-from-1-first-only"
        ),
        pytest.param(
            ["1", "oops", "2"],
            ("x", "y"),
            None,
            ("x", "y"),
            {"1": 0, "2": 1},
            id="junk-does-not-decide",
        ),
        pytest.param(["y", "x"], ("x", "y"), None, ("x", "y"), {"y": 1}, id="listed-names"),
        pytest.param(
            ["1", "2"], ("2", "1"), None, ("2", "1"), {"1": 1, "2": 0}, id="numbers-that-are-names"
        ),
        pytest.param(
            ["-1", "0", "1"],
            ("-1", "0", "1"),
            None,
            ("-1", "0", "1"),
            {-1: 0, "1": 2},
            id="negative-names",
        ),
        pytest.param(
            [0, 1],
            None,
            ("World", "Sports"),
            ("World", "Sports"),
            {0: 0, 1: 1},
            id="named-by-the-source",
        ),
        pytest.param(
            [0, 1],
            ("u", "v"),
            ("World", "Sports"),
            ("u", "v"),
            {0: 0, 1: 1},
            id="listed-wins-over-the-source",
        ),
    ],
)
def test_labels_become_indices(values, listed, named, classes, indices):
    labels = map_labels(values, listed, named)
    assert labels.classes == classes
    assert {value: labels.class_index_or_error(value) for value in indices} == indices


NUMBERED = (["1", "2", "3"], ("x", "y", "z"))


@pytest.mark.parametrize(
    ("values", "listed", "label", "reason"),
    [
        pytest.param(*NUMBERED, "4", OUT_OF_RANGE, id="above"),
        pytest.param(*NUMBERED, "0", OUT_OF_RANGE, id="zero-where-1-is-first"),
        pytest.param(*NUMBERED, "-1", NEGATIVE, id="negative"),
        pytest.param(*NUMBERED, "1.5", FRACTIONAL, id="fractional"),
        pytest.param(*NUMBERED, 1.5, FRACTIONAL, id="fractional-float"),
        pytest.param(*NUMBERED, "1e400", FRACTIONAL, id="not-finite"),
        pytest.param(*NUMBERED, "x", UNKNOWN, id="a-name-among-numbers"),
        pytest.param(*NUMBERED, "", MISSING, id="empty"),
        pytest.param(*NUMBERED, None, MISSING, id="none"),
        pytest.param(*NUMBERED, float("nan"), MISSING, id="nan"),
        pytest.param(["x", "y"], ("x", "y"), "X", UNKNOWN, id="other-case"),
        pytest.param(["x", "y"], ("x", "y"), "1", UNKNOWN, id="a-number-among-names"),
        pytest.param(["2", "9", "9"], None, "02", UNKNOWN, id="another-way-to-write-a-number"),
        pytest.param(["0", "1", "1", "n/a"], None, "n/a", UNKNOWN, id="junk-is-no-found-class"),
        pytest.param(
            ["a", "b", "\udcff"], None, "\udcff", UNKNOWN, id="not-utf8-is-no-found-class"
        ),
        pytest.param(["a", "b"], None, ["a"], NOT_A_NAME, id="list"),
    ],
)
def test_refused_labels(values, listed, label, reason):
    assert map_labels(values, listed).class_index_or_error(label) == reason


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(
            [f"text {i}" for i in range(1005)],
            "more than 1000 different values in 1005 rows",
            id="free-text",
        ),
        pytest.param(
            [f"text {i}" for i in range(50)],
            "50 different values in 50 rows, so this is no class label",
            id="free-text-few-rows",
        ),
        pytest.param(
            [f"0.{i}" for i in range(1, 50)], "49 different values in 49 rows", id="fractions"
        ),
        pytest.param(["a", "a"], r"only one class \(a\)", id="one-class"),
        pytest.param(["", None], "no label at all", id="none"),
    ],
)
def test_columns_without_classes(values, message):
    with pytest.raises(DataError, match=f"a.csv, column 'label': .*{message}"):
        map_labels(values)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("3", 3),
        ("+3", 3),
        ("3.0", 3),
        ("-2", -2),
        ("3.5", None),
        ("x", None),
        ("٣", None),
        ("1_0", None),
    ],
)
def test_integers_are_parsed(name, number):
    assert parse_integer(name) == number


@pytest.mark.parametrize(
    ("values", "has_note"),
    [
        pytest.param([f"{number / 10}" for number in range(40)], True, id="ratings"),
        pytest.param([number / 10 for number in range(40)], True, id="floats"),
        pytest.param([f"{number}.5" for number in range(20)], False, id="few"),
        pytest.param([str(number) for number in range(40)], False, id="integers"),
        pytest.param([f"v{number / 10}" for number in range(40)], False, id="names"),
    ],
)
def test_many_classes_with_decimals_are_noted_as_a_possible_regression(values, has_note) -> None:
    statistics = ClassStatistics()
    statistics.add_rows(values * 2)
    assert ["task.kind=regression" in note for note in statistics.list_notes()] == [True] * has_note
