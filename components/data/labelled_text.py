"""Labelled texts, each with its class index and its split, streamed from the sources of a run.

A row is rejected, and counted by reason, if it is malformed; if its text, or one text of its pair,
is not Unicode (invalid UTF-8, lone surrogates), not a string, or blank (only spaces, control and
format characters); or if its label is missing, unknown, out of range, negative or fractional. All
other texts are not modified.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from components.config.schema import DataConfig, TaskConfig
from components.config.task import check_data_options, describe_labels
from components.data.labels import Label, LabelEncoder, LabelStatistics, UnusableLabel
from components.data.labels.task_labels import build_labels, create_statistics
from components.data.read_stats import ReadStats, RejectedRows
from components.data.readers.remedies import suggest_remedies
from components.data.row_cache import CachedRows
from components.data.rows import ExcludedRows, MalformedRow, RowBatch, RowReader, Source
from components.data.source_files import check_disjoint
from components.data.sources import open_source
from components.data.split_names import SPLITS
from components.data.splits import (
    StratifiedThresholds,
    assign_splits,
    assign_stratified_splits,
    find_stratified_thresholds,
    hash_texts,
)
from components.data.text_columns import ColumnLayout, Text, UnusableText
from components.data.time_window import (
    Window,
    WindowedRows,
    fill_date_placeholder,
    parse_window,
)
from components.errors import ConfigError, DataError


class ExampleBatch(NamedTuple):
    """Consecutive examples: texts, labels, splits as indices into SPLITS (int8 [rows]).

    Each label is a `Label` of the kind of task.
    """

    texts: Sequence[Text]
    labels: Sequence[Any]
    splits: npt.NDArray[np.int8]


@dataclass(frozen=True)
class LabelledDataset:
    """The sources of a run after a first pass, which found the classes and counted the rows.

    `rows` counts valid and rejected rows, `label_counts` those of each class. With a time window,
    `source` yields the rows within it only, and `outside_window` counts the others by reason.
    `thresholds` are those of stratified splits, `label_notes` sentences about the labels.
    """

    data: DataConfig
    layout: ColumnLayout
    source: Source
    test_source: Source | None
    labels: LabelEncoder
    rows: int
    label_counts: Mapping[str, int]
    window: Window | None = None
    outside_window: Counter[str] = field(default_factory=Counter)
    thresholds: StratifiedThresholds | None = None
    label_notes: Sequence[str] = ()

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
        dataset = self._dataset
        self.stats = self._new_stats()
        test_hashes = np.zeros(0, np.uint64)
        if dataset.test_source is not None:
            hashes = []
            for texts, labels in self._read_valid_rows(dataset.test_source):
                hashes.append(hash_texts(texts))
                splits = np.full(len(texts), SPLITS.index("test"), np.int8)
                yield ExampleBatch(texts, labels, splits)
            test_hashes = np.unique(np.concatenate([test_hashes, *hashes]))
        for texts, labels in self._read_valid_rows(dataset.source):
            text_hashes = hash_texts(texts)
            splits = self._assign_splits(text_hashes, labels)
            if len(test_hashes):
                nearest = np.searchsorted(test_hashes, text_hashes).clip(max=len(test_hashes) - 1)
                duplicates = splits[test_hashes[nearest] == text_hashes]
                self.stats.duplicates_of_test.update(SPLITS[split] for split in duplicates.tolist())
            yield ExampleBatch(texts, labels, splits)
        if self.stats.rejected.is_over_limit:
            self._raise_too_many_rejected()

    def find_thresholds(self) -> StratifiedThresholds:
        """Return the thresholds of stratified splits from all rows: 12 bytes of memory per row."""
        dataset, data = self._dataset, self._dataset.data
        hashes, labels = [np.zeros(0, np.uint64)], [np.zeros(0, np.int32)]
        for texts, batch_labels in self._read_valid_rows(dataset.source):
            hashes.append(hash_texts(texts))
            labels.append(self._choose_strata(batch_labels))
        return find_stratified_thresholds(
            np.concatenate(hashes),
            np.concatenate(labels),
            len(dataset.labels.classes) + 1,  # the rows of several labels that have none
            data.validation_fraction,
            self._test_fraction,
        )

    @property
    def _test_fraction(self) -> float:
        return self._dataset.data.test_fraction if self._dataset.test_source is None else 0.0

    def _choose_strata(self, labels: Sequence[Label]) -> npt.NDArray[np.int32]:
        dataset = self._dataset
        return np.asarray(dataset.labels.choose_strata(labels, dataset.label_counts), np.int32)

    def _assign_splits(
        self, hashes: npt.NDArray[np.uint64], labels: Sequence[Label]
    ) -> npt.NDArray[np.int8]:
        thresholds = self._dataset.thresholds
        if thresholds is not None:
            return assign_stratified_splits(hashes, self._choose_strata(labels), thresholds)
        return assign_splits(hashes, self._dataset.data.validation_fraction, self._test_fraction)

    def _raise_too_many_rejected(self) -> NoReturn:
        dataset, rejected = self._dataset, self.stats.rejected
        files = {
            **dataset.source.files,
            **(dataset.test_source.files if dataset.test_source else {}),
        }
        remedies = suggest_remedies(files, dataset.data, rejected.counts)
        remedies += dataset.labels.suggest_remedies(rejected.counts)
        rejected.raise_error(remedies, dataset.label_counts, dataset.rows)

    def _new_stats(self) -> ReadStats:
        return ReadStats(RejectedRows(self._dataset.data.max_bad_rows))

    def _read_valid_rows(self, source: Source) -> Iterator[tuple[Sequence[Text], Sequence[Label]]]:
        rejected = self.stats.rejected
        for batch in source.reader.read(self._dataset.layout.names):
            if isinstance(batch, MalformedRow):
                rejected.add(batch.file or source.name, batch.number, batch.line, batch.reason)
            elif isinstance(batch, ExcludedRows):
                continue
            elif (valid := self._read_valid_batch(batch)) is None:
                texts, labels = self._read_row_by_row(batch, batch.file or source.name)
                if texts:
                    yield texts, labels
            elif not rejected.is_over_limit:
                yield valid

    def _read_valid_batch(self, batch: RowBatch) -> tuple[Sequence[Text], Sequence[Label]] | None:
        """Return texts and labels of a batch without rejected rows; None for any other."""
        layout = self._dataset.layout
        self.stats.number_columns.update(layout.text.list_number_columns(batch))
        texts = layout.text.build_texts(layout.text.read(batch))
        labels = self._dataset.labels.encode_batch(layout.labels(batch))
        return None if texts is None or labels is None else (texts, labels)

    def _read_row_by_row(self, batch: RowBatch, source: str) -> tuple[list[Text], list[Label]]:
        """Return the texts and labels of the valid rows, and count the rejected ones."""
        layout, rejected = self._dataset.layout, self.stats.rejected
        texts: list[Text] = []
        labels: list[Label] = []
        parts_of_texts = zip(*layout.text.read(batch), strict=True)
        for number, line, parts, value in zip(
            batch.numbers, batch.lines, parts_of_texts, layout.labels(batch), strict=True
        ):
            text = layout.text.build_text(parts)
            label = self._dataset.labels.encode(value)
            if not isinstance(text, UnusableText) and not isinstance(label, UnusableLabel):
                if not rejected.is_over_limit:
                    texts.append(text)
                    labels.append(label)
                continue
            for name in self._dataset.labels.list_names(value):
                if name in self._dataset.label_counts:
                    rejected.lost[name] += 1
            if isinstance(text, UnusableText):
                rejected.add(source, number, line, text.reason, text.columns)
            elif isinstance(label, UnusableLabel):
                column = label.column or layout.label_columns[0]
                rejected.add(source, number, line, label.reason, column, label.value)
        return texts, labels


@contextmanager
def open_dataset(data: DataConfig, task: TaskConfig | None = None) -> Iterator[LabelledDataset]:
    """Open the configured sources and make a first pass over them, which finds the classes.

    Without `task` a text has one of the classes. Raises DataError or ConfigError for a source that
    cannot be read, has no rows, or whose label column holds no labels of the kind of task.
    """
    task = task or TaskConfig()
    try:
        check_data_options(data, task)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    window, names, layout = (
        parse_window(data),
        fill_date_placeholder(data),
        ColumnLayout.from_config(data),
    )
    with ExitStack() as stack:
        source = stack.enter_context(open_source(names, data))
        test_source = None
        if data.test_source is not None:
            test_source = stack.enter_context(
                open_source(data.test_sources, data, splits=("test", "train"))
            )
            check_disjoint(source.files, test_source.files)
        elif "test" in source.splits:
            test_source = source.select_split("test")
        source = _with_stages(source, window)
        statistics = create_statistics(task, data)
        malformed, outside_window = _collect_statistics(source, data, layout, statistics)
        rows = statistics.rows
        if test_source is not None:
            test_source = _with_stages(test_source, None)
            test_statistics = create_statistics(task, data)
            _collect_statistics(test_source, data, layout, test_statistics)
            rows += test_statistics.rows
        column = f"{source.name}, {describe_labels(data.label)}"
        try:
            labels = build_labels(statistics, data.classes, source.class_names, column)
        except DataError as error:
            causes = _describe_unusable_rows(source, data, statistics, malformed)
            raise DataError("\n".join([str(error), *causes])) from None
        dataset = LabelledDataset(
            data,
            layout,
            source,
            test_source,
            labels,
            rows,
            statistics.counts,
            window,
            outside_window,
            label_notes=statistics.list_notes(),
        )
        if data.stratify:
            dataset = replace(dataset, thresholds=dataset.read_examples().find_thresholds())
        yield dataset


def _with_stages(source: Source, window: Window | None) -> Source:
    """Put the time window and the row cache behind the reader of a source."""
    reader: RowReader = source.reader
    if window is not None:
        reader = WindowedRows(reader, window)
    return replace(source, reader=CachedRows(reader))


def _collect_statistics(
    source: Source, data: DataConfig, layout: ColumnLayout, statistics: LabelStatistics
) -> tuple[RejectedRows, Counter[str]]:
    """Count labels, malformed rows, and the rows outside of the window; DataError for no rows."""
    malformed, outside_window = RejectedRows(data.max_bad_rows), Counter[str]()
    for batch in source.reader.read(layout.names):
        match batch:
            case RowBatch():
                statistics.add_rows(layout.labels(batch))
            case MalformedRow():
                statistics.rows += 1
                malformed.add(batch.file or source.name, batch.number, batch.line, batch.reason)
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
    return malformed, outside_window


def _describe_unusable_rows(
    source: Source, data: DataConfig, statistics: LabelStatistics, malformed: RejectedRows
) -> list[str]:
    """Return lines that say why rows have no label: counts, the first row and what helps."""
    reasons = Counter(malformed.counts) + statistics.without_label
    lines = [
        f"  {count} of {statistics.rows} rows: {reason}" for reason, count in reasons.most_common()
    ]
    if malformed.examples:
        lines.append(f"  the first one: {malformed.examples[0]}")
    remedies = suggest_remedies(source.files, data, malformed.counts)
    return [*lines, *remedies, *statistics.suggest_remedies()]
