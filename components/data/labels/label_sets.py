"""Several labels per text (task.kind=multi_label): lists, fields with a separator, 0/1 columns.

A text may have no label: an empty list, an empty field, or 0 in all columns. A list holds names
only; the blank parts of a field, such as that behind a separator at its end, are no labels.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.data.labels import UnusableLabel
from components.data.labels.class_names import (
    MISSING,
    NUMBER_REASONS,
    UNKNOWN,
    ClassStatistics,
    LabelMap,
    build_label_map,
    find_label_separator,
    label_text,
)
from components.errors import DataError, shorten_value

RECORD = "label that is a record"
NESTED = "list or record in the list of labels"
BLANK = "blank or missing name in the list of labels"
WRITTEN_LIST = "list of labels that is written as a text"
NOT_BINARY = "value that is neither 0 nor 1"
LACKING = "missing 0 or 1"
NULL_REMEDY = "A text without a label has an empty list, or an empty field of a CSV file, not null."
_WRITTEN_LIST = re.compile(r"""\[\s*(['"].*['"]\s*)?\]""", re.DOTALL)
_VECTOR_VALUES = frozenset({"0", "1", "false", "true"})
_BINARY = {"0": False, "1": True, "false": False, "true": True, "0.0": False, "1.0": True}


@dataclass(frozen=True)
class LabelSetFormat:
    """How a value holds labels: a list, a field with `separator`, or 0 and 1 in `columns`."""

    separator: str | None = None
    columns: tuple[str, ...] = ()

    def split(self, value: Any) -> list[Any] | UnusableLabel:
        """Return the labels in a value as they are written, or why it holds none."""
        if self.columns:
            return self._select_columns(value)
        if isinstance(value, list | tuple):
            return self._check_list(value)
        if isinstance(value, dict):
            return UnusableLabel(RECORD, value)
        if value is None or value != value:
            return UnusableLabel(MISSING)
        if not isinstance(value, str):
            return [value]
        if _WRITTEN_LIST.fullmatch(value.strip()):
            return UnusableLabel(WRITTEN_LIST, value)
        parts = [value] if self.separator is None else value.split(self.separator)
        return [part for part in parts if part.strip()]

    def _check_list(self, values: Sequence[Any]) -> list[Any] | UnusableLabel:
        for value in values:
            if isinstance(value, list | tuple | dict):
                return UnusableLabel(NESTED, value)
            if not label_text(value):
                return UnusableLabel(BLANK)
        return [*values]

    def _select_columns(self, values: Sequence[Any]) -> list[Any] | UnusableLabel:
        selected = []
        for column, value in zip(self.columns, values, strict=True):
            text = label_text(value).lower()
            if text not in _BINARY:
                is_missing = value is None or value != value or value == ""
                return UnusableLabel(
                    LACKING if is_missing else NOT_BINARY, None if is_missing else value, column
                )
            if _BINARY[text]:
                selected.append(column)
        return selected


@dataclass
class LabelSetStatistics(ClassStatistics):
    """`ClassStatistics` of rows with several labels each: a row counts for each of its labels.

    `rows_by_labels` counts the rows by how many labels they have; `joined` those whose field holds
    the separator, and `texts` the labels that are read from text fields. `vector` is the first list
    that repeats 0 or 1, as one that says 0 or 1 of each label does.
    """

    format: LabelSetFormat = field(default_factory=LabelSetFormat)
    rows_by_labels: Counter[int] = field(default_factory=Counter)
    joined: int = 0
    texts: Counter[str] = field(default_factory=Counter)
    vector: Sequence[Any] = ()

    @property
    def has_vectors(self) -> bool:
        """Whether the lists say 0 or 1 of each label, instead of holding the labels of a text."""
        return bool(self.vector) and self.counts.keys() <= _VECTOR_VALUES

    def add_rows(self, values: Sequence[Any]) -> None:
        """Count the rows with these labels."""
        self.rows += len(values)
        if {*map(type, values)} == {str}:
            for value, count in Counter(values).items():
                self._add_set(value, count)
        else:
            for value in values:
                self._add_set(value, 1)

    def suggest_remedies(self) -> list[str]:
        """Return sentences that say what mends the rows of `without_label`."""
        return suggest_set_remedies(self.without_label)

    def list_notes(self) -> list[str]:
        """Return a note if no row has more than one label."""
        if not self.rows_by_labels or max(self.rows_by_labels) > 1:
            return []
        without = self.rows_by_labels[0]
        some = f", and {without:,} have none" if without else ""
        return [
            f"no row has more than one label{some}: if a text always has exactly one, leave out "
            "task.kind=multi_label"
        ]

    def _add_set(self, value: Any, count: int) -> None:
        found = self.format.split(value)
        if isinstance(found, UnusableLabel):
            self.without_label[found.reason] += count
            return
        names = dict.fromkeys(map(label_text, found))
        self.rows_by_labels[len(names)] += count
        for name in names:
            self.add_label(name, count)
        if len(names) < len(found) and not self.vector and names.keys() <= _VECTOR_VALUES:
            self.vector = found
        if isinstance(value, str):
            separator = self.format.separator
            self.joined += count * (separator is not None and separator in value)
            if len(self.texts) <= self.max_classes:
                self.texts.update(dict.fromkeys(names, count))


@dataclass(frozen=True)
class LabelSetMap:
    """The classes in index order, and how a value becomes the indices of its labels."""

    format: LabelSetFormat
    names: LabelMap

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in index order."""
        return self.names.classes

    def encode(self, value: Any) -> tuple[int, ...] | UnusableLabel:
        """Return the indices of a row's different labels, ascending, or why it is rejected."""
        found = self.format.split(value)
        if isinstance(found, UnusableLabel):
            return found
        indices = set()
        for name in found:
            index = self.names.encode(name)
            if isinstance(index, UnusableLabel):
                return index
            indices.add(index)
        return tuple(sorted(indices))

    def encode_batch(self, values: Sequence[Any]) -> list[tuple[int, ...]] | None:
        """Return the indices of each row's labels; None if a row has to be rejected."""
        if {*map(type, values)} == {str}:
            distinct = {value: self.encode(value) for value in set(values)}
            encoded = [distinct[value] for value in values]
        else:
            encoded = [*map(self.encode, values)]
        valid = [indices for indices in encoded if not isinstance(indices, UnusableLabel)]
        return valid if len(valid) == len(encoded) else None

    def list_names(self, value: Any) -> list[str]:
        """Return the class names in a value."""
        found = self.format.split(value)
        return [] if isinstance(found, UnusableLabel) else [*map(label_text, found)]

    def choose_strata(
        self, labels: Sequence[tuple[int, ...]], counts: Mapping[str, int]
    ) -> Sequence[int]:
        """Return the rarest label of each row, which is the one that a split could be without."""
        rows = [counts.get(name, 0) for name in self.classes]
        nothing = len(self.classes)
        return [min(indices, key=rows.__getitem__, default=nothing) for indices in labels]

    def suggest_remedies(self, reasons: Collection[str]) -> list[str]:
        """Return sentences that say what mends rows which were rejected for these reasons."""
        remedies = suggest_set_remedies(reasons)
        if self.names.suggest_remedies({*reasons} & {UNKNOWN, *NUMBER_REASONS}):
            remedies.append(f"Each label must be {self.names.allowed_labels}.")
        return remedies


def suggest_set_remedies(reasons: Collection[str]) -> list[str]:
    """Return sentences that say what mends rows whose labels cannot be read, by these reasons."""
    remedies = []
    if WRITTEN_LIST in reasons:
        remedies.append(
            "Write the labels as a|b and set task.separator, or as a list in JSON or Parquet."
        )
    if {RECORD, NESTED, BLANK} & {*reasons}:
        remedies.append('A list of labels holds names only, such as ["a", "b"].')
    if {NOT_BINARY, LACKING} & {*reasons}:
        remedies.append("Each column in data.label holds 0 or 1 (or false and true).")
    elif MISSING in reasons:
        remedies.append(NULL_REMEDY)
    return remedies


def build_label_sets(
    statistics: LabelSetStatistics,
    configured: Sequence[str] | None,
    source_names: Sequence[str] | None,
    column: str,
) -> LabelSetMap:
    """Decide how the labels of a training source map to classes; see `build_label_map`.

    Raises DataError, which begins with `column`, for a separator that no field holds, for fields
    that hold several labels where none is given, and for lists that say 0 or 1 of each label.
    """
    split = statistics.format
    if split.columns:
        if not statistics.rows_by_labels:
            raise DataError(f"{column}: no row says 0 or 1 of each label")
        return LabelSetMap(split, LabelMap(tuple(map(str.strip, split.columns))))
    if statistics.has_vectors and not statistics.counts.keys() <= {*(configured or ())}:
        raise DataError(
            f"{column}: lists that say 0 or 1 of each label, such as "
            f"{shorten_value(str(statistics.vector))}; a list holds the labels of a text, as names "
            "or as positions in data.classes; write these, or a column for each label, and list "
            "the columns in data.label"
        )
    found = find_label_separator(statistics.texts)
    if split.separator is not None and statistics.texts and not statistics.joined:
        advice = (
            f"the labels seem to be separated by {found!r}: set task.separator={found!r}"
            if found
            else "set task.separator to what is between two labels, or leave out "
            "task.kind=multi_label where a text has one label"
        )
        raise DataError(f"{column}: no field holds the separator {split.separator!r}; {advice}")
    if split.separator is None and found and configured is None:
        combined = next(name for name in statistics.texts if found in name)
        raise DataError(
            f"{column}: several labels in one field, separated by {found!r}, such as "
            f"{shorten_value(combined)!r}; set task.separator={found!r}, or, if these are names of "
            "classes, list them in data.classes"
        )
    names = build_label_map(statistics, configured, source_names, column, has_sets=True)
    return LabelSetMap(split, names)
