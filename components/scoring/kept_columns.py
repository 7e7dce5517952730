"""Columns of a source that are written beside the scores, and their types.

Columns of Parquet files keep plain types; all others are strings: text as it was read, and values
of JSON as JSON writes them.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.data.readers.parquet import ParquetReader
from components.data.rows import RowReader
from components.data.sources import ConcatenatedRows

STRING = "string"
_TYPES = {
    str(each): each
    for each in (
        pa.string(),
        pa.bool_(),
        pa.int8(),
        pa.int16(),
        pa.int32(),
        pa.int64(),
        pa.uint8(),
        pa.uint16(),
        pa.uint32(),
        pa.uint64(),
        pa.float32(),
        pa.float64(),
        pa.date32(),
    )
}
"""Types that are kept; a column of any other type becomes a string."""


def find_column_types(reader: RowReader, columns: Sequence[str]) -> dict[str, str]:
    """The name of the Arrow type that each of the columns is written with."""
    readers = [*reader.readers.values()] if isinstance(reader, ConcatenatedRows) else [reader]
    paths = [each.path for each in readers if isinstance(each, ParquetReader)]
    if not paths or len(paths) < len(readers):
        return dict.fromkeys(columns, STRING)
    schemas = [_read_schema(path) for path in paths]
    types = {}
    for column in columns:
        found = {schema.get(column, STRING) for schema in schemas}
        name = found.pop() if len(found) == 1 else STRING
        types[column] = name if name in _TYPES else STRING
    return types


def build_column(values: Sequence[Any], type_name: str) -> pa.Array:
    """The values of a kept column as an Arrow array of this type."""
    if type_name == STRING:
        values = [_format_value(value) for value in values]
    return pa.array(values, _TYPES[type_name])


def is_unicode(value: Any) -> bool:
    """Whether a value can be written: lone surrogates, of bytes in another encoding, cannot."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    return True


def _read_schema(path: Path) -> Mapping[str, str]:
    import pyarrow.parquet as pq

    return {field.name: str(field.type) for field in pq.read_schema(path)}


def _format_value(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, datetime.date):  # datetime.datetime is one, too
        return value.isoformat()
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        return str(value)
