"""Labelled texts as one stream, each in its split; rows that cannot be used are counted by reason, never passed over.

Outcome per row: a row that cannot be taken apart, has a text that is not Unicode (bad UTF-8, lone
surrogates), not a string, or blank (nothing but spaces, control and format characters), or a
label that is missing, unknown, out of range, negative or fractional is refused. Every other text
is kept to the letter.
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
from components.data.row_cache import CachedRows
from components.data.rows import MalformedRow, RowBatch, Source
from components.data.sources import open_source
from components.data.split_names import SPLITS, SplitName
from components.data.splits import assign_splits, hash_texts
from components.data.text_columns import (
    BLANK,
    NOT_TEXT,
    NOT_UNICODE,
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

__all__ = [
    "BLANK",
    "NOT_TEXT",
    "NOT_UNICODE",
    "SHOWN",
    "Example",
    "ExampleBatch",
    "LabelledDataset",
    "RejectedRows",
    "open_dataset",
]

SHOWN = 20


class Example(NamedTuple):
    """A usable row: its split, its text and the index of its class."""

    split: SplitName
    text: str
    label: int


class ExampleBatch(NamedTuple):
    """Usable rows that follow each other: texts, indices of their classes, and their splits as indices into SPLITS (int8 [rows])."""

    texts: Sequence[str]
    labels: Sequence[int]
    splits: npt.NDArray[np.int8]


@dataclass
class RejectedRows:
    """Refused rows by reason, and the first ones by place; never their text."""

    limit: int
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, source: str, number: int, line: int, reason: str, columns: str = "") -> None:
        """Count one refused row."""
        self.counts[reason] += 1
        if len(self.examples) < SHOWN:
            location = f"row {number} (line {line})" if line else f"row {number}"
            columns = f"{columns}: " if columns else ""
            self.examples.append(f"{source}, {location}: {columns}{reason}")

    @property
    def exceeded(self) -> bool:
        """Whether more rows were refused than allowed."""
        return self.counts.total() > self.limit

    def check(self, of_labels: str = "") -> None:
        """Raise DataError with counts and the first places if more rows were refused than allowed; `of_labels` is advice on labels."""
        if self.exceeded:
            advice = of_labels if any("label" in reason for reason in self.counts) else ""
            reasons = ", ".join(
                f"{count} x {reason}" for reason, count in self.counts.most_common()
            )
            places = "\n".join(f"  {example}" for example in self.examples)
            raise DataError(
                f"{self.counts.total()} rows refused, data.max_bad_rows allows {self.limit}: {reasons}\n{places}\n"
                f"{advice}Correct these rows, or raise data.max_bad_rows to leave them out."
            )


@dataclass(frozen=True)
class LabelledDataset:
    """The sources of a run, surveyed: `labels` says how labels are read, `rows` how many rows there are, good and bad.

    Where a window is set, `source` has only the rows within, and `left_out` counts the others by
    reason.
    """

    data: DataConfig
    layout: ColumnLayout
    source: Source
    test_source: Source | None
    labels: LabelMap
    rows: int
    window: Window | None = None
    left_out: Counter[str] = field(default_factory=Counter)

    def examples(self, refusals: RejectedRows, overlap: Counter[str]) -> Iterator[Example]:
        """What `blocks` yields, row by row."""
        for texts, labels, splits in self.blocks(refusals, overlap):
            for text, label, split in zip(texts, labels, splits.tolist(), strict=True):
                yield Example(SPLITS[split], text, label)

    def blocks(self, refusals: RejectedRows, overlap: Counter[str]) -> Iterator[ExampleBatch]:
        """Every usable row in the sources' order, a given test split first; DataError at the end for too many refused rows.

        `overlap` counts, by split, the rows whose text is in the given test split, too. Once too
        many rows are refused the rest is only counted. Memory: 8 bytes per row of a given test
        split.
        """
        tested = np.zeros(0, np.uint64)
        if self.test_source is not None:
            hashes = []
            for texts, labels in self._usable(self.test_source, refusals):
                hashes.append(hash_texts(texts))
                yield ExampleBatch(
                    texts, labels, np.full(len(texts), SPLITS.index("test"), np.int8)
                )
            tested = np.unique(np.concatenate([tested, *hashes]))
        test_fraction = 0.0 if self.test_source is not None else self.data.test_fraction
        for texts, labels in self._usable(self.source, refusals):
            hashed = hash_texts(texts)
            splits = assign_splits(hashed, self.data.validation_fraction, test_fraction)
            if len(tested):
                found = tested[np.searchsorted(tested, hashed).clip(max=len(tested) - 1)] == hashed
                overlap.update(SPLITS[split] for split in splits[found].tolist())
            yield ExampleBatch(texts, labels, splits)
        refusals.check(f"A label must be {self.labels.described}. ")

    def _usable(
        self, source: Source, refusals: RejectedRows
    ) -> Iterator[tuple[Sequence[str], Sequence[int]]]:
        for block in source.reader.read(self.layout.names):
            if isinstance(block, MalformedRow):
                refusals.add(source.name, block.number, block.line, block.reason)
            elif (usable := self._whole(block)) is None:
                texts, labels = self._row_by_row(block, source.name, refusals)
                if texts:
                    yield texts, labels
            elif not refusals.exceeded:
                yield usable

    def _whole(self, block: RowBatch) -> tuple[list[str], list[int]] | None:
        """Texts and labels of a block that has no row to refuse; None for any other."""
        texts = join_valid_texts(self.layout.text_columns(block))
        labels = self.labels.indices(self.layout.labels(block))
        return None if texts is None or labels is None else (texts, labels)

    def _row_by_row(
        self, block: RowBatch, name: str, refusals: RejectedRows
    ) -> tuple[list[str], list[int]]:
        columns = "+".join(self.layout.text)
        texts, labels = [], []
        parts_of_texts = zip(*self.layout.text_columns(block), strict=True)
        for number, line, parts, label_value in zip(
            block.numbers, block.lines, parts_of_texts, self.layout.labels(block), strict=True
        ):
            text = join_columns(parts)
            if text is None:
                refusals.add(name, number, line, NOT_TEXT, columns)
            elif reason := text_error(text):
                refusals.add(name, number, line, reason, columns)
            elif isinstance(label := self.labels.look_up(label_value), str):
                refusals.add(name, number, line, label, self.data.label)
            elif not refusals.exceeded:
                texts.append(text)
                labels.append(label)
        return texts, labels


@contextmanager
def open_dataset(data: DataConfig) -> Iterator[LabelledDataset]:
    """The configured sources, after one pass that checks their columns, counts their rows and finds their classes.

    Raises DataError or ConfigError for a source that cannot be read, has no rows, or whose label
    column holds no classes.
    """
    window, place = parse_window(data), fill_date_placeholder(data)
    left_out: Counter[str] = Counter()
    with ExitStack() as stack:
        source = stack.enter_context(open_source(place, data))
        test_source = None
        if data.test_source is not None:
            test_source = stack.enter_context(
                open_source(data.test_source, data, splits=("test", "train"))
            )
        elif "test" in source.splits:
            test_source = source.select_split("test")
        source = replace(source, reader=CachedRows(source.reader))
        if window is not None:
            source = replace(source, reader=WindowedRows(source.reader, window, left_out))
        if test_source is not None:
            test_source = replace(test_source, reader=CachedRows(test_source.reader))
        layout = ColumnLayout.from_config(data)
        survey = _survey(source, layout, left_out)
        rows = survey.rows + (_survey(test_source, layout).rows if test_source else 0)
        labels = build_label_map(
            survey, data.classes, source.class_names, f"{source.name}, column {data.label!r}"
        )
        yield LabelledDataset(data, layout, source, test_source, labels, rows, window, left_out)


def _survey(
    source: Source, layout: ColumnLayout, left_out: Counter[str] | None = None
) -> LabelStatistics:
    survey = LabelStatistics()
    for block in source.reader.read(layout.names):
        if isinstance(block, MalformedRow):
            survey.rows += 1
        else:
            survey.add_rows(layout.labels(block))
    if not survey.rows and left_out:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        raise DataError(
            f"{source.name}: no row is in the window (rows {counts}); check data.end_time, data.window and data.time_column"
        )
    if not survey.rows:
        raise DataError(f"{source.name}: holds no rows")
    return survey
