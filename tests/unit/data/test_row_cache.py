"""A small source is parsed once, a large one in every pass; both yield the same rows."""

import pytest

from components.data.row_cache import CachedRows
from components.data.rows import MalformedRow, RowBatch
from tests.support.rows import list_rows

BATCHES: list[RowBatch | MalformedRow] = [
    RowBatch(range(1, 3), range(1, 3), {"text": ["Café", "tea"], "label": [1, None]}),
    MalformedRow(3, 3, "torn"),
    RowBatch((4,), (5,), {"text": ["milk"], "label": [2.5]}),
]


class Counted:
    """A source that counts its readings, and the batches that were taken from it."""

    def __init__(self, batches=BATCHES):
        self.batches, self.readings, self.batches_read = batches, 0, 0

    def read(self, columns):
        self.readings += 1
        return self._iter_batches()

    def _iter_batches(self):
        for batch in self.batches:
            self.batches_read += 1
            yield batch


def test_a_second_reading_comes_from_memory():
    source = Counted()
    rows = CachedRows(source)
    assert [[*rows.read(["text", "label"])] for _ in range(3)] == [BATCHES] * 3
    assert source.readings == 1


def test_cached_rows_come_out_again_one_by_one():
    rows = CachedRows(Counted())
    first, second = (list_rows(rows.read(["text", "label"])) for _ in range(2))
    assert first == second == list_rows(iter(BATCHES))
    assert [row.number for row in second] == [1, 2, 3, 4]


def test_other_columns_are_another_reading():
    source = Counted()
    rows = CachedRows(source)
    for columns in (["text"], ["text", "label"], ["text", "label"]):
        assert [*rows.read(columns)] == BATCHES
    assert source.readings == 2


@pytest.mark.parametrize("most", [0, 300])
def test_a_source_over_the_bound_is_read_again(most):
    source = Counted()
    rows = CachedRows(source, most)
    assert [[*rows.read(["text"])] for _ in range(2)] == [BATCHES] * 2
    assert source.readings == 2


@pytest.mark.parametrize(("most", "readings"), [(20_000, 2), (21_000, 1)])
def test_the_bound_counts_characters_and_what_each_value_takes(most, readings):
    source = Counted(
        [RowBatch((1, 2), (1, 2), {"text": ["a" * 10_000, "b" * 10_000], "label": [1, None]})]
    )
    rows = CachedRows(source, most)
    assert [*rows.read(["text", "label"])] == [*rows.read(["text", "label"])]
    assert source.readings == readings


def test_a_reading_that_was_left_is_not_kept():
    source = Counted()
    rows = CachedRows(source)
    next(rows.read(["text"]))
    assert [*rows.read(["text"])] == BATCHES
    assert source.readings == 2


def test_batches_come_as_they_are_read():
    source = Counted()
    next(CachedRows(source).read(["text"]))
    assert source.batches_read == 1


def test_values_with_parts_of_their_own_are_not_kept():
    source = Counted([RowBatch((1,), (1,), {"text": [["a list"] * 1000]})])
    rows = CachedRows(source)
    assert [*rows.read(["text"])] == [*rows.read(["text"])]
    assert source.readings == 2
