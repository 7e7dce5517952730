"""What is read of long texts: the pieces of the beginning and the end, or of windows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from components.artifacts.vocabulary import Vocabulary
from components.config.model import CUT, LongTexts, ModelConfig
from components.model.text_windows import batch_by_windows, count_read_pieces, select_pieces
from components.model.tokenizer import WordPiece

VOCABULARY = Vocabulary(
    tokens=("[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz"), lower_case=True
)
CLS, SEP, FIRST = 2, 3, 4
COUNTS = [0, 1, 5, 6, 7, 9, 10, 11, 14, 23, 26]
WINDOWS = LongTexts(method="windows", overlap=2, max_windows=8)


def make_texts(counts: list[int]) -> list[str]:
    """Texts whose n-th piece is the n-th letter."""
    return [" ".join("abcdefghijklmnopqrstuvwxyz"[:count]) for count in counts]


def read_numbers(count: int, max_length: int, reading: LongTexts) -> list[list[int]]:
    """The numbers of the pieces of each window of one text."""
    selected = select_pieces(np.array([0, count]), max_length, reading)
    assert selected.windows.tolist() == [len(selected.lengths)]
    ends = np.cumsum(selected.lengths)[:-1]
    return [part.tolist() for part in np.split(selected.positions, ends)]


@pytest.mark.parametrize("reading", [LongTexts(method="head_tail"), WINDOWS])
@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_a_text_that_fits_is_read_as_it_is(count: int, reading: LongTexts) -> None:
    assert read_numbers(count, 10, reading) == [[*range(count)]]


def test_of_a_long_text_a_quarter_is_the_beginning_and_the_rest_the_end() -> None:
    reading = LongTexts(method="head_tail")
    assert read_numbers(20, 10, reading) == [[0, 1, 14, 15, 16, 17, 18, 19]]
    (read,) = read_numbers(900, 512, reading)  # the paper's 128 and 382
    assert read == [*range(128), *range(900 - 382, 900)]


def test_windows_are_full_evenly_spaced_and_end_with_the_text() -> None:
    assert read_numbers(20, 10, WINDOWS) == [
        [*range(8)],
        [*range(6, 14)],
        [*range(12, 20)],
    ]
    assert [part[0] for part in read_numbers(16, 10, WINDOWS)] == [0, 4, 8]
    assert [part[0] for part in read_numbers(9, 10, WINDOWS)] == [0, 1]


@pytest.mark.parametrize("overlap", [0, 1, 3, 4])
@pytest.mark.parametrize("max_windows", [2, 3, 64])
def test_no_piece_is_left_out_and_neighbours_share_the_overlap(
    overlap: int, max_windows: int
) -> None:
    reading = LongTexts(method="windows", overlap=overlap, max_windows=max_windows)
    for count in range(9, 120):
        windows = read_numbers(count, 10, reading)
        read = int(count_read_pieces(np.array(count), 10, reading))
        assert {piece for window in windows for piece in window} == {*range(read)}
        assert all(len(window) == 8 for window in windows)
        assert 2 <= len(windows) <= max_windows
        shared = [before[-1] + 1 - after[0] for before, after in itertools.pairwise(windows)]
        assert min(shared) >= overlap
        if read < count:
            assert len(windows) == max_windows
        else:  # one window less would not have been enough
            assert len(windows) == 2 or 8 + (len(windows) - 2) * (8 - overlap) < count


@pytest.mark.parametrize(
    "reading",
    [
        CUT,
        LongTexts(method="head_tail"),
        WINDOWS,
        LongTexts(method="windows", overlap=0, max_windows=2),
    ],
)
@pytest.mark.parametrize("max_length", [8, 11])
def test_shards_and_served_graph_have_the_same_ids(max_length: int, reading: LongTexts) -> None:
    wordpiece, texts = WordPiece(VOCABULARY), make_texts(COUNTS)
    rows = wordpiece.tokenize_rows(texts, max_length, reading)
    served = wordpiece(tf.constant(texts), max_length, reading)
    np.testing.assert_array_equal(served.values, rows.ids)
    np.testing.assert_array_equal(served.row_splits, rows.row_splits)
    assert rows.pieces.tolist() == COUNTS
    alone = [wordpiece.tokenize_flat([text], max_length, reading)[0] for text in texts]
    np.testing.assert_array_equal(np.concatenate(alone), rows.ids)


def test_a_row_has_its_windows_one_after_the_other_each_as_long_as_a_row() -> None:
    ids, splits = WordPiece(VOCABULARY).tokenize_flat(make_texts([9]), 8, WINDOWS)
    assert splits.tolist() == [0, 16]
    a, b = [CLS, *range(FIRST, FIRST + 6), SEP], [CLS, *range(FIRST + 3, FIRST + 9), SEP]
    assert ids.tolist() == [*a, *b]


def test_batches_have_at_most_so_many_windows_as_they_are_padded() -> None:
    def cut(windows: list[int]) -> list[list[int]]:
        order = np.arange(len(windows))
        return [part.tolist() for part in batch_by_windows(order, np.array(windows), 4)]

    assert cut([1] * 6) == [[0, 1, 2, 3], [4, 5]]
    assert cut([9, 3, 2, 2, 1, 1]) == [[0], [1], [2, 3], [4, 5]]
    assert cut([1, 1, 2, 2, 5]) == [[0, 1], [2, 3], [4]]
    assert cut([]) == []


def test_the_default_overlap_is_an_eighth_and_half_is_the_most() -> None:
    model = {"long_texts": "windows", "max_length": 64}
    assert ModelConfig.model_validate(model).long_text_reading.overlap == 8
    with pytest.raises(ValueError, match="window_overlap 32: at most 31, half of the word pieces"):
        ModelConfig.model_validate({**model, "window_overlap": 32})
    assert ModelConfig(window_overlap=500).long_text_reading == CUT
