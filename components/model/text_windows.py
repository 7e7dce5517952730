"""Which word pieces of a long text the model reads, and in which windows.

A window is a row of its own for the encoder: [CLS], pieces, [SEP]. A text that fits into one has
one window. A longer one, read in windows, has as few of them as share at least `overlap` pieces
with their neighbours. All have `max_length` tokens and they are evenly spaced: the last one ends
with the text, and is no short remainder with as much weight as the others.

The windows of a text follow each other in one row of ids. So a row longer than `max_length` is a
multiple of it, and wherever only ids are passed on they tell the windows: token shards, batches,
scorings.

One formula serves NumPy and TensorFlow: `library` is whichever has the arrays, integers of 64 bits.
Imports no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from components.config.model import WINDOW_SPECIAL_TOKENS, LongTexts

HEAD_DIVISOR = 4
"""Of the pieces that are read by head_tail, a quarter is the text's beginning: 128 of 510, the best
split of Sun et al. 2019 ("How to Fine-Tune BERT for Text Classification?", section 5.3.1)."""


class SelectedPieces(NamedTuple):
    """The pieces that are read: of each text the number of windows, of each window that of its
    pieces, and where each piece is among those of all texts."""

    windows: Any
    lengths: Any
    positions: Any


def select_pieces(
    row_splits: Any, max_length: int, reading: LongTexts, library: Any = np
) -> SelectedPieces:
    """What is read of texts whose pieces are separated at `row_splits`, [texts + 1]."""
    starts, counts = row_splits[:-1], row_splits[1:] - row_splits[:-1]
    space = max_length - WINDOW_SPECIAL_TOKENS
    if reading.method == "head_tail":
        lengths = library.minimum(counts, space)
        numbers = _number_within(lengths, library)
        gaps = library.repeat(counts - lengths, lengths)
        is_tail = numbers >= (space + HEAD_DIVISOR // 2) // HEAD_DIVISOR
        positions = library.repeat(starts, lengths) + numbers
        positions += library.where(is_tail, gaps, library.zeros_like(gaps))
        return SelectedPieces(library.ones_like(counts), lengths, positions)
    windows = count_windows(counts, max_length, reading, library)
    numbers, last = _number_within(windows, library), library.repeat(windows - 1, windows)
    behind = library.repeat(count_read_pieces(counts, max_length, reading, library), windows)
    first = numbers * (behind - space) // library.maximum(last, 1)
    lengths = library.minimum(behind, space)
    positions = library.repeat(library.repeat(starts, windows) + first, lengths)
    return SelectedPieces(windows, lengths, positions + _number_within(lengths, library))


def list_token_pieces(pieces: int, max_length: int, reading: LongTexts) -> npt.NDArray[np.int64]:
    """The number of the piece that each token of a text's row is; -1 for [CLS] and [SEP]."""
    selected = select_pieces(np.array([0, pieces]), max_length, reading)
    windows = np.split(selected.positions, np.cumsum(selected.lengths)[:-1])
    return np.concatenate([np.concatenate([[-1], window, [-1]]) for window in windows])


def count_windows(counts: Any, max_length: int, reading: LongTexts, library: Any = np) -> Any:
    """The windows of texts of so many pieces, integers [texts]."""
    stride = max_length - WINDOW_SPECIAL_TOKENS - reading.overlap
    needed = (counts - reading.overlap + stride - 1) // stride
    return library.minimum(library.maximum(needed, 1), reading.max_windows)


def count_read_pieces(counts: Any, max_length: int, reading: LongTexts, library: Any = np) -> Any:
    """How many pieces are read of texts of so many, integers [texts]; shared ones count once."""
    space = max_length - WINDOW_SPECIAL_TOKENS
    stride = space - reading.overlap
    return library.minimum(counts, space + (reading.max_windows - 1) * stride)


def count_row_windows(lengths: Any, max_length: int) -> Any:
    """The windows of rows of so many tokens, integers [rows]."""
    return -(-lengths // max_length)


def batch_by_windows(
    order: npt.NDArray[Any], windows: npt.NDArray[Any], batch_size: int
) -> Iterator[npt.NDArray[Any]]:
    """Rows in batches of at most `batch_size` windows, counted as a batch is padded, or of one row.

    `order` has row numbers by rising or falling length, `windows` those of each of them. So memory
    does not grow with the windows of a text.
    """
    start = 0
    while start < len(order):
        part = windows[start : start + batch_size]
        padded = np.maximum.accumulate(part) * np.arange(1, len(part) + 1)
        stop = start + max(1, int(np.searchsorted(padded, batch_size, side="right")))
        yield order[start:stop]
        start = stop


def _number_within(counts: Any, library: Any) -> Any:
    """0, 1, ... within each group of so many: [3, 1, 2] -> [0, 1, 2, 0, 0, 1]."""
    before = library.repeat(library.cumsum(counts) - counts, counts)
    return library.cumsum(library.ones_like(before)) - 1 - before
