"""Joins the text columns of a row into its text, or finds the reason why they make none.

Valid texts are not modified: empty columns aside, a text is its columns with one space in between.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from components.config.schema import DataConfig
from components.data.readers.text_chunks import NOT_UNICODE
from components.data.rows import RowBatch

NOT_TEXT = "text that is not a string"
BLANK = "blank text"
NUMBER_TYPES = (int, float, Decimal)
INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})


@dataclass(frozen=True)
class ColumnLayout:
    """The columns that hold the text, in the order in which they are joined, and the label."""

    text: tuple[str, ...]
    label: str

    @classmethod
    def from_config(cls, data: DataConfig) -> ColumnLayout:
        """Return the configured columns."""
        return cls(data.text, data.label)

    @property
    def names(self) -> list[str]:
        """All columns to read."""
        return [*self.text, self.label]

    def text_columns(self, batch: RowBatch) -> list[Sequence[Any]]:
        """Return the batch's text columns, numbers as their digits."""
        return [convert_numbers(batch.columns[column]) for column in self.text]

    def number_columns(self, batch: RowBatch) -> list[str]:
        """Return the names of the text columns that hold numbers."""
        return [column for column in self.text if has_numbers(batch.columns[column])]

    def labels(self, batch: RowBatch) -> Sequence[Any]:
        """Return the batch's labels as they were read."""
        return batch.columns[self.label]


def has_numbers(values: Sequence[Any]) -> bool:
    """Whether some of the values are numbers, which a text column may hold."""
    return any(issubclass(kind, NUMBER_TYPES) and kind is not bool for kind in {*map(type, values)})


def convert_numbers(values: Sequence[Any]) -> Sequence[Any]:
    """Return the values with each number as its digits; NaN is no value."""
    if not has_numbers(values):
        return values
    return [
        value
        if not isinstance(value, NUMBER_TYPES) or isinstance(value, bool)
        else (str(value) if value == value else None)
        for value in values
    ]


def join_columns(values: Sequence[Any]) -> str | None:
    """Join the values of one row with one space, skipping empty ones; None if one is no string."""
    parts = [value for value in values if value is not None and value != ""]
    return " ".join(parts) if all(isinstance(part, str) for part in parts) else None


def text_error(text: str) -> str | None:
    """Return the reason why a text cannot be used; None if it can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return NOT_UNICODE
    is_visible = any(
        unicodedata.category(character) not in INVISIBLE_CATEGORIES for character in text
    )
    return None if is_visible else BLANK


def join_valid_texts(columns: Sequence[Sequence[Any]]) -> list[str] | None:
    """Join the text columns of a batch at once; None if the text of any row cannot be used."""
    if any({*map(type, column)} != {str} for column in columns):
        return None
    texts = list(columns[0])
    for column in columns[1:]:
        texts = [
            f"{left} {right}" if left and right else left or right
            for left, right in zip(texts, column, strict=True)
        ]
    # A text that begins with a letter or digit is not blank, and ASCII is valid Unicode, so that
    # most texts need no closer look.
    unclear = [text for text in texts if not text[:1].isalnum()]
    if not all(map(str.isascii, texts)):
        unclear += [text for text in texts if not text.isascii()]
    return None if any(map(text_error, unclear)) else texts
