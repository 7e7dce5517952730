"""Every row of a file comes out in order with its number, or is told as unreadable with a reason; one row never hides others.

CSV, TSV and JSON lines are read line by line with the standard library, because a reader that works on blocks can only
refuse a block; Parquet is read with pyarrow. Memory does not grow with the number of rows.

What becomes of odd input: a byte order mark is skipped; CR, LF and CRLF all end a line; line breaks and doubled quotes
inside a quoted field are kept; NUL and every other character is kept; bytes that are not UTF-8 come out as lone surrogates (so
that the row alone is refused); quotes that do not match and rows with too few or too many fields are unreadable rows; a line over
`LONGEST_LINE` characters, UTF-16 and damaged compression stop the reading with a DataError.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from components.errors import ConfigError, DataError

LONGEST_LINE = 1 << 24
ROWS_AT_ONCE = 1000
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


Rows = Iterator[Row | Unreadable]


def format_of(name: str) -> str:
    """csv, tsv, jsonl or parquet by the name's ending (before .gz); ConfigError for any other ending."""
    ending = Path(name.lower().removesuffix(".gz")).suffix
    if ending not in FORMATS:
        raise ConfigError(f"{name}: cannot tell the format from the name; set data.format to csv, tsv, jsonl or parquet")
    return FORMATS[ending]


def csv_rows(path: Path, name: str, columns: Sequence[str], *, delimiter: str, header: bool) -> Rows:
    """The rows of a CSV or TSV file as lists of strings; without a header the columns are called 0, 1, ...

    Blank lines are no rows. Raises DataError for an empty file or a column that is not there.
    """
    csv.field_size_limit(LONGEST_LINE)
    with _lines(path, name) as lines:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        line, first = _first(reader, name)
        names = first if header else [str(index) for index in range(len(first))]
        hint = "; if the first row is data, set data.header to false" if header else "; data.header is false, so columns are numbered"
        places = [_place(column, names, name, hint) for column in columns]
        number = 0
        if not header:
            number = 1
            yield Row(1, line, [first[place] for place in places])
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error:
                number += 1
                yield Unreadable(number, line, "quotes that do not match")
                continue
            if not fields:
                continue
            number += 1
            if len(fields) == len(names):
                yield Row(number, line, [fields[place] for place in places])
            else:
                yield Unreadable(number, line, "too few or too many fields")


def json_rows(path: Path, name: str, columns: Sequence[str]) -> Rows:
    """The rows of a JSON lines file; a field that a row does not have is None there.

    Raises DataError at the end when a column is in no row at all.
    """
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
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        for column in columns:
            _place(column, file.schema_arrow.names, name, "")
            if pa.types.is_nested(file.schema_arrow.field(column).type):
                raise DataError(f"{name}: column {column!r} holds lists or records, not plain values")
        number = 0
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(dict.fromkeys(columns))):
            for values in zip(*(_plain(batch.column(column)) for column in columns), strict=True):
                number += 1
                yield Row(number, 0, values)
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
        yield _bounded(stream, name)


def _bounded(stream: TextIO, name: str) -> Iterator[str]:
    number = 0
    try:
        while line := stream.readline(LONGEST_LINE):
            number += 1
            if number == 1 and line.startswith(("\udcff\udcfe", "\udcfe\udcff")):
                raise DataError(f"{name}: the file is UTF-16; save it as UTF-8")
            if len(line) == LONGEST_LINE:
                raise DataError(f"{name}, line {number}: longer than {LONGEST_LINE:,} characters; is this the right file and data.format?")
            yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name}: the compression is damaged after line {number} ({error})") from None
