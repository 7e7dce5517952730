"""Batches of rows on their way from a source, with the number and the line of each row.

Rows travel as columns (`RowBatch`), so that Python runs per batch what would cost time per row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from components.errors import DataError, shorten_value

MAX_BATCH_ROWS = 1000
MAX_BATCH_CHARACTERS = 1 << 22
MAX_LISTED_COLUMNS = 30


class Row(NamedTuple):
    """One row: number from 1 (header not counted), first line (0: no lines), values by column."""

    number: int
    line: int
    values: Sequence[Any]


class MalformedRow(NamedTuple):
    """A row that cannot be split into its columns, and the reason.

    `file` is the file of a source of several files; else it is empty.
    """

    number: int
    line: int
    reason: str
    file: str = ""


class RowBatch(NamedTuple):
    """Consecutive rows: number and first line of each row, and the values of each column.

    `file` is the file of a source of several files; else it is empty.
    """

    numbers: Sequence[int]
    lines: Sequence[int]
    columns: Mapping[str, Sequence[Any]]
    file: str = ""

    def slice(self, start: int, stop: int) -> RowBatch:
        """Return the rows from index `start` up to, and without, `stop`."""
        part = slice(start, stop)
        return RowBatch(
            self.numbers[part],
            self.lines[part],
            {column: values[part] for column, values in self.columns.items()},
            self.file,
        )

    def filter(self, mask: Sequence[bool]) -> RowBatch:
        """Return the rows where the mask is true."""
        return RowBatch(
            list(compress(self.numbers, mask)),
            list(compress(self.lines, mask)),
            {column: list(compress(values, mask)) for column, values in self.columns.items()},
            self.file,
        )

    def select(self, columns: Sequence[str]) -> RowBatch:
        """Return all rows with these columns only."""
        return self._replace(columns={column: self.columns[column] for column in columns})


class ExcludedRows(NamedTuple):
    """Rows that are left out on purpose, such as those outside of a time window: how many, why."""

    reason: str
    rows: int


RowStream = Iterator[RowBatch | MalformedRow | ExcludedRows]


class RowReader(Protocol):
    """Reads the rows of one source or of a stage behind it; can be read any number of times."""

    def read(self, columns: Sequence[str]) -> RowStream:
        """Stream these columns of every row, from the first row on.

        The stream raises DataError for a column that does not exist and for a damaged source.
        """
        ...


@dataclass(frozen=True)
class Source:
    """A source of rows: its URI, its reader, and the SHA-256 (hex) of its bytes.

    `class_names`, if the source has them, name the integer labels from 0 up. `splits` holds one
    reader for each split that the source itself defines; `reader` reads the one named `split`. A
    file defines none. `notes` are sentences about how the source is read, where that was found out
    and not configured. `files` maps names to local paths; `file_digests`, of a source of several
    files, to the SHA-256 of each, and then `sha256` is that of all digests.
    """

    uri: str
    reader: RowReader
    sha256: str
    class_names: tuple[str, ...] | None = None
    split: str | None = None
    splits: Mapping[str, RowReader] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    file_digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What messages call the source."""
        return self.uri if self.split is None else f"{self.uri} ({self.split})"

    def select_split(self, split: str) -> Source:
        """Return this source reading another of its splits; DataError if it has no such split."""
        if split not in self.splits:
            raise DataError(f"{self.uri}: has no split {split!r}; splits: {', '.join(self.splits)}")
        return replace(self, split=split, reader=self.splits[split])


def batch_rows(rows: Iterable[Row | MalformedRow], columns: Sequence[str]) -> RowStream:
    """Group rows, in order, into batches of up to MAX_BATCH_ROWS and about MAX_BATCH_CHARACTERS.

    The values of each row are those of `columns`, in this order.
    """
    gathered: list[Row] = []
    characters = 0
    for row in rows:
        if isinstance(row, Row):
            gathered.append(row)
            characters += sum(len(value) for value in row.values if isinstance(value, str))
            if len(gathered) < MAX_BATCH_ROWS and characters < MAX_BATCH_CHARACTERS:
                continue
        if gathered:
            yield _build_batch(gathered, columns)
            gathered, characters = [], 0
        if isinstance(row, MalformedRow):
            yield row
    if gathered:
        yield _build_batch(gathered, columns)


def _build_batch(rows: Sequence[Row], columns: Sequence[str]) -> RowBatch:
    numbers, lines, values = zip(*rows, strict=True)
    values_by_column = zip(*values, strict=True)
    return RowBatch(numbers, lines, dict(zip(columns, values_by_column, strict=True)))


def column_index(column: str, names: Sequence[str], source: str, hint: str = "") -> int:
    """Return the index of the one column with this name.

    Raises DataError, which lists the columns and ends with `hint`, if there is none or more than
    one.
    """
    found = [index for index, name in enumerate(names) if name == column]
    if len(found) == 1:
        return found[0]
    problem = (
        f"no column {column!r}" if not found else f"{len(found)} columns are called {column!r}"
    )
    listed = ", ".join(repr(shorten_value(name)) for name in names[:MAX_LISTED_COLUMNS])
    more = ", ..." if len(names) > MAX_LISTED_COLUMNS else ""
    raise DataError(
        f"{source}: {problem}; columns: {listed}{more}{hint} "
        "(options data.text, data.text_pair, data.label and data.time_column)"
    )
