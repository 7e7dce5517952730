"""Numbers as labels: which values are numbers, and which columns nothing can be learned from."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from components.data.labels import UnusableLabel
from components.data.labels.class_names import MISSING, NOT_A_NAME
from components.data.labels.numbers import (
    DECIMAL_COMMA,
    NOT_A_NUMBER,
    NOT_FINITE,
    TOO_LARGE,
    NumberStatistics,
    build_number_labels,
    parse_number,
)
from components.errors import DataError


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (" 3 ", 3.0),
        ("-0.5", -0.5),
        ("+1e3", 1000.0),
        (".25", 0.25),
        (7, 7.0),
        (Decimal("1.5"), 1.5),
        (2.5, 2.5),
    ],
)
def test_numbers(value: Any, number: float) -> None:
    assert parse_number(value) == number


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, MISSING),
        ("", MISSING),
        ("five", NOT_A_NUMBER),
        ("1_000", NOT_A_NUMBER),
        ("12 %", NOT_A_NUMBER),
        (True, NOT_A_NUMBER),
        ([3.5], NOT_A_NAME),
        ({"value": 3}, NOT_A_NAME),
        ("1,5", DECIMAL_COMMA),
        ("nan", NOT_FINITE),
        ("-Infinity", NOT_FINITE),
        (float("nan"), NOT_FINITE),
        (float("inf"), NOT_FINITE),
        ("1e999", TOO_LARGE),
        ("1e39", TOO_LARGE),
        (10**400, TOO_LARGE),
    ],
)
def test_what_is_no_number(value: Any, reason: str) -> None:
    found = parse_number(value)
    assert isinstance(found, UnusableLabel)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["Sports", "World", "3"], "'Sports', 'World', which are no numbers .1 numbers in 3 rows"),
        (["", None, None], "'price': most of its rows are no numbers .0 numbers in 3 rows"),
        (["2", "2.0", "x"], "all rows have the number 2; there is nothing to predict"),
    ],
    ids=["names of classes", "nothing", "a constant"],
)
def test_a_column_is_refused_for(values: list[Any], message: str) -> None:
    statistics = NumberStatistics()
    statistics.add_rows(values)
    with pytest.raises(DataError, match=message):
        build_number_labels(statistics, "a.csv, column 'price'")


def test_a_batch_is_encoded_at_once_unless_a_row_is_rejected() -> None:
    statistics = NumberStatistics()
    statistics.add_rows(["1", "2"])
    labels = build_number_labels(statistics, "")
    assert labels.encode_batch(["1", 2.5]) == [1.0, 2.5]
    assert labels.encode_batch(["1", "x"]) is None
