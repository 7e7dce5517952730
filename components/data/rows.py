"""Rows on their way from a source: each with its number and its line, in blocks of columns.

What Python does once per block costs nothing per row; what must be done row by row still can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from components.errors import DataError

MAX_BATCH_ROWS = 1000
MAX_BATCH_CHARACTERS = 1 << 22


class Row(NamedTuple):
    """One row: its number (from 1, the header not counted), its first line in the file (0: no lines) and the columns' values."""

    number: int
    line: int
    values: Sequence[Any]


class MalformedRow(NamedTuple):
    """A row whose columns cannot be told apart, and why."""

    number: int
    line: int
    reason: str


class RowBatch(NamedTuple):
    """Rows that follow each other, by column: each row's number and first line, and a sequence of values per column."""

    numbers: Sequence[int]
    lines: Sequence[int]
    columns: Sequence[Sequence[Any]]

    def rows(self) -> Iterator[Row]:
        """The rows, one by one."""
        for number, line, *values in zip(self.numbers, self.lines, *self.columns, strict=True):
            yield Row(number, line, values)


@dataclass(frozen=True)
class Rows:
    """A stream of rows that can be read once: through `blocks`, or row by row by iterating."""

    blocks: Iterator[RowBatch | MalformedRow]

    def __iter__(self) -> Iterator[Row | MalformedRow]:
        for block in self.blocks:
            if isinstance(block, MalformedRow):
                yield block
            else:
                yield from block.rows()


def batch_rows(rows: Iterable[Row | MalformedRow]) -> Iterator[RowBatch | MalformedRow]:
    """The same rows in the same order, up to `ROWS_AT_ONCE` and about `CHARACTERS_AT_ONCE` in a block."""
    gathered: list[Row] = []
    characters = 0
    for row in rows:
        if isinstance(row, Row):
            gathered.append(row)
            characters += sum(len(value) for value in row.values if isinstance(value, str))
            if len(gathered) < MAX_BATCH_ROWS and characters < MAX_BATCH_CHARACTERS:
                continue
        if gathered:
            yield _block(gathered)
            gathered, characters = [], 0
        if isinstance(row, MalformedRow):
            yield row
    if gathered:
        yield _block(gathered)


def _block(rows: Sequence[Row]) -> RowBatch:
    numbers, lines, values = zip(*rows, strict=True)
    return RowBatch(numbers, lines, list(zip(*values, strict=True)))


def column_index(column: str, names: Sequence[str], name: str, hint: str = "") -> int:
    """The column's index among the names; DataError, with the names and the hint, if it is not there or there twice."""
    found = [index for index, other in enumerate(names) if other == column]
    if len(found) == 1:
        return found[0]
    problem = (
        f"no column {column!r}" if not found else f"{len(found)} columns are called {column!r}"
    )
    listed = ", ".join(
        repr(other if len(other) <= 40 else f"{other[:40]}...") for other in names[:30]
    )
    raise DataError(
        f"{name}: {problem}; columns: {listed}{', ...' if len(names) > 30 else ''}{hint} (options data.text, data.label and data.time)"
    )
