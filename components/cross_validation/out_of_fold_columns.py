"""The columns of out-of-fold predictions by kind of task: names, and how wrong a label may be.

| kind         | label        | predicted    | what a search for wrong labels sorts by            |
|--------------|--------------|--------------|----------------------------------------------------|
| single_label | string       | string       | `label_score`, `confidence`: scores of both        |
| multi_label  | list<string> | list<string> | `wrong`, `is_missed`, `confidence`: see below      |
| regression   | double       | float        | `error`: predicted minus actual number             |

Of the labels that a text was wrongly given, or not given, `wrong` is the one that the model was
surest about: `is_missed` if the text has it, `confidence` its score, or 1 minus its score if it is
missed. All three are null where the model agrees with all labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts.predictions import (
    MultiLabelColumns,
    RegressionColumns,
    SingleLabelColumns,
)
from components.artifacts.predictions.columns import PredictionColumns, has_columns
from components.config.task import TaskKind

Columns = dict[str, Any]
_COLUMNS: dict[TaskKind, PredictionColumns] = {
    "single_label": SingleLabelColumns(),
    "multi_label": MultiLabelColumns(),
    "regression": RegressionColumns(),
}
_SCORE_COLUMNS = {"label": "label_score", "predicted": "confidence"}


def describe_columns(batch: pa.RecordBatch, names: pa.StringArray, kind: TaskKind) -> Columns:
    """The columns of a part of a report's predictions, with names instead of indices of classes.

    Raises ValueError if the part is not of this kind of task.
    """
    if not has_columns(batch.schema, _COLUMNS[kind]):
        raise ValueError(f"its columns are not those of task.kind={kind}")
    columns: Columns = {}
    for name in batch.schema.names:
        column = batch[name]
        columns[name] = column
        if kind == "regression" and name == "predicted":
            columns["error"] = pa.array(column.to_numpy() - batch["label"].to_numpy(), pa.float64())
        elif kind == "single_label" and name in _SCORE_COLUMNS:
            columns[name] = names.take(column)
            columns[_SCORE_COLUMNS[name]] = _take_scores(batch["scores"], column)
        elif kind == "multi_label" and name in ("label", "predicted"):
            columns[name] = pa.ListArray.from_arrays(column.offsets, names.take(column.flatten()))
            if name == "predicted":
                columns |= _find_wrong_labels(batch, names)
    return columns


def _take_scores(scores: pa.ListArray, indices: pa.Array) -> pa.Array:
    """The score of one class of each row."""
    flat: npt.NDArray[np.float32] = scores.flatten().to_numpy()
    by_class = flat.reshape(len(indices), -1)
    return pa.array(by_class[np.arange(len(indices)), indices.to_numpy()], pa.float32())


def _find_wrong_labels(batch: pa.RecordBatch, names: pa.StringArray) -> Columns:
    """Of each row, the wrong label that the model was surest about."""
    rows = MultiLabelColumns().read_rows(batch)
    if rows is None:
        raise ValueError("its labels are not those of one list of classes")
    wrong = rows.predicted != rows.labels.astype(bool)
    certainty = np.where(rows.predicted, rows.scores, 1 - rows.scores)
    certainty[~wrong] = -1
    worst = certainty.argmax(axis=1)
    agrees = ~wrong.any(axis=1)
    each = np.arange(len(rows))
    return {
        "wrong": names.take(pa.array(worst, pa.int64(), mask=agrees)),
        "is_missed": pa.array(rows.labels[each, worst].astype(bool), pa.bool_(), mask=agrees),
        "confidence": pa.array(certainty[each, worst], pa.float32(), mask=agrees),
    }
