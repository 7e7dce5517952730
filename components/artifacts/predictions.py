"""Predictions of the evaluated model for every test row, in the order of the test split.

`predictions.arrow` is an uncompressed Arrow IPC file with the columns row (int64), label (int32),
predicted (int32), scores (list<float32>, one per class) and text (string), for pairs of texts also
text_pair (string). The text columns are null throughout if the report must not contain texts; the
token shards have them under the same row numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts.token_shards import build_text_arrays
from components.data.text_columns import Text
from components.errors import DataError

PREDICTIONS_FILENAME = "predictions.arrow"

SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("predicted", pa.int32(), nullable=False),
        pa.field(
            "scores", pa.list_(pa.field("item", pa.float32(), nullable=False)), nullable=False
        ),
        pa.field("text", pa.string()),
    ]
)
TEXT_COLUMN = SCHEMA.get_field_index("text")
"""Index of the text's column, and of the first one of a pair."""
PAIR_SCHEMA = SCHEMA.append(pa.field("text_pair", pa.string()))


@dataclass(frozen=True)
class Predictions:
    """Labels, predicted classes and scores of consecutive test rows.

    labels and predicted: int32 [rows]; scores: float32 [rows, classes]. The texts of the first rows
    are read by `read_first_texts`.
    """

    labels: npt.NDArray[np.int32]
    predicted: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)


class PredictionsWriter:
    """Writes the file part by part, in the order of the rows; a context manager.

    Memory is that of one part.
    """

    def __init__(self, directory: Path, *, has_pairs: bool = False) -> None:
        self._schema = PAIR_SCHEMA if has_pairs else SCHEMA
        self._writer: Any = pa.ipc.new_file(directory / PREDICTIONS_FILENAME, self._schema)
        self._rows = 0

    def __enter__(self) -> PredictionsWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(
        self,
        labels: npt.NDArray[np.int32],
        scores: npt.NDArray[np.float32],
        texts: Sequence[Text] | None,
    ) -> None:
        """Append rows; labels: [rows], scores: [rows, classes], texts: [rows], or always None.

        The predicted class is the first one with the largest score.
        """
        count, classes = scores.shape
        values = np.ascontiguousarray(scores, dtype=np.float32).ravel()
        columns = [
            pa.array(np.arange(self._rows, self._rows + count), pa.int64()),
            pa.array(labels, pa.int32()),
            pa.array(scores.argmax(axis=1), pa.int32()),
            pa.ListArray.from_arrays(
                pa.array(np.arange(count + 1, dtype=np.int32) * classes, pa.int32()),
                pa.array(values, pa.float32()),
                type=SCHEMA.field("scores").type,
            ),
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
    with _open_file(directory) as file:
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            scores = _extract_scores(directory, batch, first_row)
            width = width or scores.shape[1]
            if scores.shape[1] != width:
                raise _rows_error(directory)
            first_row += len(batch)
            yield Predictions(batch["label"].to_numpy(), batch["predicted"].to_numpy(), scores)
    if first_row == 0:
        raise _rows_error(directory)


def read_scores(directory: Path, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """The scores of the rows: [len(rows), classes]; only the parts that have them are read.

    Raises DataError as `iterate_predictions` does, and for rows that the report does not have.
    """
    selected: npt.NDArray[np.float32] | None = None
    found = first_row = 0
    with _open_file(directory) as file:
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)  # mapped into memory: this reads no values
            inside = (rows >= first_row) & (rows < first_row + len(batch))
            if inside.any():
                scores = _extract_scores(directory, batch, first_row)
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


def _extract_scores(
    directory: Path, batch: pa.RecordBatch, first_row: int
) -> npt.NDArray[np.float32]:
    """The scores of a part, [rows, classes]; DataError if its rows are not those from this one."""
    widths = np.unique(batch["scores"].value_lengths().to_numpy(zero_copy_only=False))
    rows = np.arange(first_row, first_row + len(batch))
    if not np.array_equal(batch["row"].to_numpy(), rows) or len(widths) != 1:
        raise _rows_error(directory)
    scores: npt.NDArray[np.float32] = batch["scores"].flatten().to_numpy()
    return scores.reshape(len(batch), int(widths[0]))


@contextmanager
def _open_file(directory: Path) -> Iterator[Any]:
    path = directory / PREDICTIONS_FILENAME
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
            if file.schema not in (SCHEMA, PAIR_SCHEMA):
                raise DataError(
                    f"{path}: its columns are not those of predictions; run the evaluation again"
                )
            yield file
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read ({error}); run the evaluation again") from None


def _rows_error(directory: Path) -> DataError:
    return DataError(
        f"{directory / PREDICTIONS_FILENAME}: rows are missing, out of order or of different "
        "widths; run the evaluation again"
    )


def read_first_texts(directory: Path, rows: int) -> list[Text]:
    """The texts, or pairs, of the first rows; none if the report must not contain texts."""
    with _open_file(directory) as file:
        return list(_read_texts(file.get_batch(0).slice(0, rows)) or ())


def _read_texts(batch: pa.RecordBatch) -> tuple[Text, ...] | None:
    columns = batch.columns[TEXT_COLUMN:]
    if any(column.null_count for column in columns):
        return None
    texts = [column.to_pylist() for column in columns]
    return tuple(zip(*texts, strict=True)) if len(texts) > 1 else tuple(texts[0])
