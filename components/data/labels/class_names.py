"""Class names: maps labels, as they were read, to class indices.

A label is a name, as it is written: -1, 007 and 1.5 are names, too. Only where `data.classes`, or
the source itself, names the classes, labels may be their indices. What they are is decided once,
from the training source; a single row never decides it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from components.data.labels import UnusableLabel
from components.errors import DataError, shorten_value

MAX_CLASSES_OF_FEW_ROWS = 20
CLEAR_SEPARATORS = ("|", ";")
"""What stands between several labels in one field, and hardly ever in a class name."""
POSSIBLE_SEPARATORS = (",", "/", "&", "+")
"""What may stand between several labels, and in class names as well."""
MIN_SHARE_OF_COMBINED_NAMES = 0.5
MAX_NUMBER_CHARACTERS = 30
SPACE_CATEGORIES = frozenset({"Zs", "Zl", "Zp", "Cc"})
FORMAT_CATEGORY = "Cf"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

MISSING = "missing label"
NOT_A_NAME = "label that is a list or a record"
NOT_A_NAME_REMEDY = "A row has one label; for lists of labels set task.kind=multi_label."
UNKNOWN = "unknown label"
OUT_OF_RANGE = "label out of range"
NEGATIVE = "negative label"
FRACTIONAL = "fractional label"
NUMBER_REASONS = (OUT_OF_RANGE, NEGATIVE, FRACTIONAL)
"""Why a number is not the index of a class."""


@dataclass
class ClassStatistics:
    """Number of rows, and of each distinct label up to `max_classes` + 1 of them, in a source.

    `without_label` counts the rows without a usable label by reason.
    """

    max_classes: int = 1000
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    without_label: Counter[str] = field(default_factory=Counter)

    @property
    def has_too_many(self) -> bool:
        """Whether there are more distinct labels than there can be classes."""
        return len(self.counts) > self.max_classes

    def suggest_remedies(self) -> list[str]:
        """Return sentences that say what mends the rows of `without_label`."""
        return [NOT_A_NAME_REMEDY] if NOT_A_NAME in self.without_label else []

    def list_notes(self) -> list[str]:
        """Return a note if the labels look like measured numbers that were meant for regression."""
        fractions = [
            name for name in self.counts if NUMBER.fullmatch(name) and not float(name).is_integer()
        ]
        most = 2 * len(fractions) > len(self.counts)
        if not most or len(self.counts) <= MAX_CLASSES_OF_FEW_ROWS:
            return []
        return [
            f"{len(self.counts)} different labels are classes here, most of them numbers with "
            f"decimals, such as {shorten_value(fractions[0])}; to predict the number, set "
            "task.kind=regression"
        ]

    def add_label(self, value: Any, count: int = 1) -> None:
        """Count a label; those that are not Unicode are no classes."""
        name = label_text(value)
        if not name:
            self.without_label[_missing_reason(value)] += count
        elif _is_unicode(name) and (not self.has_too_many or name in self.counts):
            self.counts[name] += count

    def add_rows(self, values: Sequence[Any]) -> None:
        """Count the rows with these labels."""
        self.rows += len(values)
        if {*map(type, values)} == {str}:
            for value, count in Counter(values).items():
                self.add_label(value, count)
        else:
            for value in values:
                self.add_label(value)


@dataclass(frozen=True)
class LabelMap:
    """The classes in index order; labels map to them by `numbers`, if given, else by name."""

    classes: tuple[str, ...]
    numbers: Mapping[int, int] | None = None

    def class_index_or_error(self, value: Any) -> int | str:
        """Return the class index of a label, or the reason (a constant above) to reject its row."""
        name = label_text(value)
        if not name:
            return _missing_reason(value)
        if self.numbers is None:
            return self._index_by_name.get(name, UNKNOWN)
        if not NUMBER.fullmatch(name):
            return UNKNOWN
        number = parse_integer(name)
        if number is None:
            return FRACTIONAL
        return self.numbers.get(number, NEGATIVE if number < 0 else OUT_OF_RANGE)

    def encode(self, value: Any) -> int | UnusableLabel:
        """Return the class index of a label, or why its row has to be rejected."""
        index = self.class_index_or_error(value)
        if not isinstance(index, str):
            return index
        return UnusableLabel(index, None if index == MISSING else value)

    def encode_batch(self, values: Sequence[Any]) -> list[int] | None:
        """Return the class index of each label; None if one of the rows has to be rejected."""
        if {*map(type, values)} != {str}:  # True, 1 and 1.0 are equal, but different labels
            indices = [self.class_index_or_error(value) for value in values]
            valid = [index for index in indices if not isinstance(index, str)]
            return valid if len(valid) == len(indices) else None
        distinct = set(values)
        index_by_value = {
            value: index
            for value in distinct
            if not isinstance(index := self.class_index_or_error(value), str)
        }
        if len(index_by_value) < len(distinct):
            return None
        return [index_by_value[value] for value in values]

    def list_names(self, value: Any) -> list[str]:
        """Return the class name that a value is."""
        return [label_text(value)]

    def choose_strata(self, labels: Sequence[int], counts: Mapping[str, int]) -> Sequence[int]:
        """Return the class of each row."""
        return labels

    def suggest_remedies(self, reasons: Collection[str]) -> list[str]:
        """Return sentences that say what mends rows which were rejected for these reasons."""
        if NOT_A_NAME in reasons:
            return [NOT_A_NAME_REMEDY]
        if any("label" in reason for reason in reasons):
            return [f"A label must be {self.allowed_labels}."]
        return []

    @property
    def allowed_labels(self) -> str:
        """What a label may be, for messages."""
        if self.numbers is None or self.classes == tuple(map(str, self.numbers)):
            return "one of " + _list_names(self.classes)
        return f"a whole number from {min(self.numbers)} to {max(self.numbers)}"

    @cached_property
    def _index_by_name(self) -> Mapping[str, int]:
        return {name: index for index, name in enumerate(self.classes)}


def build_label_map(
    statistics: ClassStatistics,
    configured: Sequence[str] | None,
    source_names: Sequence[str] | None,
    column: str,
    *,
    has_sets: bool = False,
) -> LabelMap:
    """Decide how the labels of a training source map to classes.

    `configured` classes are matched by name, unless no label is one of the names and some are
    integers: then 0 is the first class, or 1 if there is no 0. Else `source_names`, the names
    that the source itself gives to its integer labels from 0 up, are the classes. Without either
    the classes are the labels found, as they are written: the numbers, by value, if most labels
    are numbers, else all labels, sorted.

    Raises DataError, which begins with `column` (source and column), for free text, a single class
    and, unless a row has several labels (`has_sets`), several labels in one field.
    """
    if configured is not None:
        numbers = {
            number for name in statistics.counts if (number := parse_integer(name)) is not None
        }
        if not numbers or any(name in statistics.counts for name in configured):
            return LabelMap(tuple(configured))
        base = 0 if 0 in numbers else 1
        return LabelMap(
            tuple(configured), {base + index: index for index in range(len(configured))}
        )
    if source_names is not None:
        return LabelMap(tuple(source_names), {index: index for index in range(len(source_names))})
    return _find_classes(statistics, column, has_sets=has_sets)


def label_text(value: Any) -> str:
    """Return a label as text without surrounding space; empty for None, NaN, lists and records.

    Floats that are integers are written as such.
    """
    if value is None or isinstance(value, list | tuple | dict) or value != value:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def parse_integer(name: str) -> int | None:
    """Return the integer that a number such as 3, +3 or 3.0 is; None for any other text."""
    if not NUMBER.fullmatch(name) or len(name) > MAX_NUMBER_CHARACTERS:
        return None
    try:
        return int(name)
    except ValueError:
        value = float(name)
    return int(value) if value.is_integer() else None


def _missing_reason(value: Any) -> str:
    return NOT_A_NAME if isinstance(value, list | tuple | dict) else MISSING


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _find_classes(statistics: ClassStatistics, column: str, *, has_sets: bool) -> LabelMap:
    counts = statistics.counts
    number_rows = sum(count for name, count in counts.items() if NUMBER.fullmatch(name))
    has_numbers = 2 * number_rows > counts.total()
    if statistics.has_too_many or len(counts) > max(MAX_CLASSES_OF_FEW_ROWS, statistics.rows // 2):
        if statistics.has_too_many:
            amount = f"more than {statistics.max_classes}"
            advice = "; if these are classes, raise data.max_classes"
        else:
            amount, advice = str(len(counts)), "; if these are classes, list them in data.classes"
        if has_numbers and not has_sets:
            advice += "; to predict the number, set task.kind=regression"
        raise DataError(
            f"{column}: {amount} different values in {statistics.rows} rows, "
            f"so this is no class label; set data.label to its column{advice}"
        )
    if not has_sets and (separator := find_label_separator(counts)):
        combined = next(name for name in counts if separator in name)
        raise DataError(
            f"{column}: several labels in one field, separated by {separator!r}, such as "
            f"{shorten_value(combined)!r}; set task.kind=multi_label and "
            f"task.separator={separator!r}, or, if these are names of classes, list them in "
            "data.classes"
        )
    if has_numbers:
        names = [name for name in counts if NUMBER.fullmatch(name)]
        classes = tuple(sorted(names, key=lambda name: (float(name), name)))
    else:
        classes = tuple(sorted(counts))
    if len(classes) < 2:
        found = f"only one class ({_list_names(classes)})" if classes else "no label at all"
        raise DataError(f"{column}: {found}; a classifier needs rows of at least two classes")
    return LabelMap(classes)


def find_label_separator(counts: Mapping[str, int]) -> str | None:
    """Return what separates several labels in one field; None if each field holds one.

    A separator that may be in names, too, joins labels if at least half of the labels that contain
    it have a part that is a label of its own.
    """
    for separator in (*CLEAR_SEPARATORS, *POSSIBLE_SEPARATORS):
        combined = [name for name in counts if separator in name.strip(separator)]
        if combined and separator in CLEAR_SEPARATORS:
            return separator
        known = [
            name
            for name in combined
            if any(part.strip() in counts for part in name.split(separator))
        ]
        if combined and len(known) >= len(combined) * MIN_SHARE_OF_COMBINED_NAMES:
            return separator
    return None


def find_similar_names(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the groups of names that differ in case, width, composition or invisible signs only.

    Numbers that are equal by value, such as 1 and 1.0, are a group, too.
    """
    groups: dict[str | float, list[str]] = {}
    for name in names:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        visible = "".join(
            " " if unicodedata.category(character) in SPACE_CATEGORIES else character
            for character in folded
            if unicodedata.category(character) != FORMAT_CATEGORY
        )
        key = float(name) if NUMBER.fullmatch(name) else " ".join(visible.split())
        groups.setdefault(key, []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _list_names(names: Sequence[str], max_names: int = 20) -> str:
    shortened = [shorten_value(name) for name in names[:max_names]]
    return ", ".join([*shortened, "..."] if len(names) > max_names else shortened)
