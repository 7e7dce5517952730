"""The file formats by name, and the reader of each.

Every reader yields every row in order with its number, or a MalformedRow with the reason; a row
that cannot be used never hides another one. CSV, TSV and JSON lines are read with the standard
library, which knows the line of each row and can skip a single row; Parquet is read with pyarrow.
Memory does not grow with the number of rows.

Unusual input: line breaks and doubled quotes inside a quoted field, NUL and every other character
are unchanged; bytes that are not UTF-8 become lone surrogates, so that only their row is
rejected; unbalanced quotes and rows with too few or too many fields are malformed rows.
`text_chunks` describes what stops the reading.

To add a format: write a class with the `read` method of `RowReader` and enter it in FORMATS (and
in `data.format`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from components.data.readers.delimited import DelimitedReader
from components.data.readers.jsonl import JsonLinesReader
from components.data.readers.parquet import ParquetReader
from components.data.rows import RowReader
from components.errors import ConfigError


class FileFormat(NamedTuple):
    """A file format: file name suffixes, and the factory of its reader (path, name, header)."""

    suffixes: tuple[str, ...]
    make_reader: Callable[[Path, str, bool], RowReader]


FORMATS = {
    "csv": FileFormat(
        (".csv",), lambda path, name, header: DelimitedReader(path, name, ",", header)
    ),
    "tsv": FileFormat(
        (".tsv", ".tab"), lambda path, name, header: DelimitedReader(path, name, "\t", header)
    ),
    "jsonl": FileFormat(
        (".jsonl", ".ndjson", ".json"), lambda path, name, _: JsonLinesReader(path, name)
    ),
    "parquet": FileFormat((".parquet", ".pq"), lambda path, name, _: ParquetReader(path, name)),
}


def open_file_reader(path: Path, name: str, file_format: str, header: bool) -> RowReader:
    """Return a reader of the file; `name` is used in messages and, for `auto`, gives the format.

    `header`: the first row of a CSV or TSV file names the columns. Raises ConfigError for a name
    of unknown format.
    """
    if file_format == "auto":
        file_format = detect_format(name)
    return FORMATS[file_format].make_reader(path, name, header)


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
