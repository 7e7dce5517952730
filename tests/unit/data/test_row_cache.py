"""A small source is read once, a large one as often as it is asked for, and both give the same rows every time."""

import pytest

from components.data.row_cache import kept
from components.data.rows import MalformedRow, RowBatch, Rows

BLOCKS: list[RowBatch | MalformedRow] = [
    RowBatch(range(1, 3), range(1, 3), [["Café", "tea"], [1, None]]),
    MalformedRow(3, 3, "torn"),
    RowBatch((4,), (5,), [["milk"], [2.5]]),
]


class Counted:
    """A source that counts its readings, and the blocks that were taken from it."""

    def __init__(self, blocks=BLOCKS):
        self.blocks, self.readings, self.taken = blocks, 0, 0

    def __call__(self, columns):
        self.readings += 1
        return Rows(self._each())

    def _each(self):
        for block in self.blocks:
            self.taken += 1
            yield block


def test_a_second_reading_comes_from_memory():
    source = Counted()
    rows = kept(source)
    assert [[*rows(["text", "label"]).blocks] for _ in range(3)] == [BLOCKS] * 3
    assert source.readings == 1


def test_each_row_comes_out_again_when_read_row_by_row():
    rows = kept(Counted())
    assert [*rows(["text", "label"])] == [*rows(["text", "label"])] == [*Rows(iter(BLOCKS))]


def test_other_columns_are_another_reading():
    source = Counted()
    rows = kept(source)
    for columns in (["text"], ["text", "label"], ["text", "label"]):
        assert [*rows(columns).blocks] == BLOCKS
    assert source.readings == 2


@pytest.mark.parametrize("most", [0, 300])
def test_a_source_over_the_bound_is_read_again(most):
    source = Counted()
    rows = kept(source, most)
    assert [[*rows(["text"]).blocks] for _ in range(2)] == [BLOCKS] * 2
    assert source.readings == 2


@pytest.mark.parametrize(("most", "readings"), [(20_000, 2), (21_000, 1)])
def test_the_bound_counts_characters_and_what_each_value_takes(most, readings):
    source = Counted([RowBatch((1, 2), (1, 2), [["a" * 10_000, "b" * 10_000], [1, None]])])
    rows = kept(source, most)
    assert [*rows(["text", "label"]).blocks] == [*rows(["text", "label"]).blocks]
    assert source.readings == readings


def test_a_reading_that_was_left_is_not_kept():
    source = Counted()
    rows = kept(source)
    next(rows(["text"]).blocks)
    assert [*rows(["text"]).blocks] == BLOCKS
    assert source.readings == 2


def test_blocks_come_as_they_are_read():
    source = Counted()
    next(kept(source)(["text"]).blocks)
    assert source.taken == 1


def test_values_with_parts_of_their_own_are_not_kept():
    source = Counted([RowBatch((1,), (1,), [[["a list"] * 1000]])])
    rows = kept(source)
    assert [*rows(["text"]).blocks] == [*rows(["text"]).blocks]
    assert source.readings == 2
