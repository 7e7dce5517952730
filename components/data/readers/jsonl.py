"""JSON reader: one JSON object per line, or one array of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from components.data.readers.json_array import read_array_items, starts_array_of_objects
from components.data.readers.text_chunks import (
    READ_ERRORS,
    open_chunks,
    open_text,
    translate_read_error,
)
from components.data.rows import (
    MAX_LISTED_COLUMNS,
    MalformedRow,
    Row,
    RowStream,
    batch_rows,
    column_index,
)

NOT_JSON = "not JSON"
NOT_AN_OBJECT = "not a JSON object"
_EXAMINED_CHARACTERS = 1 << 16


@dataclass(frozen=True)
class JsonReader:
    """Reads JSON lines (blank lines ignored) or an array; a field that a row lacks is None."""

    path: Path
    name: str
    encoding: str | None = None

    def read(self, columns: Sequence[str]) -> RowStream:
        """Stream the columns; DataError at the end if no row has one of them."""
        return batch_rows(self._read_rows(columns), columns)

    def list_fields(self, rows: int) -> list[str]:
        """Return the fields that the first rows have, in the order of their appearance."""
        values = (value for _, value in islice(self._read_values(), rows))
        return [
            *dict.fromkeys(field for value in values if isinstance(value, dict) for field in value)
        ]

    def _read_rows(self, columns: Sequence[str]) -> Iterator[Row | MalformedRow]:
        known_fields: dict[str, None] = {}
        missing = set(columns)
        for number, (line, value) in enumerate(self._read_values(), 1):
            if isinstance(value, dict):
                missing -= value.keys()
                if len(known_fields) < MAX_LISTED_COLUMNS:
                    known_fields.update(dict.fromkeys(value))
                yield Row(number, line, [value.get(column) for column in columns])
            else:
                reason = NOT_JSON if value is NOT_JSON else NOT_AN_OBJECT
                yield MalformedRow(number, line, reason)
        if known_fields and missing:
            column_index(min(missing), list(known_fields), self.name)

    def _read_values(self) -> Iterator[tuple[int, Any]]:
        """Yield line and value of each record; NOT_JSON itself for a line that cannot be parsed."""
        try:
            with open_text(self.path, self.name, self.encoding) as stream:
                is_array = starts_array_of_objects(stream.read(_EXAMINED_CHARACTERS))
            if is_array:
                with open_text(self.path, self.name, self.encoding) as stream:
                    yield from read_array_items(stream, self.name)
                return
        except READ_ERRORS as error:
            raise translate_read_error(error, self.name, 0) from None
        with open_chunks(self.path, self.name, self.encoding) as chunks:
            for line, text in enumerate(chain.from_iterable(chunks), 1):
                if text.strip():
                    yield line, _parse_json(text)


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return NOT_JSON
