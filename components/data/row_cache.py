"""The rows of a small source are taken apart once, however often they are read.

What is kept has a bound, so that memory does not grow with the rows: a larger source is read anew each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from components.data.rows import MalformedRow, RowBatch, Rows

KEPT_BYTES = 1 << 25
VALUE_BYTES = 1 << 6
OF_KNOWN_SIZE = {str, int, float, bool, type(None)}
Blocks = list[RowBatch | MalformedRow]


def kept(
    rows: Callable[[Sequence[str]], Rows], most: int = KEPT_BYTES
) -> Callable[[Sequence[str]], Rows]:
    """`rows`, which come from memory when the same columns are read again, if they take up to about `most` bytes there.

    Python's strings take up to four bytes per character, of which one is counted. Only a reading that came to its end is kept,
    and none that holds anything but strings and plain numbers.
    """
    last: dict[tuple[str, ...], Blocks] = {}

    def noted(columns: tuple[str, ...]) -> Iterator[RowBatch | MalformedRow]:
        blocks: Blocks = []
        left: float = most
        for block in rows(columns).blocks:
            if left >= 0:
                left -= _bytes(block)
                blocks.append(block)
            if left < 0:
                blocks.clear()
            yield block
        if left >= 0:
            last.clear()
            last[columns] = blocks

    def read(columns: Sequence[str]) -> Rows:
        wanted = tuple(columns)
        return Rows(iter(last[wanted]) if wanted in last else noted(wanted))

    return read


def _bytes(block: RowBatch | MalformedRow) -> float:
    """What the block takes in memory, at a byte per character; infinite where a value has parts of its own."""
    if isinstance(block, MalformedRow):
        return VALUE_BYTES
    return sum(map(_column_bytes, block.columns))


def _column_bytes(column: Sequence[Any]) -> float:
    types = {*map(type, column)}
    if not types <= OF_KNOWN_SIZE:
        return math.inf
    strings = column if types == {str} else [value for value in column if isinstance(value, str)]
    return len(column) * VALUE_BYTES + sum(map(len, strings))
