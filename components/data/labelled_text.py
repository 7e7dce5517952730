"""Labelled texts, each with its class index and its split, streamed from the sources of a run.

A row is rejected, and counted by reason, if it is malformed; if its text is not Unicode (invalid
UTF-8, lone surrogates), not a string, or blank (only spaces, control and format characters); or
if its label is missing, unknown, out of range, negative or fractional. All other texts are not
modified.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.config.schema import DataConfig
from components.data.labels import LabelMap, LabelStatistics, build_label_map
from components.data.read_stats import ReadStats, RejectedRows
from components.data.row_cache import CachedRows
from components.data.rows import ExcludedRows, MalformedRow, RowBatch, RowReader, Source
from components.data.sources import open_source
from components.data.split_names import SPLITS
from components.data.splits import assign_splits, hash_texts
from components.data.text_columns import (
    NOT_TEXT,
    ColumnLayout,
    join_columns,
    join_valid_texts,
    text_error,
)
from components.data.time_window import (
    Window,
    WindowedRows,
    fill_date_placeholder,
    parse_window,
)
from components.errors import DataError


class ExampleBatch(NamedTuple):
    """Consecutive examples: texts, class indices, splits as indices into SPLITS (int8 [rows])."""

    texts: Sequence[str]
    labels: Sequence[int]
    splits: npt.NDArray[np.int8]


@dataclass(frozen=True)
class LabelledDataset:
    """The sources of a run after a first pass, which found the classes and counted the rows.

    `rows` counts valid and rejected rows. With a time window, `source` yields the rows within it
    only, and `outside_window` counts the others by reason.
    """

    data: DataConfig
    layout: ColumnLayout
    source: Source
    test_source: Source | None
    labels: LabelMap
    rows: int
    window: Window | None = None
    outside_window: Counter[str] = field(default_factory=Counter)

    def read_examples(self) -> ExampleReader:
        """Return an iterable over all examples, in batches."""
        return ExampleReader(self)


class ExampleReader:
    """Iterates over the examples of a dataset, a given test split first, in the sources' order.

    `stats` describes the latest pass and is complete when it has ended, which is when DataError
    is raised if too many rows were rejected; from the first one too many on, rows are only
    counted. Memory: 8 bytes per row of a given test split.
    """

    def __init__(self, dataset: LabelledDataset) -> None:
        self._dataset = dataset
        self.stats = self._new_stats()

    def __iter__(self) -> Iterator[ExampleBatch]:
        dataset, data = self._dataset, self._dataset.data
        self.stats = self._new_stats()
        test_hashes = np.zeros(0, np.uint64)
        if dataset.test_source is not None:
            hashes = []
            for texts, labels in self._read_valid_rows(dataset.test_source):
                hashes.append(hash_texts(texts))
                splits = np.full(len(texts), SPLITS.index("test"), np.int8)
                yield ExampleBatch(texts, labels, splits)
            test_hashes = np.unique(np.concatenate([test_hashes, *hashes]))
        test_fraction = data.test_fraction if dataset.test_source is None else 0.0
        for texts, labels in self._read_valid_rows(dataset.source):
            text_hashes = hash_texts(texts)
            splits = assign_splits(text_hashes, data.validation_fraction, test_fraction)
            if len(test_hashes):
                nearest = np.searchsorted(test_hashes, text_hashes).clip(max=len(test_hashes) - 1)
                duplicates = splits[test_hashes[nearest] == text_hashes]
                self.stats.duplicates_of_test.update(SPLITS[split] for split in duplicates.tolist())
            yield ExampleBatch(texts, labels, splits)
        self.stats.rejected.check(f"A label must be {dataset.labels.allowed_labels}. ")

    def _new_stats(self) -> ReadStats:
        return ReadStats(RejectedRows(self._dataset.data.max_bad_rows))

    def _read_valid_rows(self, source: Source) -> Iterator[tuple[Sequence[str], Sequence[int]]]:
        rejected = self.stats.rejected
        for batch in source.reader.read(self._dataset.layout.names):
            if isinstance(batch, MalformedRow):
                rejected.add(source.name, batch.number, batch.line, batch.reason)
            elif isinstance(batch, ExcludedRows):
                continue
            elif (valid := self._read_valid_batch(batch)) is None:
                texts, labels = self._read_row_by_row(batch, source.name)
                if texts:
                    yield texts, labels
            elif not rejected.is_over_limit:
                yield valid

    def _read_valid_batch(self, batch: RowBatch) -> tuple[list[str], list[int]] | None:
        """Return texts and class indices of a batch without rejected rows; None for any other."""
        layout = self._dataset.layout
        texts = join_valid_texts(layout.text_columns(batch))
        labels = self._dataset.labels.class_indices(layout.labels(batch))
        return None if texts is None or labels is None else (texts, labels)

    def _read_row_by_row(self, batch: RowBatch, source: str) -> tuple[list[str], list[int]]:
        """Return the texts and class indices of the valid rows, and count the rejected ones."""
        layout, rejected = self._dataset.layout, self.stats.rejected
        texts, labels = [], []
        parts_of_texts = zip(*layout.text_columns(batch), strict=True)
        for number, line, parts, value in zip(
            batch.numbers, batch.lines, parts_of_texts, layout.labels(batch), strict=True
        ):
            text = join_columns(parts)
            error = NOT_TEXT if text is None else text_error(text)
            label = self._dataset.labels.class_index_or_error(value)
            if text is None or error is not None:
                rejected.add(source, number, line, error or NOT_TEXT, "+".join(layout.text))
            elif isinstance(label, str):
                rejected.add(source, number, line, label, layout.label)
            elif not rejected.is_over_limit:
                texts.append(text)
                labels.append(label)
        return texts, labels


@contextmanager
def open_dataset(data: DataConfig) -> Iterator[LabelledDataset]:
    """Open the configured sources and make a first pass over them, which finds the classes.

    Raises DataError or ConfigError for a source that cannot be read, has no rows, or whose label
    column holds no classes.
    """
    window, uri, layout = (
        parse_window(data),
        fill_date_placeholder(data),
        ColumnLayout.from_config(data),
    )
    with ExitStack() as stack:
        source = stack.enter_context(open_source(uri, data))
        test_source = None
        if data.test_source is not None:
            test_source = stack.enter_context(
                open_source(data.test_source, data, splits=("test", "train"))
            )
        elif "test" in source.splits:
            test_source = source.select_split("test")
        source = _with_stages(source, window)
        statistics, outside_window = _collect_statistics(source, layout)
        rows = statistics.rows
        if test_source is not None:
            test_source = _with_stages(test_source, None)
            rows += _collect_statistics(test_source, layout)[0].rows
        labels = build_label_map(
            statistics, data.classes, source.class_names, f"{source.name}, column {data.label!r}"
        )
        yield LabelledDataset(
            data, layout, source, test_source, labels, rows, window, outside_window
        )


def _with_stages(source: Source, window: Window | None) -> Source:
    """Put the time window and the row cache behind the reader of a source."""
    reader: RowReader = source.reader
    if window is not None:
        reader = WindowedRows(reader, window)
    return replace(source, reader=CachedRows(reader))


def _collect_statistics(
    source: Source, layout: ColumnLayout
) -> tuple[LabelStatistics, Counter[str]]:
    """Count rows, labels, and the rows outside of the window by reason; DataError for no rows."""
    statistics, outside_window = LabelStatistics(), Counter[str]()
    for batch in source.reader.read(layout.names):
        match batch:
            case RowBatch():
                statistics.add_rows(layout.labels(batch))
            case MalformedRow():
                statistics.rows += 1
            case ExcludedRows():
                outside_window[batch.reason] += batch.rows
    if not statistics.rows and outside_window:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(outside_window.items()))
        raise DataError(
            f"{source.name}: no row is in the window (rows {counts}); "
            "check data.end_time, data.window and data.time_column"
        )
    if not statistics.rows:
        raise DataError(f"{source.name}: holds no rows")
    return statistics, outside_window
