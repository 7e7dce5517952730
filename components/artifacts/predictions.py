"""Predictions of the evaluated model for every test row, in the order of the test split.

`predictions.arrow` is an uncompressed Arrow IPC file with the columns row (int64), label (int32),
predicted (int32), scores (list<float32>, one per class) and text (string). The text column is null
throughout if the report must not contain texts; the token shards have them under the same row
numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.errors import DataError

PREDICTIONS_FILENAME = "predictions.arrow"
BATCH_ROWS = 65_536

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


@dataclass(frozen=True)
class Predictions:
    """Labels, predicted classes and scores of all test rows.

    labels and predicted: int32 [rows]; scores: float32 [rows, classes]; texts: one per row, or None
    if the report has none.
    """

    labels: npt.NDArray[np.int32]
    predicted: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    texts: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.labels)


def write_predictions(
    directory: Path,
    labels: npt.NDArray[np.int32],
    scores: npt.NDArray[np.float32],
    texts: Sequence[str] | None,
) -> None:
    """Write the file; labels: [rows], scores: [rows, classes].

    The predicted class is the first one with the largest score.
    """
    rows, classes = scores.shape
    predicted = scores.argmax(axis=1)
    with pa.ipc.new_file(directory / PREDICTIONS_FILENAME, SCHEMA) as writer:
        for start in range(0, rows, BATCH_ROWS):
            part = slice(start, min(start + BATCH_ROWS, rows))
            count = part.stop - part.start
            offsets = pa.array(np.arange(count + 1, dtype=np.int32) * classes, pa.int32())
            values = pa.array(
                np.ascontiguousarray(scores[part], dtype=np.float32).ravel(), pa.float32()
            )
            columns = [
                pa.array(np.arange(part.start, part.stop), pa.int64()),
                pa.array(labels[part], pa.int32()),
                pa.array(predicted[part], pa.int32()),
                pa.ListArray.from_arrays(offsets, values, type=SCHEMA.field("scores").type),
                pa.nulls(count, pa.string())
                if texts is None
                else pa.array(texts[part], pa.string()),
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))


def read_predictions(directory: Path) -> Predictions:
    """The predictions of a report; DataError for a missing or damaged file or another schema.

    Does not check the digest: `open_report` on the same directory does.
    """
    path = directory / PREDICTIONS_FILENAME
    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read ({error}); run the evaluation again") from None
    if table.schema != SCHEMA:
        raise DataError(
            f"{path}: its columns are not those of predictions; run the evaluation again"
        )
    scores = table["scores"].combine_chunks()
    widths = np.unique(scores.value_lengths().to_numpy(zero_copy_only=False))
    rows = table["row"].to_numpy()
    if len(widths) != 1 or not np.array_equal(rows, np.arange(len(rows))):
        raise DataError(
            f"{path}: rows are missing, out of order or of different widths; "
            "run the evaluation again"
        )
    texts = table["text"]
    return Predictions(
        labels=table["label"].to_numpy(),
        predicted=table["predicted"].to_numpy(),
        scores=scores.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), int(widths[0])),
        texts=None if texts.null_count else tuple(texts.to_pylist()),
    )


def read_first_texts(directory: Path, rows: int) -> list[str]:
    """The texts of the first rows of a report; none if the report must not contain texts."""
    path = directory / PREDICTIONS_FILENAME
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
            texts = file.get_batch(0).column("text").slice(0, rows).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read ({error}); run the evaluation again") from None
    return [text for text in texts if text is not None]
