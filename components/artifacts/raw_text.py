"""Labelled texts as one stream, each in its split; rows that cannot be used are counted by reason, never passed over.

Outcome per row: a row that cannot be taken apart, has a text that is not Unicode (bad UTF-8, lone surrogates), not a
string, or blank (nothing but spaces, control and format characters), or a label that is missing, unknown, out of range,
negative or fractional is refused. Every other text is kept to the letter.
"""

from __future__ import annotations

import unicodedata
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from components.artifacts.data_window import Window, dated, window_of
from components.artifacts.labels import LabelMap, LabelSurvey, label_map
from components.artifacts.row_formats import Row, Unreadable
from components.artifacts.sources import Source, has_test_split, open_source
from components.artifacts.splits import split_of, text_hash
from components.artifacts.token_shards import SplitName
from components.config import DataConfig
from components.errors import DataError

SHOWN = 20
NOT_UNICODE = "text that is not UTF-8 or holds a lone surrogate"
NOT_TEXT = "text that is not a string"
BLANK = "blank text"
INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})


class Example(NamedTuple):
    """A usable row: its split, its text and the index of its class."""

    split: SplitName
    text: str
    label: int


@dataclass
class Refusals:
    """Refused rows by reason, and the first ones by place; never their text."""

    limit: int
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, source: str, row: Row | Unreadable, reason: str, field_name: str = "") -> None:
        """Count one refused row."""
        self.counts[reason] += 1
        if len(self.examples) < SHOWN:
            line = f" (line {row.line})" if row.line else ""
            self.examples.append(f"{source}, row {row.number}{line}: {f'{field_name}: ' if field_name else ''}{reason}")

    @property
    def exceeded(self) -> bool:
        """Whether more rows were refused than allowed."""
        return self.counts.total() > self.limit

    def check(self, of_labels: str = "") -> None:
        """Raise DataError with counts and the first places if more rows were refused than allowed; `of_labels` is advice on labels."""
        if self.exceeded:
            advice = of_labels if any("label" in reason for reason in self.counts) else ""
            reasons = ", ".join(f"{count} x {reason}" for reason, count in self.counts.most_common())
            places = "\n".join(f"  {example}" for example in self.examples)
            raise DataError(
                f"{self.counts.total()} rows refused, data.max_bad_rows allows {self.limit}: {reasons}\n{places}\n"
                f"{advice}Correct these rows, or raise data.max_bad_rows to leave them out."
            )


@dataclass(frozen=True)
class Corpus:
    """The sources of a run, surveyed: `labels` says how labels are read, `rows` how many rows there are, good and bad.

    Where a window is set, `source` has only the rows within, and `left_out` counts the others by reason.
    """

    data: DataConfig
    source: Source
    test_source: Source | None
    labels: LabelMap
    rows: int
    window: Window | None = None
    left_out: Counter[str] = field(default_factory=Counter)

    def examples(self, refusals: Refusals, overlap: Counter[str]) -> Iterator[Example]:
        """Every usable row in the sources' order, a given test split first; DataError at the end for too many refused rows.

        `overlap` counts, by split, the rows whose text is in the given test split, too. Once too many rows are refused the
        rest is only counted. Memory: 8 bytes per row of a given test split.
        """
        tested = array("Q")
        if self.test_source is not None:
            for text, label in self._usable(self.test_source, refusals):
                tested.append(text_hash(text))
                yield Example("test", text, label)
            tested = array("Q", np.unique(np.asarray(tested, np.uint64)).tobytes())
        test_fraction = 0.0 if self.test_source is not None else self.data.test_fraction
        for text, label in self._usable(self.source, refusals):
            hashed = text_hash(text)
            split = split_of(hashed, self.data.validation_fraction, test_fraction)
            if tested and tested[min(bisect_left(tested, hashed), len(tested) - 1)] == hashed:
                overlap[split] += 1
            yield Example(split, text, label)
        refusals.check(f"A label must be {self.labels.described}. ")

    def _usable(self, source: Source, refusals: Refusals) -> Iterator[tuple[str, int]]:
        columns = self.data.text
        for row in source.rows([*columns, self.data.label]):
            if isinstance(row, Unreadable):
                refusals.add(source.name, row, row.reason)
                continue
            text = _joined(row.values[:-1])
            if text is None:
                refusals.add(source.name, row, NOT_TEXT, "+".join(columns))
            elif reason := _fault(text):
                refusals.add(source.name, row, reason, "+".join(columns))
            elif isinstance(label := self.labels.look_up(row.values[-1]), str):
                refusals.add(source.name, row, label, self.data.label)
            elif not refusals.exceeded:
                yield text, label


@contextmanager
def open_corpus(data: DataConfig) -> Iterator[Corpus]:
    """The configured sources, after one pass that checks their columns, counts their rows and finds their classes.

    Raises DataError or ConfigError for a source that cannot be read, has no rows, or whose label column holds no classes.
    """
    window, place = window_of(data), dated(data)
    left_out: Counter[str] = Counter()
    with ExitStack() as stack:
        source = stack.enter_context(open_source(place, data))
        if window is not None:
            source = window.applied(source, left_out)
        test_source = None
        if data.test_source is not None:
            split = "test" if has_test_split(data.test_source, data) else "train"
            test_source = stack.enter_context(open_source(data.test_source, data, split))
        elif has_test_split(place, data):
            test_source = stack.enter_context(open_source(place, data, "test"))
        survey = _survey(source, data, left_out)
        rows = survey.rows + (_survey(test_source, data).rows if test_source else 0)
        labels = label_map(survey, data.classes, source.class_names, f"{source.name}, column {data.label!r}")
        yield Corpus(data, source, test_source, labels, rows, window, left_out)


def _survey(source: Source, data: DataConfig, left_out: Counter[str] | None = None) -> LabelSurvey:
    survey = LabelSurvey()
    for row in source.rows([*data.text, data.label]):
        survey.rows += 1
        if isinstance(row, Row):
            survey.add(row.values[-1])
    if not survey.rows and left_out:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        raise DataError(f"{source.name}: no row is in the window (rows {counts}); check data.until, data.window and data.time")
    if not survey.rows:
        raise DataError(f"{source.name}: holds no rows")
    return survey


def _joined(values: Sequence[Any]) -> str | None:
    """The values with one space between them; empty and missing ones leave no space. None if one is not a string."""
    parts = [value for value in values if value is not None and value != ""]
    return " ".join(parts) if all(isinstance(part, str) for part in parts) else None


def _fault(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return NOT_UNICODE
    return None if any(unicodedata.category(character) not in INVISIBLE for character in text) else BLANK
