"""Predictions of the evaluated model for every test row, in the order of the test split.

`predictions.arrow` is an uncompressed Arrow IPC file with the columns row (int64), label,
predicted, scores and text (string), for pairs of texts also text_pair (string). The text columns
are null throughout if the report must not contain texts; the token shards have them under the same
row numbers. The types of label, predicted and scores are those of the kind of task
(`components.artifacts.predictions.columns`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts.predictions.columns import (
    TEXT,
    MultiLabelColumns,
    PredictionColumns,
    Predictions,
    RegressionColumns,
    SingleLabelColumns,
    build_schema,
    has_columns,
    select_labels,
)
from components.artifacts.token_shards import build_text_arrays
from components.data.text_columns import Text
from components.errors import DataError

__all__ = [
    "COLUMNS",
    "PREDICTIONS_FILENAME",
    "MultiLabelColumns",
    "Predictions",
    "PredictionsWriter",
    "RegressionColumns",
    "SingleLabelColumns",
    "build_schema",
    "iterate_predictions",
    "read_first_texts",
    "read_scores",
    "select_labels",
]
PREDICTIONS_FILENAME = "predictions.arrow"

COLUMNS: tuple[PredictionColumns, ...] = (
    SingleLabelColumns(),
    MultiLabelColumns(),
    RegressionColumns(),
)


class PredictionsWriter:
    """Writes the file part by part, in the order of the rows; a context manager.

    Memory is that of one part.
    """

    def __init__(
        self,
        directory: Path,
        *,
        has_pairs: bool = False,
        columns: PredictionColumns = COLUMNS[0],
    ) -> None:
        self._columns = columns
        self._schema = build_schema(columns, has_pairs=has_pairs)
        self._writer: Any = pa.ipc.new_file(directory / PREDICTIONS_FILENAME, self._schema)
        self._rows = 0

    def __enter__(self) -> PredictionsWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(
        self,
        labels: npt.NDArray[Any],
        scores: npt.NDArray[np.float32],
        texts: Sequence[Text] | None,
    ) -> None:
        """Append rows; labels and scores as the columns take them, texts: [rows], or always None.

        For single labels, the predicted class is the first one with the largest score.
        """
        count = len(scores)
        columns = [
            pa.array(np.arange(self._rows, self._rows + count), pa.int64()),
            *self._columns.build_arrays(labels, scores),
        ]
        missing = len(self._schema) - len(columns)
        columns += (
            [pa.nulls(count, pa.string())] * missing if texts is None else build_text_arrays(texts)
        )
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._rows += count


def iterate_predictions(directory: Path) -> Iterator[Predictions]:
    """The predictions of a report, part by part; memory is that of one part.

    Raises DataError for a missing or damaged file, another schema, and rows that are missing or out
    of order. Does not check the digest: `open_report` on the same directory does.
    """
    first_row, width = 0, 0
    with _open_file(directory) as (file, columns):
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            part = _read_rows(directory, batch, first_row, columns)
            width = width or part.scores.shape[1]
            if part.scores.shape[1] != width:
                raise _rows_error(directory)
            first_row += len(batch)
            yield part
    if first_row == 0:
        raise _rows_error(directory)


def read_scores(directory: Path, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """The scores of the rows: [len(rows), classes]; only the parts that have them are read.

    Raises DataError as `iterate_predictions` does, and for rows that the report does not have.
    """
    selected: npt.NDArray[np.float32] | None = None
    found = first_row = 0
    with _open_file(directory) as (file, columns):
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)  # mapped into memory: this reads no values
            inside = (rows >= first_row) & (rows < first_row + len(batch))
            if inside.any():
                scores = _read_rows(directory, batch, first_row, columns).scores
                if selected is None:
                    selected = np.empty((len(rows), scores.shape[1]), np.float32)
                if scores.shape[1] != selected.shape[1]:
                    raise _rows_error(directory)
                selected[inside] = scores[rows[inside] - first_row]
                found += int(inside.sum())
            first_row += len(batch)
    if selected is None or found < len(rows):
        raise _rows_error(directory)
    return selected


def _read_rows(
    directory: Path, batch: pa.RecordBatch, first_row: int, columns: PredictionColumns
) -> Predictions:
    """The rows of a part; DataError if they are not those from this one."""
    part = columns.read_rows(batch)
    rows = np.arange(first_row, first_row + len(batch))
    if part is None or not np.array_equal(batch["row"].to_numpy(), rows):
        raise _rows_error(directory)
    return part


@contextmanager
def _open_file(directory: Path) -> Iterator[tuple[Any, PredictionColumns]]:
    path = directory / PREDICTIONS_FILENAME
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
            columns = next((each for each in COLUMNS if has_columns(file.schema, each)), None)
            if columns is None:
                raise DataError(
                    f"{path}: its columns are not those of predictions; run the evaluation again"
                )
            yield file, columns
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read ({error}); run the evaluation again") from None


def _rows_error(directory: Path) -> DataError:
    return DataError(
        f"{directory / PREDICTIONS_FILENAME}: rows are missing, out of order or of different "
        "widths; run the evaluation again"
    )


def read_first_texts(directory: Path, rows: int) -> list[Text]:
    """The texts, or pairs, of the first rows; none if the report must not contain texts."""
    with _open_file(directory) as (file, _):
        return list(_read_texts(file.get_batch(0).slice(0, rows)) or ())


def _read_texts(batch: pa.RecordBatch) -> tuple[Text, ...] | None:
    columns = batch.columns[batch.schema.get_field_index(TEXT) :]
    if any(column.null_count for column in columns):
        return None
    texts = [column.to_pylist() for column in columns]
    return tuple(zip(*texts, strict=True)) if len(texts) > 1 else tuple(texts[0])
