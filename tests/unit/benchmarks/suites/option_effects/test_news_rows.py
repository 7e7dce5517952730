"""Rows that are drawn from AG News' format."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.suites.option_effects.news_rows import NewsRow, draw_rows, read_rows, write_rows

ROWS = [NewsRow(str(number % 4 + 1), f"title {number}", 'a "text"') for number in range(40)]


def test_each_class_has_as_many_different_rows_as_wanted() -> None:
    drawn = draw_rows(ROWS, [5, 4, 3, 1], seed=1)
    assert len(set(drawn)) == 13
    assert Counter(row.label for row in drawn) == {"1": 5, "2": 4, "3": 3, "4": 1}


def test_the_seed_decides_which_rows_are_drawn() -> None:
    drawn = [draw_rows(ROWS, [5, 5, 5, 1], seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) != set(drawn[2])


def test_a_class_with_too_few_rows_is_named() -> None:
    with pytest.raises(ValueError, match="Sports has 10 rows, and 11 are needed"):
        draw_rows(ROWS, [1, 11, 1, 1], seed=1)


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert read_rows(write_rows(tmp_path / "new" / "rows.csv", ROWS)) == ROWS
