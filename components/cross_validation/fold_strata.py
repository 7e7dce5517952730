"""The stratum of each row for stratified folds: its class, or the rarest one of its labels.

A text without any label is of a stratum of its own, behind the last class. Folds are then equal in
their texts of the rarest label; those of a label that texts mostly have beside rarer ones follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from components.artifacts.shard_metadata import list_class_names
from components.artifacts.task.label_columns import LabelArray
from components.config.task import TaskKind
from components.cross_validation.fold_assignment import (
    Folds,
    Hashes,
    assign_stratified_folds,
    count_distinct_texts,
)
from components.errors import ConfigError

BATCH_ROWS = 4000
"""Rows whose labels are read at a time: zeros and ones, [rows, classes]."""
Strata = npt.NDArray[np.int32]


def assign_folds_by_labels(
    hashes: Hashes,
    labels: Sequence[LabelArray],
    kind: TaskKind,
    classes: Sequence[str],
    folds: int,
) -> Folds:
    """Return the fold, from 0, of each row, so that folds have equal shares of every class.

    `hashes` are those of all rows, whose labels are in `labels`, one array after the other. Raises
    ConfigError for numbers, and if a class has fewer different texts than there are folds.
    """
    if kind == "regression":
        raise ConfigError(
            "data.stratify: gives each fold its share of every class, and task.kind=regression has "
            "none; leave it out"
        )
    if kind == "multi_label":
        counts = count_texts_by_label(hashes, labels, len(classes))
        strata = choose_rarest_labels(labels, counts)
    else:
        strata = np.concatenate([each[:] for each in labels]).astype(np.int32)
        counts = count_distinct_texts(hashes, strata, len(classes))
    _check_counts(counts, classes, folds)
    return assign_stratified_folds(hashes, strata, len(classes) + (kind == "multi_label"), folds)


def count_texts_by_label(
    hashes: Hashes, labels: Sequence[LabelArray], classes: int
) -> npt.NDArray[np.int64]:
    """Return the number of different texts that have each label; equal texts count once."""
    rows, indices = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for first_row, part in _read_parts(labels):
        part_rows, part_indices = np.nonzero(part)
        rows.append(part_rows + first_row)
        indices.append(part_indices)
    owners, texts = np.concatenate(indices), hashes[np.concatenate(rows)]
    order = np.lexsort((texts, owners))
    owners, texts = owners[order], texts[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (owners[1:] != owners[:-1]) | (texts[1:] != texts[:-1])
    return np.bincount(owners[is_first], minlength=classes)


def choose_rarest_labels(labels: Sequence[LabelArray], counts: npt.NDArray[np.int64]) -> Strata:
    """Return the label with the smallest count of each row; len(counts) for a row without one."""
    by_count = np.argsort(counts, kind="stable")
    strata = [np.zeros(0, np.int32)]
    for _, part in _read_parts(labels):
        rarest = by_count[part[:, by_count].argmax(axis=1)]
        strata.append(np.where(part.any(axis=1), rarest, len(counts)).astype(np.int32))
    return np.concatenate(strata)


def _read_parts(labels: Sequence[LabelArray]) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """The labels in parts, each with the number of its first row among all of them."""
    first_row = 0
    for each in labels:
        for start in range(0, len(each), BATCH_ROWS):
            part = each[start : start + BATCH_ROWS]
            yield first_row, part
            first_row += len(part)


def _check_counts(counts: npt.NDArray[np.int64], classes: Sequence[str], folds: int) -> None:
    """ConfigError if a class has fewer different texts than there are folds."""
    small = [index for index, count in enumerate(counts[: len(classes)]) if 0 < count < folds]
    if small:
        rarest = min(small, key=lambda index: int(counts[index]))
        fewer = f"use at most {counts[rarest]} folds, " if counts[rarest] > 1 else "use "
        raise ConfigError(
            f"{folds} folds with data.stratify need {folds} different texts of every class, but "
            f"{list_class_names([classes[rarest]])} has {counts[rarest]}; {fewer}more rows, or "
            "data.stratify=false"
        )
