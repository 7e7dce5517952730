"""Caches the parsed rows of small sources, so that a second pass does not parse them again.

The cache is bounded, so that memory does not grow with the rows: a larger source is read again in
each pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from components.data.rows import ExcludedRows, MalformedRow, RowBatch, RowReader, RowStream

MAX_CACHED_BYTES = 1 << 25
BYTES_PER_VALUE = 1 << 6
TYPES_OF_KNOWN_SIZE = {str, int, float, bool, type(None)}


class CachedRows:
    """Serves the columns of the last complete pass from memory, up to about `max_bytes`.

    Python's strings take up to four bytes per character, of which one is counted. Only a pass
    that ran to its end is cached, and only if every value is a string, a plain number or None.
    """

    def __init__(self, reader: RowReader, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._reader, self._max_bytes = reader, max_bytes
        self._columns: tuple[str, ...] | None = None
        self._batches: list[RowBatch | MalformedRow | ExcludedRows] = []

    def read(self, columns: Sequence[str]) -> RowStream:
        """Stream the columns, from memory if the last complete pass read the same ones."""
        if tuple(columns) == self._columns:
            return iter(self._batches)
        return self._record_rows(tuple(columns))

    def _record_rows(self, columns: tuple[str, ...]) -> RowStream:
        recorded: list[RowBatch | MalformedRow | ExcludedRows] = []
        bytes_left: float = self._max_bytes
        for batch in self._reader.read(columns):
            if bytes_left >= 0:
                bytes_left -= _estimate_bytes(batch)
                recorded.append(batch)
            if bytes_left < 0:
                recorded.clear()
            yield batch
        if bytes_left >= 0:
            self._columns, self._batches = columns, recorded


def _estimate_bytes(batch: RowBatch | MalformedRow | ExcludedRows) -> float:
    """Estimate what a batch takes in memory; infinite if the size of a value is not known."""
    if not isinstance(batch, RowBatch):
        return BYTES_PER_VALUE
    return sum(map(_estimate_column_bytes, batch.columns.values()))


def _estimate_column_bytes(column: Sequence[Any]) -> float:
    types = {*map(type, column)}
    if not types <= TYPES_OF_KNOWN_SIZE:
        return math.inf
    strings = column if types == {str} else [value for value in column if isinstance(value, str)]
    return len(column) * BYTES_PER_VALUE + sum(map(len, strings))
