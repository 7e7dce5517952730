"""Statistics and encoder of the labels for each kind of task."""

from __future__ import annotations

from collections.abc import Sequence

from components.config.schema import DataConfig, TaskConfig
from components.data.labels import LabelEncoder, LabelStatistics
from components.data.labels.class_names import ClassStatistics, build_label_map
from components.data.labels.label_sets import (
    LabelSetFormat,
    LabelSetStatistics,
    build_label_sets,
)
from components.data.labels.numbers import NumberStatistics, build_number_labels


def create_statistics(task: TaskConfig, data: DataConfig) -> ClassStatistics | NumberStatistics:
    """Return the statistics that a first pass fills."""
    if task.kind == "regression":
        return NumberStatistics()
    if task.kind == "single_label":
        return ClassStatistics(data.max_classes)
    columns = data.label_columns if len(data.label_columns) > 1 else ()
    return LabelSetStatistics(data.max_classes, format=LabelSetFormat(task.separator, columns))


def build_labels(
    statistics: LabelStatistics,
    configured: Sequence[str] | None,
    source_names: Sequence[str] | None,
    column: str,
) -> LabelEncoder:
    """Return the encoder of the labels that `statistics` describe.

    Raises DataError, which begins with `column`, for a column without such labels.
    """
    if isinstance(statistics, NumberStatistics):
        return build_number_labels(statistics, column)
    if isinstance(statistics, LabelSetStatistics):
        return build_label_sets(statistics, configured, source_names, column)
    assert isinstance(statistics, ClassStatistics)
    return build_label_map(statistics, configured, source_names, column)
