"""Step `fold`: token shards of all rows -> the token shards of one fold.

The rows of the training and the validation split take part. Those of the fold become the test
split; the others stay what they are, so that the best epoch is selected on rows that are not in
the fold. The test split of the data is left out. Nothing is tokenized again, and no two folds hold
out the same text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from components.artifacts.manifest import staged_artifact
from components.artifacts.shard_metadata import describe_absent_classes
from components.artifacts.task import TaskInfo
from components.artifacts.token_shards import (
    ShardsContent,
    ShardWriter,
    SplitInfo,
    SplitReader,
    TokenShards,
    commit_shards,
    open_shards,
)
from components.config.task import TaskKind
from components.cross_validation.fold_assignment import Folds, Hashes, assign_folds
from components.cross_validation.fold_strata import assign_folds_by_labels
from components.data.split_names import SPLITS, SplitName
from components.data.splits import hash_texts
from components.errors import ConfigError, DataError
from components.progress import StepName, report, report_note

PARTICIPATING_SPLITS: tuple[SplitName, ...] = ("train", "validation")
DEFAULT_ROWS_PER_SHARD = 100_000
BATCH_ROWS = 4000
Rows = npt.NDArray[np.int64]


def run(
    shards: Path, folds: int, fold: int, output: Path, *, stratify: bool = False
) -> ShardsContent:
    """Write the shards of fold number `fold`, from 1 to `folds`, to `output`.

    Equal rows, options and numbers give equal shards. Raises ConfigError for numbers that are no
    fold and for strata that are smaller than `folds`; DataError for shards without the texts of
    their training rows, and if a split of the fold is empty or its training rows are of one class,
    have no label, or all have the same number.
    """
    if not 1 <= fold <= folds or folds < 2:
        raise ConfigError(f"fold {fold} of {folds}: folds are numbered from 1, and are 2 or more")
    report(StepName.FOLD, "reading the texts")
    opened = open_shards(shards)
    readers = {name: opened.open_split(name) for name in PARTICIPATING_SPLITS}
    assigned = _assign(readers, opened.content, folds, stratify=stratify)
    with staged_artifact(output) as directory:
        splits, task = _write_splits(directory, opened, readers, assigned, fold - 1)
        _check_splits(splits, task.kind, fold, folds)
        notes = describe_absent_classes(splits)
        for note in notes:
            report_note(StepName.FOLD, f"fold {fold}: {note}")
        content = opened.content.model_copy(
            update={
                "splits": splits,
                "task": task,
                "notes": [*_keep_notes(opened.content), *notes],
            }
        )
        commit_shards(
            directory,
            opened.vocabulary,
            content,
            {"shards": opened.digest},
            {"cross_validation": {"folds": folds, "fold": fold, "stratify": stratify}},
        )
    return content


def _assign(
    readers: Mapping[SplitName, SplitReader], content: ShardsContent, folds: int, *, stratify: bool
) -> dict[SplitName, Folds]:
    """The fold, from 0, of each row of the splits that take part."""
    hashes = {name: _hash_rows(reader) for name, reader in readers.items()}
    together = np.concatenate([hashes[name] for name in PARTICIPATING_SPLITS])
    if not stratify:
        assigned = assign_folds(together, folds)
    else:
        labels = [readers[name].read_labels() for name in PARTICIPATING_SPLITS]
        kind = content.task.kind
        assigned = assign_folds_by_labels(together, labels, kind, content.classes, folds)
    limit = len(hashes["train"])
    return {"train": assigned[:limit], "validation": assigned[limit:]}


def _hash_rows(reader: SplitReader) -> Hashes:
    parts = [hash_texts(reader.read_texts(rows)) for rows in _cut(np.arange(len(reader)))]
    return np.concatenate([np.zeros(0, np.uint64), *parts])


def _write_splits(
    directory: Path,
    opened: TokenShards,
    readers: Mapping[SplitName, SplitReader],
    assigned: Mapping[SplitName, Folds],
    fold: int,
) -> tuple[dict[SplitName, SplitInfo], TaskInfo]:
    """The splits of a fold, and the kind of task as its training rows describe it."""
    rows_per_shard = int(
        opened.manifest.config.get("tokenize", {}).get("shard_rows", DEFAULT_ROWS_PER_SHARD)
    )
    infos, task = {}, opened.content.task
    for split in SPLITS:
        writer = ShardWriter(
            directory,
            split,
            len(opened.vocabulary),
            opened.content.classes,
            rows_per_shard,
            has_pairs=len(opened.content.inputs) > 1,
            kind=opened.content.task.kind,
        )
        sources = PARTICIPATING_SPLITS if split == "test" else (split,)
        for name in sources:
            is_held_out = assigned[name] == fold
            chosen = np.flatnonzero(is_held_out if split == "test" else ~is_held_out)
            _copy_rows(readers[name], chosen, writer)
        infos[split] = writer.close()
        if split == "train" and infos[split].rows:
            task = writer.describe_task()
        report(StepName.FOLD, f"{split}: {infos[split].rows:,} rows")
    return infos, task


def _copy_rows(reader: SplitReader, chosen: Rows, writer: ShardWriter) -> None:
    labels = reader.read_labels()
    for rows in _cut(chosen):
        ids, row_splits = reader.read_flat(rows)
        writer.add_rows(ids, row_splits, labels[rows], reader.read_texts(rows))


def _cut(rows: Rows) -> Iterator[Rows]:
    return (rows[start : start + BATCH_ROWS] for start in range(0, len(rows), BATCH_ROWS))


def _check_splits(
    splits: Mapping[SplitName, SplitInfo], kind: TaskKind, fold: int, folds: int
) -> None:
    """Raise DataError for an empty split, and for training rows that teach no class."""
    remedies = {
        "test": "give more rows, or fewer folds",
        "validation": "give more rows, or a larger data.validation_fraction",
        "train": "give more rows, or a smaller data.validation_fraction",
    }
    for split, info in splits.items():
        if not info.rows:
            rows = "training" if split == "train" else split
            what = "holds out no row" if split == "test" else f"leaves no {rows} rows"
            raise DataError(f"fold {fold} of {folds} {what}; {remedies[split]}")
    classes = [name for name, count in splits["train"].class_counts.items() if count]
    if kind == "multi_label" and not classes:
        raise DataError(
            f"fold {fold} of {folds} leaves training rows without any label; give more rows that "
            "have some, or set data.stratify=true"
        )
    if len(classes) == 1:
        raise DataError(
            f"fold {fold} of {folds} leaves training rows of one class only ({classes[0]}); "
            "give more rows of the others, or set data.stratify=true"
        )


def _keep_notes(content: ShardsContent) -> list[str]:
    """The notes on the data that hold for each fold: all but those on what the splits lack."""
    about_splits: Sequence[Any] = describe_absent_classes(content.splits)
    return [note for note in content.notes if note not in about_splits]
