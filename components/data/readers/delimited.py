"""CSV/TSV reader, equivalent to the csv module, with a fast path for fully quoted text.

A chunk in which only delimiters and line ends stand outside of quotes needs no parser: splitting
it at the quotes yields its columns, several times as fast. Any other chunk goes through the csv
module, together with as many of the next chunks as its last row needs.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from operator import itemgetter
from pathlib import Path

from components.data.readers.dialect import Dialect
from components.data.readers.text_chunks import (
    MAX_LINE_CHARACTERS,
    Chunk,
    count_line_breaks,
    open_chunks,
)
from components.data.rows import (
    MAX_BATCH_CHARACTERS,
    MAX_BATCH_ROWS,
    MalformedRow,
    Row,
    RowBatch,
    RowStream,
    batch_rows,
    column_index,
)
from components.errors import DataError

LINE_ENDS = {"\n", "\r\n", "\r"}
UNBALANCED_QUOTES = "quotes that do not match"
_WRONG_FIELD_COUNT = re.compile(r"(\d+) fields? instead of (\d+)")
_MAX_NAMED_FIELD_COUNT = 1000


@dataclass(frozen=True)
class DelimitedReader:
    """Reads a CSV or TSV file; all values are strings, blank lines are not rows.

    Without a header row (`header`) the columns are called 0, 1, ... `encoding` None: UTF-8, or what
    the byte order mark says.
    """

    path: Path
    name: str
    dialect: Dialect
    header: bool
    encoding: str | None = None

    def read(self, columns: Sequence[str]) -> RowStream:
        """Stream the columns; DataError for an empty file and a first row that cannot be parsed."""
        csv.field_size_limit(MAX_LINE_CHARACTERS)
        with open_chunks(self.path, self.name, self.encoding) as chunks:
            parser = _Parser(chunks, self.dialect)
            line, first = parser.first_row(self.name)
            names = first if self.header else [str(index) for index in range(len(first))]
            indices = {
                column: column_index(column, names, self.name, self._hint) for column in columns
            }
            number = 1
            if not self.header:
                yield RowBatch(
                    (1,), (line,), {column: (first[index],) for column, index in indices.items()}
                )
                number = 2
            yield from _read_batches(parser, number, indices, len(names))

    @property
    def _hint(self) -> str:
        return (
            "; if the first row is data, set data.header to false"
            if self.header
            else "; data.header is false, so columns are numbered"
        )


def _read_batches(
    parser: _Parser, number: int, indices: Mapping[str, int], width: int
) -> RowStream:
    """Yield the columns at `indices` of all further rows, which have `width` fields.

    `number` is that of the first of them.
    """
    while True:
        line = parser.line
        fields = parser.next_quoted_columns(width)
        if fields is not None:
            count = len(fields[0])
            lines = _line_numbers(zip(*fields, strict=True), count, line, parser.line)
            yield RowBatch(
                range(number, number + count),
                lines[:-1],
                {column: fields[index] for column, index in indices.items()},
            )
            number += count
            continue
        rows, malformed = parser.next_rows()
        if not rows and not malformed:
            return
        lines = _line_numbers(rows, len(rows), line, None if malformed else parser.line)
        if {*map(len, rows)} == {width}:
            yield RowBatch(
                range(number, number + len(rows)),
                lines[:-1],
                {column: [*map(itemgetter(index), rows)] for column, index in indices.items()},
            )
        else:
            yield from batch_rows(
                _rows_from_fields(rows, lines, number, [*indices.values()], width), [*indices]
            )
        number += sum(map(bool, rows))
        if malformed:
            yield MalformedRow(number, lines[-1], UNBALANCED_QUOTES)
            number += 1


class _Parser:
    """Parses chunks of text: each is either split at its quotes or read by a csv.reader.

    The csv.reader continues into the next chunk if a row does.
    """

    def __init__(self, chunks: Iterator[Chunk], dialect: Dialect) -> None:
        self._chunks, self._dialect = chunks, dialect
        self._pushed_back: Chunk | None = None
        self._lines_split = self._lines_fed = 0
        self._reader = dialect.parse_rows(self._feed_lines())

    @property
    def line(self) -> int:
        """The line at which the next row begins."""
        return self._lines_split + self._reader.line_num + 1

    def first_row(self, name: str) -> tuple[int, list[str]]:
        """Return line and fields of the first row; DataError for none or unbalanced quotes."""
        line = self.line
        try:
            for fields in self._reader:
                if fields:
                    return line, fields
                line = self.line
        except csv.Error:
            raise DataError(
                f"{name}: the first row has {UNBALANCED_QUOTES}; is data.format right? If quotes "
                "are ordinary characters, set data.quoting=none; if a backslash stands before "
                "them, data.escape=backslash"
            ) from None
        raise DataError(f"{name}: the file is empty")

    def next_quoted_columns(self, width: int) -> list[list[str]] | None:
        """Return the columns of the next chunk; None if it needs parsing or there is none."""
        if self._unread_lines or (chunk := self._next_chunk()) is None:
            return None
        columns = self._split_quoted_columns(chunk.text, width)
        if columns is None:
            self._pushed_back = chunk
        else:
            self._lines_split += chunk.lines
        return columns

    def next_rows(self) -> tuple[list[list[str]], bool]:
        """Return the next rows of the csv module, and whether a malformed row follows."""
        rows: list[list[str]] = []
        characters = 0
        try:
            while len(rows) < MAX_BATCH_ROWS and characters < MAX_BATCH_CHARACTERS:
                before = len(rows)
                # What was read before an error stays in the list.
                wanted = min(max(self._unread_lines, 1), MAX_BATCH_ROWS // 10)
                rows.extend(islice(self._reader, wanted))
                characters += sum(map(len, chain.from_iterable(rows[before:])))
                if not self._unread_lines:
                    break
        except csv.Error:
            return rows, True
        return rows, False

    def _split_quoted_columns(self, text: str, width: int) -> list[list[str]] | None:
        if not self._dialect.has_quotes or (self._dialect.has_escapes and "\\" in text):
            return None
        return split_quoted_columns(text, self._dialect.delimiter, width)

    @property
    def _unread_lines(self) -> int:
        return self._lines_fed - self._reader.line_num

    def _next_chunk(self) -> Chunk | None:
        chunk, self._pushed_back = self._pushed_back or next(self._chunks, None), None
        return chunk

    def _feed_lines(self) -> Iterator[str]:
        while (chunk := self._next_chunk()) is not None:
            self._lines_fed += chunk.lines
            yield from chunk


def split_quoted_columns(text: str, delimiter: str, width: int) -> list[list[str]] | None:
    """Split complete rows of quoted fields into `width` columns; None for any other text."""
    pieces = text.split('"')
    before, *outside = pieces[::2]
    if before or len(pieces) % 2 == 0 or not outside:
        return None
    # Two adjacent quotes escape a quote inside one field; at the end, the last line end is missing.
    last = outside.pop()
    escaped = [*_find_empty(outside)]
    fields = _join_escaped_quotes(pieces[1::2], escaped)
    between = [*filter(None, outside)] if escaped else outside
    ends = {*between[width - 1 :: width]} | ({last} if last else set())
    delimiters = {*chain.from_iterable(between[column::width] for column in range(width - 1))}
    if len(fields) % width or not ends <= LINE_ENDS or not delimiters <= {delimiter}:
        return None
    return [fields[column::width] for column in range(width)]


def _find_empty(pieces: list[str]) -> Iterator[int]:
    """Yield the indices of empty pieces; there are few, so `list.index` is the fastest search."""
    index = -1
    with suppress(ValueError):
        while True:
            index = pieces.index("", index + 1)
            yield index


def _join_escaped_quotes(parts: list[str], escaped: Iterable[int]) -> list[str]:
    """Join each part whose index is in `escaped` with the next one by a quote, into one field."""
    fields: list[str] = []
    start = 0
    for index in escaped:
        fields += parts[start : index + 1]
        fields[-1] += f'"{parts[index + 1]}'
        start = index + 2
    return fields + parts[start:]


def _line_numbers(
    rows: Iterable[Sequence[str]], count: int, line: int, end: int | None
) -> Sequence[int]:
    """Return the first line of each of `count` rows and of what follows (`end`, if known)."""
    if end == line + count:
        return range(line, end + 1)
    return list(
        accumulate((1 + sum(map(count_line_breaks, fields)) for fields in rows), initial=line)
    )


def _rows_from_fields(
    rows: Sequence[Sequence[str]],
    lines: Sequence[int],
    number: int,
    indices: Sequence[int],
    width: int,
) -> Iterator[Row | MalformedRow]:
    for fields, line in zip(rows, lines, strict=False):
        if not fields:
            continue
        if len(fields) == width:
            yield Row(number, line, [fields[index] for index in indices])
        else:
            yield MalformedRow(number, line, describe_field_count(len(fields), width))
        number += 1


def describe_field_count(count: int, width: int) -> str:
    """Return the reason why a row with another number of fields than the first one is malformed."""
    if count > _MAX_NAMED_FIELD_COUNT:
        return f"more than {_MAX_NAMED_FIELD_COUNT} fields instead of {width}"
    return f"{count} field{'s' if count > 1 else ''} instead of {width}"


def parse_field_count(reason: str) -> tuple[int, int] | None:
    """Return the numbers in what `describe_field_count` wrote; None for any other reason."""
    match = _WRONG_FIELD_COUNT.fullmatch(reason)
    return None if match is None else (int(match[1]), int(match[2]))
