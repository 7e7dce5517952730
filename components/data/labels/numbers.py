"""Labels that are numbers (task.kind=regression): finite ones, as text or as such."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from components.data.labels import UnusableLabel
from components.data.labels.class_names import MISSING, NOT_A_NAME, NUMBER, label_text
from components.errors import DataError, shorten_value

NOT_A_NUMBER = "label that is no number"
NOT_FINITE = "label that is not finite"
DECIMAL_COMMA = "number with a decimal comma"
TOO_LARGE = "number that is too large for float32"
MAX_MAGNITUDE = 3.4e38
"""Of float32, in which a model is served."""
MAX_SHOWN_VALUES = 3
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)


@dataclass
class NumberStatistics:
    """Number of rows, and the smallest and largest number, in a source.

    `without_label` counts the rows without a usable number by reason, `examples` are the first
    different values that are no numbers. `counts` is empty: there are no classes.
    """

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    without_label: Counter[str] = field(default_factory=Counter)
    numbers: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    examples: list[str] = field(default_factory=list)

    def add_rows(self, values: Sequence[Any]) -> None:
        """Count the rows with these labels."""
        self.rows += len(values)
        for value in values:
            number = parse_number(value)
            if isinstance(number, UnusableLabel):
                self.without_label[number.reason] += 1
                self._add_example(number.value)
            else:
                self.numbers += 1
                self.low, self.high = min(self.low, number), max(self.high, number)

    def suggest_remedies(self) -> list[str]:
        """Return sentences that say what mends the rows of `without_label`."""
        return suggest_number_remedies(self.without_label)

    def list_notes(self) -> list[str]:
        """Return nothing: what can be said of the numbers is about those of the training rows."""
        return []

    def _add_example(self, value: Any) -> None:
        if value is None or len(self.examples) == MAX_SHOWN_VALUES:
            return
        shown = repr(shorten_value(value))
        if shown not in self.examples:
            self.examples.append(shown)


@dataclass(frozen=True)
class NumberLabels:
    """Turns values into finite numbers; there are no classes."""

    classes: tuple[str, ...] = ()

    def encode(self, value: Any) -> float | UnusableLabel:
        """Return the number, or why the row has to be rejected."""
        return parse_number(value)

    def encode_batch(self, values: Sequence[Any]) -> list[float] | None:
        """Return the number of each row; None if one of them has to be rejected."""
        numbers = [*map(parse_number, values)]
        valid = [number for number in numbers if not isinstance(number, UnusableLabel)]
        return valid if len(valid) == len(numbers) else None

    def list_names(self, value: Any) -> list[str]:
        """Return nothing: a number is no class."""
        return []

    def choose_strata(self, labels: Sequence[Any], counts: Mapping[str, int]) -> Sequence[int]:
        """Return one class for all: there are none (`data.stratify` is refused before)."""
        return [0] * len(labels)

    def suggest_remedies(self, reasons: Collection[str]) -> list[str]:
        """Return sentences that say what mends rows which were rejected for these reasons."""
        return suggest_number_remedies(reasons)


def suggest_number_remedies(reasons: Collection[str]) -> list[str]:
    """Return sentences that say what mends rows without a number, by these reasons."""
    if DECIMAL_COMMA in reasons:
        return ["Write numbers with a point, such as 1.5."]
    if {NOT_A_NUMBER, NOT_A_NAME, NOT_FINITE, TOO_LARGE, MISSING} & {*reasons}:
        return ["With task.kind=regression a label must be a finite number, such as 3 or -0.5."]
    return []


def parse_number(value: Any) -> float | UnusableLabel:
    """Return the finite number that a value is, or that a text writes, or why there is none."""
    if value is None:
        return UnusableLabel(MISSING)
    if isinstance(value, list | tuple | dict):
        return UnusableLabel(NOT_A_NAME, value)
    if isinstance(value, bool):
        return UnusableLabel(NOT_A_NUMBER, value)
    if not isinstance(value, int | float | Decimal):
        text = str(value).strip()
        if not text:
            return UnusableLabel(MISSING)
        if not NUMBER.fullmatch(text):
            return UnusableLabel(_explain_text(text), value)
        value = text
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return UnusableLabel(TOO_LARGE, label_text(value))
    if number != number or (abs(number) == float("inf") and not isinstance(value, str)):
        return UnusableLabel(NOT_FINITE, str(number))
    if abs(number) > MAX_MAGNITUDE:
        return UnusableLabel(TOO_LARGE, value)
    return number


def _explain_text(text: str) -> str:
    if _NOT_FINITE.fullmatch(text):
        return NOT_FINITE
    return DECIMAL_COMMA if _DECIMAL_COMMA.fullmatch(text) else NOT_A_NUMBER


def build_number_labels(statistics: NumberStatistics, column: str) -> NumberLabels:
    """Return how the labels of a training source become numbers.

    Raises DataError, which begins with `column` (source and column), for a column that holds
    mostly something else than numbers, and for one number only.
    """
    if 2 * statistics.numbers < statistics.rows:
        found = ", ".join(statistics.examples)
        held = f"holds {found}, which" if found else "most of its rows"
        raise DataError(
            f"{column}: {held} are no numbers ({statistics.numbers} numbers in {statistics.rows} "
            "rows); set data.label to the column with the number, or leave out "
            "task.kind=regression to predict classes"
        )
    if statistics.low == statistics.high:
        raise DataError(
            f"{column}: all rows have the number {statistics.low:g}; there is nothing to predict: "
            "set data.label to the column whose number depends on the text"
        )
    return NumberLabels()
