"""JSON lines reader: one JSON object per line, blank lines ignored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from components.data.readers.text_chunks import open_chunks
from components.data.rows import (
    MAX_LISTED_COLUMNS,
    MalformedRow,
    Row,
    RowStream,
    batch_rows,
    column_index,
)


@dataclass(frozen=True)
class JsonLinesReader:
    """Reads a JSON lines file; a field that is missing in a row is None there."""

    path: Path
    name: str

    def read(self, columns: Sequence[str]) -> RowStream:
        """Stream the columns; DataError at the end if no row has one of them."""
        return batch_rows(self._read_records(columns), columns)

    def _read_records(self, columns: Sequence[str]) -> Iterator[Row | MalformedRow]:
        known_fields: dict[str, None] = {}
        missing = set(columns)
        number = 0
        with open_chunks(self.path, self.name) as chunks:
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
                missing -= record.keys()
                if len(known_fields) < MAX_LISTED_COLUMNS:
                    known_fields.update(dict.fromkeys(record))
                yield Row(number, line, [record.get(column) for column in columns])
        if known_fields and missing:
            column_index(min(missing), list(known_fields), self.name)
