"""Parquet reader, on pyarrow: columns of plain values, or lists of labels, as Python objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.data.readers.text_chunks import decode_value
from components.data.rows import MAX_BATCH_ROWS, RowBatch, RowStream, column_index
from components.errors import DataError

READ_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class ParquetReader:
    """Reads a Parquet file; its rows have numbers, but no lines.

    `list_columns` are those that may hold lists of plain values, and not plain values alone.
    """

    path: Path
    name: str
    list_columns: tuple[str, ...] = ()

    def read(self, columns: Sequence[str]) -> RowStream:
        """Stream the columns; DataError for another kind of file, or a column of lists."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(self.path, buffer_size=READ_BUFFER_BYTES, pre_buffer=False)
            for column in columns:
                column_index(column, file.schema_arrow.names, self.name)
                kind = file.schema_arrow.field(column).type
                is_list = column in self.list_columns and _is_flat_list(kind)
                if pa.types.is_nested(kind) and not is_list:
                    raise DataError(
                        f"{self.name}: column {column!r} holds lists or records, not plain values"
                    )
            number = 1
            for batch in file.iter_batches(MAX_BATCH_ROWS, columns=list(dict.fromkeys(columns))):
                yield RowBatch(
                    range(number, number + len(batch)),
                    [0] * len(batch),
                    {column: _to_python(batch.column(column)) for column in columns},
                )
                number += len(batch)
        except (pa.ArrowException, OSError, OverflowError) as error:
            raise DataError(
                f"{self.name}: cannot be read as Parquet: {' '.join(str(error).split())[:200]}"
            ) from None


def _is_flat_list(kind: Any) -> bool:
    import pyarrow as pa

    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list and not pa.types.is_nested(kind.value_type)


def _to_python(column: Any) -> list[Any]:
    import pyarrow as pa

    if _is_flat_list(column.type):
        values, offsets = _to_python(column.values), column.offsets.to_pylist()
        bounds = zip(offsets[:-1], offsets[1:], column.is_valid().to_pylist(), strict=True)
        return [values[start:stop] if valid else None for start, stop, valid in bounds]
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        # Read as bytes, strings that are not UTF-8 make only their own rows unusable.
        column = column.cast(pa.large_binary())
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        # Python's times end at microseconds; pyarrow would raise an error for finer ones.
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return [decode_value(value) for value in column.to_pylist()]
