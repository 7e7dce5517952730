"""Every row of a file comes out in order with its number, or is told as unreadable with a reason; one row never hides others.

CSV, TSV and JSON lines are read with the standard library, which knows each row's line and can refuse one row alone; Parquet is
read with pyarrow. Memory does not grow with the number of rows.

What becomes of odd input: line breaks and doubled quotes inside a quoted field are kept; NUL and every other character is kept;
bytes that are not UTF-8 come out as lone surrogates (so that the row alone is refused); quotes that do not match and rows with too
few or too many fields are unreadable rows; `text_lines` says what stops the reading.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from components.data.readers.delimited import csv_rows
from components.data.readers.text_chunks import LONGEST_LINE, open_chunks
from components.data.rows import (
    MAX_BATCH_ROWS,
    MalformedRow,
    Row,
    RowBatch,
    Rows,
    batch_rows,
    column_index,
)
from components.errors import ConfigError, DataError

__all__ = [
    "LONGEST_LINE",
    "MalformedRow",
    "Row",
    "csv_rows",
    "format_of",
    "json_rows",
    "parquet_rows",
]

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


def format_of(name: str) -> str:
    """csv, tsv, jsonl or parquet by the name's ending (before .gz); ConfigError for any other ending."""
    ending = Path(name.lower().removesuffix(".gz")).suffix
    if ending not in FORMATS:
        raise ConfigError(
            f"{name}: cannot tell the format from the name; set data.format to csv, tsv, jsonl or parquet"
        )
    return FORMATS[ending]


def json_rows(path: Path, name: str, columns: Sequence[str]) -> Rows:
    """The rows of a JSON lines file; a field that a row does not have is None there.

    Raises DataError at the end when a column is in no row at all.
    """
    return Rows(batch_rows(_records(path, name, columns)))


def _records(path: Path, name: str, columns: Sequence[str]) -> Iterator[Row | MalformedRow]:
    listed: dict[str, None] = {}
    unseen = set(columns)
    number = 0
    with open_chunks(path, name) as chunks:
        for line, text in enumerate(chain.from_iterable(chunks), 1):
            if not text.strip():
                continue
            number += 1
            try:
                record = json.loads(text)
            except (ValueError, RecursionError):
                yield MalformedRow(number, line, "not JSON")
                continue
            if not isinstance(record, dict):
                yield MalformedRow(number, line, "not a JSON object")
                continue
            unseen -= record.keys()
            if len(listed) < 30:
                listed.update(dict.fromkeys(record))
            yield Row(number, line, [record.get(column) for column in columns])
    if listed and unseen:
        column_index(min(unseen), list(listed), name)


def parquet_rows(path: Path, name: str, columns: Sequence[str]) -> Rows:
    """The rows of a Parquet file. Raises DataError for another kind of file, a column that is not there or holds lists."""
    return Rows(_parquet_blocks(path, name, columns))


def _parquet_blocks(
    path: Path, name: str, columns: Sequence[str]
) -> Iterator[RowBatch | MalformedRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        for column in columns:
            column_index(column, file.schema_arrow.names, name)
            if pa.types.is_nested(file.schema_arrow.field(column).type):
                raise DataError(
                    f"{name}: column {column!r} holds lists or records, not plain values"
                )
        number = 1
        for batch in file.iter_batches(MAX_BATCH_ROWS, columns=list(dict.fromkeys(columns))):
            yield RowBatch(
                range(number, number + len(batch)),
                [0] * len(batch),
                [_plain(batch.column(column)) for column in columns],
            )
            number += len(batch)
    except (pa.ArrowException, OSError, OverflowError) as error:
        raise DataError(
            f"{name}: cannot be read as Parquet: {' '.join(str(error).split())[:200]}"
        ) from None


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
