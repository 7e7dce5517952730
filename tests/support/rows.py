"""Row streams as lists of single rows."""

from __future__ import annotations

from components.data.rows import MalformedRow, Row, RowBatch, RowStream


def list_rows(stream: RowStream) -> list[Row | MalformedRow]:
    """Collect the rows of a stream one by one."""
    rows: list[Row | MalformedRow] = []
    for batch in stream:
        if isinstance(batch, MalformedRow):
            rows.append(batch)
        elif isinstance(batch, RowBatch):
            values = map(list, zip(*batch.columns.values(), strict=True))
            rows += map(Row, batch.numbers, batch.lines, values)
    return rows
