"""A row's label becomes the index of its class, or a reason why it cannot; nothing is guessed per row.

Which way the labels are written is decided once, from the training source: by name, or by number
from 0 or from 1.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.errors import DataError

MAX_CLASSES = 1000
FEW_CLASSES = 20
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

MISSING = "missing label"
UNKNOWN = "unknown label"
OUT_OF_RANGE = "label out of range"
NEGATIVE = "negative label"
FRACTIONAL = "fractional label"


@dataclass
class LabelStatistics:
    """The different labels of a source, counted in one pass; at most MAX_CLASSES + 1 of them."""

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def too_many(self) -> bool:
        """Whether there are more different values than classes can be."""
        return len(self.counts) > MAX_CLASSES

    def add(self, value: Any, times: int = 1) -> None:
        """Count a label; missing ones and those that are not UTF-8 are nothing to choose from."""
        name = label_text(value)
        if name and _is_text(name) and (not self.too_many or name in self.counts):
            self.counts[name] += times

    def add_rows(self, values: Sequence[Any]) -> None:
        """Count the labels of as many rows."""
        self.rows += len(values)
        if {*map(type, values)} == {str}:
            for value, times in Counter(values).items():
                self.add(value, times)
        else:
            for value in values:
                self.add(value)


@dataclass(frozen=True)
class LabelMap:
    """Classes in index order, and how a label is found among them: by number if `numbers` is given, else by name."""

    classes: tuple[str, ...]
    numbers: Mapping[int, int] | None = None

    def look_up(self, value: Any) -> int | str:
        """The class index of a label as it was read, or the reason (one of this module's constants) to refuse its row."""
        name = label_text(value)
        if not name:
            return MISSING
        if self.numbers is None:
            return self._by_name.get(name, UNKNOWN)
        if not NUMBER.fullmatch(name):
            return UNKNOWN
        number = parse_integer(name)
        if number is None:
            return FRACTIONAL
        return self.numbers.get(number, NEGATIVE if number < 0 else OUT_OF_RANGE)

    def indices(self, values: Sequence[Any]) -> list[int] | None:
        """The class index of each label; None if one of them is a reason to refuse its row."""
        if {*map(type, values)} != {str}:  # True, 1 and 1.0 are equal, but not the same label
            each = [self.look_up(value) for value in values]
            known = [index for index in each if not isinstance(index, str)]
            return known if len(known) == len(each) else None
        found = {
            value: index
            for value in set(values)
            if not isinstance(index := self.look_up(value), str)
        }
        return [found[value] for value in values] if found.keys() >= set(values) else None

    @property
    def described(self) -> str:
        """What a label may be, for messages."""
        if self.numbers is None:
            return "one of " + _listed(self.classes)
        if self.classes == tuple(str(number) for number in self.numbers):
            return "one of " + _listed(self.classes)
        return f"a whole number from {min(self.numbers)} to {max(self.numbers)}"

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "_by_name", {name: index for index, name in enumerate(self.classes)}
        )

    _by_name: Mapping[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)


def build_label_map(
    survey: LabelStatistics, listed: Sequence[str] | None, named: Sequence[str] | None, place: str
) -> LabelMap:
    """How to read the labels of a surveyed training source.

    `listed` are the configured classes, `named` those that the source itself names (numbered from
    0). Listed classes are matched by name, unless no label is one of the names and some are whole
    numbers: then 0 is the first class, or 1 is where no 0 occurs. Without either the classes are
    the labels found: the whole numbers from 0 up by value if most rows have numbers, else all of
    them, sorted. `place` is source and column, for the DataError that fractions, free text and a
    single class raise.
    """
    if listed is not None:
        numbers = {number for name in survey.counts if (number := parse_integer(name)) is not None}
        if not numbers or any(name in survey.counts for name in listed):
            return LabelMap(tuple(listed))
        base = 0 if 0 in numbers else 1
        return LabelMap(tuple(listed), {base + index: index for index in range(len(listed))})
    if named is not None:
        return LabelMap(tuple(named), {index: index for index in range(len(named))})
    return _found(survey, place)


def label_text(value: Any) -> str:
    """A label as a string without spaces around it; empty for None, NaN, lists and records. Whole floats are written as integers."""
    if value is None or value != value or isinstance(value, list | dict):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def parse_integer(name: str) -> int | None:
    """The integer that a number such as 3, +3 or 3.0 is; None for fractions and anything else."""
    if not NUMBER.fullmatch(name) or len(name) > 30:
        return None
    try:
        return int(name)
    except ValueError:
        value = float(name)
    return int(value) if value.is_integer() else None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _found(survey: LabelStatistics, place: str) -> LabelMap:
    distinct = len(survey.counts)
    if survey.too_many or distinct > max(FEW_CLASSES, survey.rows // 2):
        amount = f"more than {MAX_CLASSES}" if survey.too_many else str(distinct)
        raise DataError(
            f"{place}: {amount} different values in {survey.rows} rows, so this is no class label; set data.label to its column"
        )
    if (
        2 * sum(count for name, count in survey.counts.items() if NUMBER.fullmatch(name))
        > survey.counts.total()
    ):
        numbers = sorted(
            {
                number
                for name in survey.counts
                if (number := parse_integer(name)) is not None and number >= 0
            }
        )
        if not numbers:
            raise DataError(
                f"{place}: fractions or negative numbers, which are no class labels; set data.label, or list data.classes by name"
            )
        found = LabelMap(
            tuple(str(number) for number in numbers),
            {number: index for index, number in enumerate(numbers)},
        )
    else:
        found = LabelMap(tuple(sorted(survey.counts)))
    if len(found.classes) < 2:
        what = f"only one class ({_listed(found.classes)})" if found.classes else "no label at all"
        raise DataError(f"{place}: {what}; a classifier needs rows of at least two classes")
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name if len(name) <= 30 else f"{name[:30]}..." for name in names[:20]) + (
        ", ..." if len(names) > 20 else ""
    )
