"""The out-of-fold predictions: each row once, scored by the model that was not trained on it.

They are what searches for wrong labels start from: a row whose label the models of the other rows
contradict with confidence is worth a look.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.artifacts.cross_validation import PREDICTIONS_FILENAME
from components.artifacts.predictions import PREDICTIONS_FILENAME as FOLD_FILENAME
from components.config.task import TaskKind
from components.cross_validation.out_of_fold_columns import describe_columns
from components.errors import DataError


def write_out_of_fold(
    directory: Path,
    reports: Sequence[Path],
    classes: Sequence[str],
    kind: TaskKind = "single_label",
) -> int:
    """Write the predictions of the reports, in their order, as one file; the number of rows.

    Columns: `fold` (from 1), then those of the reports' predictions with names instead of indices
    of classes (`row` is that in the fold's test split), and those that say how wrong a label may be
    (`components.cross_validation.out_of_fold_columns`). Memory is that of one part of a report.
    DataError for reports that do not fit together.
    """
    names = pa.array(classes, pa.string())
    writer: Any = None
    rows = 0
    try:
        for number, report in enumerate(reports, start=1):
            path = report / FOLD_FILENAME
            try:
                with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
                    for index in range(file.num_record_batches):
                        batch = file.get_batch(index)
                        fold = pa.array([number] * len(batch), pa.int32())
                        table = pa.table({"fold": fold, **describe_columns(batch, names, kind)})
                        if writer is None:
                            writer = pq.ParquetWriter(
                                directory / PREDICTIONS_FILENAME, table.schema
                            )
                        writer.write_table(table)
                        rows += len(table)
            except (OSError, pa.ArrowInvalid, ValueError, KeyError) as error:
                raise DataError(
                    f"{path}: cannot be joined to the other folds' predictions ({error}); run the "
                    "evaluation again"
                ) from None
    finally:
        if writer is not None:
            writer.close()
    return rows
