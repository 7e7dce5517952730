"""The file formats by name, and the reader of each.

Every reader yields every row in order with its number, or a MalformedRow with the reason; a row
that cannot be used never hides another one. CSV, TSV and JSON are read with the standard library,
which knows the line of each row and can skip a single row; Parquet is read with pyarrow. Memory
does not grow with the number of rows.

Unusual input: line breaks and doubled quotes inside a quoted field, NUL and every other character
are unchanged; bytes that are not of the encoding become lone surrogates, so that only their row is
rejected; unbalanced quotes and rows with too few or too many fields are malformed rows.
`text_chunks` describes what stops the reading.

To add a format: write a class with the `read` method of `RowReader` and enter it in FORMATS (and
in `data.format`).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from components.config.data import SAMPLE_SOURCES, DataConfig
from components.data.readers.delimited import DelimitedReader
from components.data.readers.dialect import Dialect, find_delimiter
from components.data.readers.jsonl import JsonReader
from components.data.readers.parquet import ParquetReader
from components.data.readers.text_chunks import open_chunks
from components.data.rows import RowReader
from components.errors import ConfigError

MAX_EXAMINED_LINES = 200


class FileFormat(NamedTuple):
    """A file format: file name suffixes, and the factory of its reader."""

    suffixes: tuple[str, ...]
    make_reader: Callable[[Path, str, DataConfig], RowReader]


def _make_csv_reader(path: Path, name: str, data: DataConfig) -> DelimitedReader:
    delimiter = data.delimiter
    if delimiter is None:
        with open_chunks(path, name, data.encoding) as chunks:
            lines = [*islice(chain.from_iterable(chunks), MAX_EXAMINED_LINES)]
        delimiter = find_delimiter(lines, data)
    dialect = Dialect.from_config(data, delimiter)
    return DelimitedReader(path, name, dialect, data.header, data.encoding)


def _make_json_reader(path: Path, name: str, data: DataConfig) -> JsonReader:
    return JsonReader(path, name, data.encoding)


def _make_tsv_reader(path: Path, name: str, data: DataConfig) -> DelimitedReader:
    dialect = Dialect.from_config(data, "\t")
    return DelimitedReader(path, name, dialect, data.header, data.encoding)


def _make_parquet_reader(path: Path, name: str, data: DataConfig) -> ParquetReader:
    return ParquetReader(path, name, data.label_columns)


FORMATS = {
    "csv": FileFormat((".csv",), _make_csv_reader),
    "tsv": FileFormat((".tsv", ".tab"), _make_tsv_reader),
    "jsonl": FileFormat((".jsonl", ".ndjson", ".json"), _make_json_reader),
    "parquet": FileFormat((".parquet", ".pq"), _make_parquet_reader),
}


def open_file_reader(path: Path, name: str, data: DataConfig) -> RowReader:
    """Return a reader of the file as `data` says; `name` is what messages call it."""
    return FORMATS[file_format_of(name, data)].make_reader(path, name, data)


def file_format_of(name: str, data: DataConfig) -> str:
    """Return `data.format`, or the format that the file's name tells; see `detect_format`."""
    if name in SAMPLE_SOURCES:
        return "csv"
    return detect_format(name) if data.format == "auto" else data.format


def detect_format(name: str) -> str:
    """Return the format by the ending of the name (before .gz); ConfigError if it is unknown."""
    suffix = Path(name.lower().removesuffix(".gz")).suffix
    for file_format, (suffixes, _) in FORMATS.items():
        if suffix in suffixes:
            return file_format
    raise ConfigError(
        f"{name}: cannot tell the format from the name; "
        "set data.format to csv, tsv, jsonl or parquet"
    )
