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
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from components.config.schema import DataConfig
from components.data.labels import (
    MISSING,
    NOT_A_NAME,
    NOT_A_NAME_REMEDY,
    LabelMap,
    LabelStatistics,
    build_label_map,
    label_text,
)
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
from components.errors import DataError


class ExampleBatch(NamedTuple):
    """Consecutive examples: texts, class indices, splits as indices into SPLITS (int8 [rows])."""

    texts: Sequence[Text]
    labels: Sequence[int]
    splits: npt.NDArray[np.int8]


@dataclass(frozen=True)
class LabelledDataset:
    """The sources of a run after a first pass, which found the classes and counted the rows.

    `rows` counts valid and rejected rows, `label_counts` those of each label. With a time window,
    `source` yields the rows within it only, and `outside_window` counts the others by reason.
    `thresholds` are those of stratified splits.
    """

    data: DataConfig
    layout: ColumnLayout
    source: Source
    test_source: Source | None
    labels: LabelMap
    rows: int
    label_counts: Mapping[str, int]
    window: Window | None = None
    outside_window: Counter[str] = field(default_factory=Counter)
    thresholds: StratifiedThresholds | None = None

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
        for texts, class_indices in self._read_valid_rows(dataset.source):
            hashes.append(hash_texts(texts))
            labels.append(np.asarray(class_indices, np.int32))
        return find_stratified_thresholds(
            np.concatenate(hashes),
            np.concatenate(labels),
            len(dataset.labels.classes),
            data.validation_fraction,
            self._test_fraction,
        )

    @property
    def _test_fraction(self) -> float:
        return self._dataset.data.test_fraction if self._dataset.test_source is None else 0.0

    def _assign_splits(
        self, hashes: npt.NDArray[np.uint64], labels: Sequence[int]
    ) -> npt.NDArray[np.int8]:
        thresholds = self._dataset.thresholds
        if thresholds is not None:
            return assign_stratified_splits(hashes, np.asarray(labels, np.int32), thresholds)
        return assign_splits(hashes, self._dataset.data.validation_fraction, self._test_fraction)

    def _raise_too_many_rejected(self) -> NoReturn:
        dataset, rejected = self._dataset, self.stats.rejected
        files = {
            **dataset.source.files,
            **(dataset.test_source.files if dataset.test_source else {}),
        }
        remedies = suggest_remedies(files, dataset.data, rejected.counts)
        if NOT_A_NAME in rejected.counts:
            remedies.append(NOT_A_NAME_REMEDY)
        elif any("label" in reason for reason in rejected.counts):
            remedies.append(f"A label must be {dataset.labels.allowed_labels}.")
        rejected.raise_error(remedies, dataset.label_counts, dataset.rows)

    def _new_stats(self) -> ReadStats:
        return ReadStats(RejectedRows(self._dataset.data.max_bad_rows))

    def _read_valid_rows(self, source: Source) -> Iterator[tuple[Sequence[Text], Sequence[int]]]:
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

    def _read_valid_batch(self, batch: RowBatch) -> tuple[Sequence[Text], list[int]] | None:
        """Return texts and class indices of a batch without rejected rows; None for any other."""
        layout = self._dataset.layout
        self.stats.number_columns.update(layout.text.list_number_columns(batch))
        texts = layout.text.build_texts(layout.text.read(batch))
        labels = self._dataset.labels.class_indices(layout.labels(batch))
        return None if texts is None or labels is None else (texts, labels)

    def _read_row_by_row(self, batch: RowBatch, source: str) -> tuple[list[Text], list[int]]:
        """Return the texts and class indices of the valid rows, and count the rejected ones."""
        layout, rejected = self._dataset.layout, self.stats.rejected
        texts: list[Text] = []
        labels: list[int] = []
        parts_of_texts = zip(*layout.text.read(batch), strict=True)
        for number, line, parts, value in zip(
            batch.numbers, batch.lines, parts_of_texts, layout.labels(batch), strict=True
        ):
            text = layout.text.build_text(parts)
            label = self._dataset.labels.class_index_or_error(value)
            if not isinstance(text, UnusableText) and not isinstance(label, str):
                if not rejected.is_over_limit:
                    texts.append(text)
                    labels.append(label)
                continue
            if (name := label_text(value)) in self._dataset.label_counts:
                rejected.lost[name] += 1
            if isinstance(text, UnusableText):
                rejected.add(source, number, line, text.reason, text.columns)
            else:
                shown = None if label == MISSING else value
                rejected.add(source, number, line, str(label), layout.label, shown)
        return texts, labels


@contextmanager
def open_dataset(data: DataConfig) -> Iterator[LabelledDataset]:
    """Open the configured sources and make a first pass over them, which finds the classes.

    Raises DataError or ConfigError for a source that cannot be read, has no rows, or whose label
    column holds no classes.
    """
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
        statistics, malformed, outside_window = _collect_statistics(source, data, layout)
        rows = statistics.rows
        if test_source is not None:
            test_source = _with_stages(test_source, None)
            rows += _collect_statistics(test_source, data, layout)[0].rows
        column = f"{source.name}, column {data.label!r}"
        try:
            labels = build_label_map(statistics, data.classes, source.class_names, column)
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
    source: Source, data: DataConfig, layout: ColumnLayout
) -> tuple[LabelStatistics, RejectedRows, Counter[str]]:
    """Count labels, malformed rows, and the rows outside of the window; DataError for no rows."""
    statistics, outside_window = LabelStatistics(data.max_classes), Counter[str]()
    malformed = RejectedRows(data.max_bad_rows)
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
    return statistics, malformed, outside_window


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
    if NOT_A_NAME in statistics.without_label:
        remedies.append(NOT_A_NAME_REMEDY)
    return lines + remedies
