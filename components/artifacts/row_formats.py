"""Every row of a file comes out in order with its number, or is told as unreadable with a reason; one row never hides others.

CSV, TSV and JSON lines are read with the standard library, which knows each row's line and can refuse one row alone; Parquet is
read with pyarrow. Rows come in blocks of columns, because what Python does once per block costs nothing per row. Memory does
not grow with the number of rows.

What becomes of odd input: a byte order mark is skipped; CR, LF and CRLF all end a line; line breaks and doubled quotes
inside a quoted field are kept; NUL and every other character is kept; bytes that are not UTF-8 come out as lone surrogates (so
that the row alone is refused); quotes that do not match and rows with too few or too many fields are unreadable rows; a line over
`LONGEST_LINE` characters, UTF-16 and damaged compression stop the reading with a DataError.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from components.errors import ConfigError, DataError

LONGEST_LINE = 1 << 24
ROWS_AT_ONCE = 1000
CHARACTERS_AT_ONCE = 1 << 22
CHARACTERS_PER_READ = 1 << 18
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


class Row(NamedTuple):
    """One row: its number (from 1, the header not counted), its first line in the file (0: no lines) and the columns' values."""

    number: int
    line: int
    values: Sequence[Any]


class Unreadable(NamedTuple):
    """A row whose columns cannot be told apart, and why."""

    number: int
    line: int
    reason: str


class Block(NamedTuple):
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

    blocks: Iterator[Block | Unreadable]

    def __iter__(self) -> Iterator[Row | Unreadable]:
        for block in self.blocks:
            if isinstance(block, Unreadable):
                yield block
            else:
                yield from block.rows()


def in_blocks(rows: Iterable[Row | Unreadable]) -> Iterator[Block | Unreadable]:
    """The same rows in the same order, up to `ROWS_AT_ONCE` and about `CHARACTERS_AT_ONCE` in a block."""
    gathered: list[Row] = []
    characters = 0
    for row in rows:
        if isinstance(row, Row):
            gathered.append(row)
            characters += sum(len(value) for value in row.values if isinstance(value, str))
            if len(gathered) < ROWS_AT_ONCE and characters < CHARACTERS_AT_ONCE:
                continue
        if gathered:
            yield _block(gathered)
            gathered, characters = [], 0
        if isinstance(row, Unreadable):
            yield row
    if gathered:
        yield _block(gathered)


def _block(rows: Sequence[Row]) -> Block:
    numbers, lines, values = zip(*rows, strict=True)
    return Block(numbers, lines, list(zip(*values, strict=True)))


def format_of(name: str) -> str:
    """csv, tsv, jsonl or parquet by the name's ending (before .gz); ConfigError for any other ending."""
    ending = Path(name.lower().removesuffix(".gz")).suffix
    if ending not in FORMATS:
        raise ConfigError(f"{name}: cannot tell the format from the name; set data.format to csv, tsv, jsonl or parquet")
    return FORMATS[ending]


def csv_rows(path: Path, name: str, columns: Sequence[str], *, delimiter: str, header: bool) -> Rows:
    """The rows of a CSV or TSV file with strings for values; without a header the columns are called 0, 1, ...

    Blank lines are no rows. Raises DataError for an empty file or a column that is not there.
    """
    return Rows(_csv_blocks(path, name, columns, delimiter, header))


def _csv_blocks(path: Path, name: str, columns: Sequence[str], delimiter: str, header: bool) -> Iterator[Block | Unreadable]:
    csv.field_size_limit(LONGEST_LINE)
    with _lines(path, name) as lines:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        line, first = _first(reader, name)
        names = first if header else [str(index) for index in range(len(first))]
        hint = "; if the first row is data, set data.header to false" if header else "; data.header is false, so columns are numbered"
        places = [_place(column, names, name, hint) for column in columns]
        number = 1
        if not header:
            yield Block((1,), (line,), [(first[place],) for place in places])
            number = 2
        while True:
            before = reader.line_num
            rows, torn = _taken(reader)
            if not rows and not torn:
                return
            starts = _starts(rows, before + 1, None if torn else reader.line_num - before)
            if {*map(len, rows)} == {len(names)}:
                yield Block(range(number, number + len(rows)), starts[:-1], [[*map(itemgetter(place), rows)] for place in places])
            else:
                yield from in_blocks(_told_apart(rows, starts, number, places, len(names)))
            number += sum(map(bool, rows))
            if torn:
                yield Unreadable(number, starts[-1], "quotes that do not match")
                number += 1


def _taken(reader: Iterator[list[str]]) -> tuple[list[list[str]], bool]:
    """The next rows, and whether one with faulty quotes follows them."""
    rows: list[list[str]] = []
    characters = 0
    try:
        while len(rows) < ROWS_AT_ONCE and characters < CHARACTERS_AT_ONCE:
            before = len(rows)
            # What was read before an error stays in the list.
            rows.extend(islice(reader, ROWS_AT_ONCE // 10))
            if len(rows) == before:
                break
            characters += sum(map(len, chain.from_iterable(rows[before:])))
    except csv.Error:
        return rows, True
    return rows, False


def _starts(rows: Sequence[Sequence[str]], line: int, lines: int | None) -> Sequence[int]:
    """The first line of each row and of what comes after them; `lines` is how many they take together, if that is known."""
    if lines == len(rows):
        return range(line, line + lines + 1)
    return list(accumulate((1 + sum(map(_line_breaks, fields)) for fields in rows), initial=line))


def _line_breaks(field: str) -> int:
    return field.count("\n") + field.count("\r") - field.count("\r\n")


def _told_apart(
    rows: Sequence[Sequence[str]], lines: Sequence[int], number: int, places: Sequence[int], width: int
) -> Iterator[Row | Unreadable]:
    for fields, line in zip(rows, lines, strict=False):
        if not fields:
            continue
        if len(fields) == width:
            yield Row(number, line, [fields[place] for place in places])
        else:
            yield Unreadable(number, line, "too few or too many fields")
        number += 1


def json_rows(path: Path, name: str, columns: Sequence[str]) -> Rows:
    """The rows of a JSON lines file; a field that a row does not have is None there.

    Raises DataError at the end when a column is in no row at all.
    """
    return Rows(in_blocks(_records(path, name, columns)))


def _records(path: Path, name: str, columns: Sequence[str]) -> Iterator[Row | Unreadable]:
    listed: dict[str, None] = {}
    unseen = set(columns)
    number = 0
    with _lines(path, name) as lines:
        for line, text in enumerate(lines, 1):
            if not text.strip():
                continue
            number += 1
            try:
                record = json.loads(text)
            except (ValueError, RecursionError):
                yield Unreadable(number, line, "not JSON")
                continue
            if not isinstance(record, dict):
                yield Unreadable(number, line, "not a JSON object")
                continue
            unseen -= record.keys()
            if len(listed) < 30:
                listed.update(dict.fromkeys(record))
            yield Row(number, line, [record.get(column) for column in columns])
    if listed and unseen:
        _place(min(unseen), list(listed), name, "")


def parquet_rows(path: Path, name: str, columns: Sequence[str]) -> Rows:
    """The rows of a Parquet file. Raises DataError for another kind of file, a column that is not there or holds lists."""
    return Rows(_parquet_blocks(path, name, columns))


def _parquet_blocks(path: Path, name: str, columns: Sequence[str]) -> Iterator[Block | Unreadable]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        for column in columns:
            _place(column, file.schema_arrow.names, name, "")
            if pa.types.is_nested(file.schema_arrow.field(column).type):
                raise DataError(f"{name}: column {column!r} holds lists or records, not plain values")
        number = 1
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(dict.fromkeys(columns))):
            yield Block(range(number, number + len(batch)), [0] * len(batch), [_plain(batch.column(column)) for column in columns])
            number += len(batch)
    except (pa.ArrowException, OSError, OverflowError) as error:
        raise DataError(f"{name}: cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from None


def _plain(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        # Reading strings as bytes lets one row that is not UTF-8 be refused alone.
        column = column.cast(pa.large_binary())
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        # Python's times end at microseconds, and what is finer is refused instead of cut.
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return [decoded(value) for value in column.to_pylist()]


def decoded(value: Any) -> Any:
    """Bytes as text, with a lone surrogate for every byte that is not UTF-8; other values as they are."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _place(column: str, names: Sequence[str], name: str, hint: str) -> int:
    found = [index for index, other in enumerate(names) if other == column]
    if len(found) == 1:
        return found[0]
    problem = f"no column {column!r}" if not found else f"{len(found)} columns are called {column!r}"
    listed = ", ".join(repr(other if len(other) <= 40 else f"{other[:40]}...") for other in names[:30])
    raise DataError(
        f"{name}: {problem}; columns: {listed}{', ...' if len(names) > 30 else ''}{hint} (options data.text, data.label and data.time)"
    )


def _first(reader: Any, name: str) -> tuple[int, list[str]]:
    line = 1
    try:
        for fields in reader:
            if fields:
                return line, fields
            line = reader.line_num + 1
    except csv.Error:
        raise DataError(f"{name}: the first row has quotes that do not match; is data.format right?") from None
    raise DataError(f"{name}: the file is empty")


@contextmanager
def _lines(path: Path, name: str) -> Iterator[Iterator[str]]:
    with open(path, "rb") as raw:
        start = raw.read(2)
    opener: Callable[..., TextIO] = gzip.open if start == b"\x1f\x8b" else open
    with opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        yield chain.from_iterable(_bounded(stream, name))


def _bounded(stream: TextIO, name: str) -> Iterator[Sequence[str]]:
    number = 0
    try:
        while text := stream.read(CHARACTERS_PER_READ):
            if number == 0 and text.startswith(("\udcff\udcfe", "\udcfe\udcff")):
                raise DataError(f"{name}: the file is UTF-16; save it as UTF-8")
            lines = list(io.StringIO(text + stream.readline(LONGEST_LINE), newline=""))
            if len(lines[-1]) >= LONGEST_LINE:
                place = f"{name}, line {number + len(lines)}"
                raise DataError(f"{place}: longer than {LONGEST_LINE:,} characters; is this the right file and data.format?")
            number += len(lines)
            yield lines
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name}: the compression is damaged after line {number} ({error})") from None
