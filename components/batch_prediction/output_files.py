"""Writes the output of a batch prediction as a stream: Parquet, CSV or JSON lines.

Equal results give equal bytes: a file has no time and no name in it.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.artifacts.predictions import select_labels
from components.artifacts.release import ReleaseContent
from components.batch_prediction.request import BatchPredictionRequest
from components.confidence.threshold import are_confident
from components.config.score import OutputFormat
from components.errors import DataError
from components.scoring.unit_results import RejectedRow, UnitResult, Values

ROW_GROUP_ROWS = 1 << 16
WriteTable = Callable[[pa.Table], None]


def build_table(
    result: UnitResult,
    request: BatchPredictionRequest,
    content: ReleaseContent,
    columns: Sequence[str],
) -> pa.Table:
    """The rows of a unit with the columns of the output; DataError for values that are not finite.

    The largest of scores with a NaN among them would be a label that nothing speaks for.
    """
    finite = np.isfinite(result.values).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{request.release}: gives values that are not finite numbers, first for row "
            f"{result.rows[finite.argmin()] + 1} of the source; name another release"
        )
    values = result.values
    kept = [result.kept[name] for name in request.keep]
    if request.embeddings:
        flat = pa.array(np.ascontiguousarray(values).ravel(), pa.float32())
        computed = [pa.FixedSizeListArray.from_arrays(flat, values.shape[1])]
    elif content.task.kind == "regression":
        computed = [pa.array(values[:, 0], pa.float32())]
    elif content.task.kind == "multi_label":
        separator = request.separator if request.format == "csv" else None
        computed = [_build_labels(values, content, separator)]
    else:
        computed = _build_label(values, content)
    if request.all_scores:
        computed += [pa.array(column, pa.float32()) for column in values.T]
    return pa.table([*kept, *computed], names=[*columns])


def _build_label(values: Values, content: ReleaseContent) -> list[pa.Array]:
    """The class with the largest score, that score, and whether it reaches the threshold."""
    best = values.argmax(axis=1)
    arrays = [
        pa.array([content.classes[index] for index in best], pa.string()),
        pa.array(values[np.arange(len(values)), best], pa.float32()),
    ]
    if content.threshold is not None:
        arrays.append(pa.array(are_confident(values, content.threshold), pa.bool_()))
    return arrays


def _build_labels(values: Values, content: ReleaseContent, separator: str | None) -> pa.Array:
    """The predicted classes of each row: a list, or a string where they are joined."""
    predicted = select_labels(values, content.thresholds)
    labels = [[*itertools.compress(content.classes, row)] for row in predicted]
    if separator is None:
        return pa.array(labels, pa.list_(pa.string()))
    return pa.array([separator.join(row) for row in labels], pa.string())


@contextmanager
def open_output(path: Path, file_format: OutputFormat) -> Iterator[WriteTable]:
    """Yield a function that appends a table to the file; every table has the same columns."""
    writers = {"parquet": _open_parquet, "csv": _open_csv, "jsonl": _open_jsonl}
    with writers[file_format](path) as write:
        yield write


def write_rejected_rows(stream: Any, rows: Sequence[RejectedRow]) -> None:
    """Append a JSON line per rejected row: file, row (from 1), line, columns, reason; no text."""
    for row in rows:
        fields = {"file": row.file, "row": row.number, "line": row.line, "columns": row.columns}
        record = {name: value for name, value in fields.items() if value}
        record["reason"] = row.reason
        stream.write(json.dumps(record, ensure_ascii=False) + "\n")


@contextmanager
def _open_parquet(path: Path) -> Iterator[WriteTable]:
    import pyarrow.parquet as pq

    waiting: list[pa.Table] = []
    writer: Any = None

    def flush() -> None:
        nonlocal writer
        if not waiting:
            return
        table = pa.concat_tables(waiting)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        waiting.clear()

    def write(table: pa.Table) -> None:
        waiting.append(table)
        if sum(map(len, waiting)) >= ROW_GROUP_ROWS:
            flush()

    try:
        yield write
        flush()
    finally:
        if writer is not None:
            writer.close()


@contextmanager
def _open_csv(path: Path) -> Iterator[WriteTable]:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        has_header = False

        def write(table: pa.Table) -> None:
            nonlocal has_header
            if not has_header:
                writer.writerow(table.column_names)
                has_header = True
            writer.writerows(zip(*map(_to_python, table.columns), strict=True))

        yield write


@contextmanager
def _open_jsonl(path: Path) -> Iterator[WriteTable]:
    with path.open("w", encoding="utf-8") as stream:

        def write(table: pa.Table) -> None:
            names = table.column_names
            for values in zip(*map(_to_json_values, table.columns), strict=True):
                record = dict(zip(names, values, strict=True))
                stream.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")

        yield write


def _to_json_values(column: pa.ChunkedArray) -> list[Any]:
    """The values as Python objects, null for NaN and infinities, which JSON does not have."""
    values = _to_python(column)
    if not pa.types.is_floating(column.type):
        return values
    return [value if value is not None and math.isfinite(value) else None for value in values]


def _to_python(column: pa.ChunkedArray) -> list[Any]:
    """The values as Python objects, float32 by the fewest digits that name it."""
    if column.type == pa.float32() and not column.null_count:
        return [float(str(value)) for value in column.to_numpy()]
    if pa.types.is_fixed_size_list(column.type):
        return [[float(str(value)) for value in row.values.to_numpy()] for row in column]
    values: list[Any] = column.to_pylist()
    return values
