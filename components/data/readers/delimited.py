"""The rows of a CSV or TSV file as Python's csv module tells them apart, at several times its speed where every field is quoted.

A chunk in which nothing but delimiters and line ends stands outside of quotes needs no parser: splitting it at the quotes gives
its columns. Any other chunk goes through the csv module, with as many of the next ones as its last row needs.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, chain, islice
from operator import itemgetter
from pathlib import Path

from components.data.readers.text_chunks import LONGEST_LINE, Chunk, line_breaks, open_chunks
from components.data.rows import (
    MAX_BATCH_CHARACTERS,
    MAX_BATCH_ROWS,
    MalformedRow,
    Row,
    RowBatch,
    Rows,
    batch_rows,
    column_index,
)
from components.errors import DataError

LINE_ENDS = {"\n", "\r\n", "\r"}


def csv_rows(
    path: Path, name: str, columns: Sequence[str], *, delimiter: str, header: bool
) -> Rows:
    """The rows of a CSV or TSV file with strings for values; without a header the columns are called 0, 1, ...

    Blank lines are no rows. Raises DataError for an empty file or a column that is not there.
    """
    return Rows(_blocks(path, name, columns, delimiter, header))


def _blocks(
    path: Path, name: str, columns: Sequence[str], delimiter: str, header: bool
) -> Iterator[RowBatch | MalformedRow]:
    csv.field_size_limit(LONGEST_LINE)
    with open_chunks(path, name) as chunks:
        parser = _Parser(chunks, delimiter)
        line, first = parser.first(name)
        names = first if header else [str(index) for index in range(len(first))]
        hint = (
            "; if the first row is data, set data.header to false"
            if header
            else "; data.header is false, so columns are numbered"
        )
        places = [column_index(column, names, name, hint) for column in columns]
        number = 1
        if not header:
            yield RowBatch((1,), (line,), [(first[place],) for place in places])
            number = 2
        while True:
            line = parser.line
            fields = parser.quoted(len(names))
            if fields is not None:
                lines = _first_lines(zip(*fields, strict=True), len(fields[0]), line, parser.line)
                yield RowBatch(
                    range(number, number + len(fields[0])),
                    lines[:-1],
                    [fields[place] for place in places],
                )
                number += len(fields[0])
                continue
            rows, torn = parser.rows()
            if not rows and not torn:
                return
            lines = _first_lines(rows, len(rows), line, None if torn else parser.line)
            if {*map(len, rows)} == {len(names)}:
                yield RowBatch(
                    range(number, number + len(rows)),
                    lines[:-1],
                    [[*map(itemgetter(place), rows)] for place in places],
                )
            else:
                yield from batch_rows(_told_apart(rows, lines, number, places, len(names)))
            number += sum(map(bool, rows))
            if torn:
                yield MalformedRow(number, lines[-1], "quotes that do not match")
                number += 1


class _Parser:
    """Chunks of a text, each either split at its quotes or read by a csv.reader, which goes on into the next ones if a row does."""

    def __init__(self, chunks: Iterator[Chunk], delimiter: str) -> None:
        self._chunks, self._delimiter = chunks, delimiter
        self._put_back: Chunk | None = None
        self._split = self._given = 0
        self._reader = csv.reader(self._lines(), delimiter=delimiter, strict=True)

    @property
    def line(self) -> int:
        """The line that the next row begins at."""
        return self._split + self._reader.line_num + 1

    def first(self, name: str) -> tuple[int, list[str]]:
        """The first row and its line. Raises DataError if there is none or its quotes do not match."""
        line = self.line
        try:
            for fields in self._reader:
                if fields:
                    return line, fields
                line = self.line
        except csv.Error:
            raise DataError(
                f"{name}: the first row has quotes that do not match; is data.format right?"
            ) from None
        raise DataError(f"{name}: the file is empty")

    def quoted(self, width: int) -> list[list[str]] | None:
        """The columns of the next chunk; None if it must be parsed, or there is none."""
        if self._unread or (chunk := self._next()) is None:
            return None
        columns = quoted_columns(chunk.text, self._delimiter, width)
        if columns is None:
            self._put_back = chunk
        else:
            self._split += chunk.lines
        return columns

    def rows(self) -> tuple[list[list[str]], bool]:
        """The next rows as the csv module reads them, and whether one with faulty quotes follows them."""
        rows: list[list[str]] = []
        characters = 0
        try:
            while len(rows) < MAX_BATCH_ROWS and characters < MAX_BATCH_CHARACTERS:
                before = len(rows)
                # What was read before an error stays in the list.
                rows.extend(islice(self._reader, min(max(self._unread, 1), MAX_BATCH_ROWS // 10)))
                characters += sum(map(len, chain.from_iterable(rows[before:])))
                if not self._unread:
                    break
        except csv.Error:
            return rows, True
        return rows, False

    @property
    def _unread(self) -> int:
        return self._given - self._reader.line_num

    def _next(self) -> Chunk | None:
        chunk, self._put_back = self._put_back or next(self._chunks, None), None
        return chunk

    def _lines(self) -> Iterator[str]:
        while (chunk := self._next()) is not None:
            self._given += chunk.lines
            yield from chunk


def quoted_columns(text: str, delimiter: str, width: int) -> list[list[str]] | None:
    """The `width` columns of whole rows all of whose fields are in quotes; None for any other text."""
    pieces = text.split('"')
    before, *outside = pieces[::2]
    if before or len(pieces) % 2 == 0 or not outside:
        return None
    # Nothing between two pairs of quotes means one field, with a quote in it; at the end, a file without a last line end.
    last = outside.pop()
    doubled = [*_empty(outside)]
    fields = _rejoined(pieces[1::2], doubled)
    between = [*filter(None, outside)] if doubled else outside
    ends = {*between[width - 1 :: width]} | ({last} if last else set())
    delimiters = {*chain.from_iterable(between[column::width] for column in range(width - 1))}
    if len(fields) % width or not ends <= LINE_ENDS or not delimiters <= {delimiter}:
        return None
    return [fields[column::width] for column in range(width)]


def _empty(pieces: list[str]) -> Iterator[int]:
    """The indices of the empty ones, of which there are few: looked for by the list itself."""
    index = -1
    with suppress(ValueError):
        while True:
            index = pieces.index("", index + 1)
            yield index


def _rejoined(parts: list[str], doubled: Iterable[int]) -> list[str]:
    """The fields in quotes, where the parts at each index in `doubled` and after it are one field with a quote in between."""
    fields: list[str] = []
    start = 0
    for index in doubled:
        fields += parts[start : index + 1]
        fields[-1] += f'"{parts[index + 1]}'
        start = index + 2
    return fields + parts[start:]


def _first_lines(
    rows: Iterable[Sequence[str]], count: int, line: int, end: int | None
) -> Sequence[int]:
    """The first line of each of `count` rows, and of what follows them, which is `end` unless that is not known."""
    if end == line + count:
        return range(line, end + 1)
    return list(accumulate((1 + sum(map(line_breaks, fields)) for fields in rows), initial=line))


def _told_apart(
    rows: Sequence[Sequence[str]],
    lines: Sequence[int],
    number: int,
    places: Sequence[int],
    width: int,
) -> Iterator[Row | MalformedRow]:
    for fields, line in zip(rows, lines, strict=False):
        if not fields:
            continue
        if len(fields) == width:
            yield Row(number, line, [fields[place] for place in places])
        else:
            yield MalformedRow(number, line, "too few or too many fields")
        number += 1
