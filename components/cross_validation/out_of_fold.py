"""The out-of-fold predictions: each row once, scored by the model that was not trained on it.

They are what searches for wrong labels start from: a row whose label the models of the other rows
contradict with confidence is worth a look.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from components.artifacts.cross_validation import PREDICTIONS_FILENAME
from components.artifacts.predictions import PREDICTIONS_FILENAME as FOLD_FILENAME
from components.errors import DataError

SCORE_COLUMNS = {"label": "label_score", "predicted": "confidence"}
"""Columns with indices of classes, which become their names, and the columns of their scores."""


def write_out_of_fold(directory: Path, reports: Sequence[Path], classes: Sequence[str]) -> int:
    """Write the predictions of the reports, in their order, as one file; the number of rows.

    Columns: `fold` (from 1), then those of the reports' predictions: `row` (in the fold's test
    split), `label`, `predicted`, `scores`, `text`; for rows with one label `confidence` and
    `label_score`, too: the scores of the predicted class and of the label. Memory is that of one
    part of a report. DataError for reports that do not fit together.
    """
    writer: Any = None
    rows = 0
    try:
        for number, report in enumerate(reports, start=1):
            path = report / FOLD_FILENAME
            try:
                with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
                    for index in range(file.num_record_batches):
                        table = _describe_rows(file.get_batch(index), number, classes)
                        if writer is None:
                            writer = pq.ParquetWriter(
                                directory / PREDICTIONS_FILENAME, table.schema
                            )
                        writer.write_table(table)
                        rows += len(table)
            except (OSError, pa.ArrowInvalid, ValueError) as error:
                raise DataError(
                    f"{path}: cannot be joined to the other folds' predictions ({error}); run the "
                    "evaluation again"
                ) from None
    finally:
        if writer is not None:
            writer.close()
    return rows


def _describe_rows(batch: pa.RecordBatch, fold: int, classes: Sequence[str]) -> pa.Table:
    """The rows with their fold, and with names and scores instead of indices of classes."""
    names = pa.array(classes, pa.string())
    columns: dict[str, Any] = {"fold": pa.array([fold] * len(batch), pa.int32())}
    for name in batch.schema.names:
        column = batch[name]
        is_index = name in SCORE_COLUMNS and pa.types.is_integer(column.type)
        columns[name] = names.take(column) if is_index else column
        if is_index:
            columns[SCORE_COLUMNS[name]] = _take_scores(batch["scores"], column)
    return pa.table(columns)


def _take_scores(scores: pa.ListArray, indices: pa.Array) -> pa.Array:
    """The score of one class of each row."""
    flat: npt.NDArray[np.float32] = scores.flatten().to_numpy()
    by_class = flat.reshape(len(indices), -1)
    return pa.array(by_class[np.arange(len(indices)), indices.to_numpy()], pa.float32())
