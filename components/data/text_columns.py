"""Makes the text of a row, or the two texts of a pair, of its columns, or finds why they make none.

Valid texts are not modified: empty columns aside, a text is its columns with one space in between.
Each text of a pair is one column, and none of them may be blank.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple, cast

from components.config.schema import DataConfig
from components.data.readers.text_chunks import NOT_UNICODE
from components.data.rows import RowBatch
from components.errors import ConfigError, shorten_value

Text = str | tuple[str, str]
"""The text of a row, or the two texts of a pair; those of one source are all of one kind."""
NOT_TEXT = "text that is not a string"
BLANK = "blank text"
NO_VALUE = "no text (no such key, or null)"
"""Of one text of a pair; several columns of a single text may lack some."""
NUMBER_TYPES = (int, float, Decimal)
INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})


class UnusableText(NamedTuple):
    """Why the columns of a row make no text, and the names of the columns that are meant."""

    reason: str
    columns: str


@dataclass(frozen=True)
class TextColumns:
    """The columns of a text, in the order in which they are joined, or the two of a pair."""

    names: tuple[str, ...]
    is_pair: bool = False

    @classmethod
    def from_config(cls, data: DataConfig) -> TextColumns:
        """Return the configured columns."""
        return cls(data.text_columns, data.text_pair is not None)

    def read(self, batch: RowBatch) -> list[Sequence[Any]]:
        """Return the batch's columns, numbers as their digits."""
        return [convert_numbers(batch.columns[column]) for column in self.names]

    def list_number_columns(self, batch: RowBatch) -> list[str]:
        """Return the names of the columns that hold numbers."""
        return [column for column in self.names if has_numbers(batch.columns[column])]

    def build_texts(self, columns: Sequence[Sequence[Any]]) -> Sequence[Text] | None:
        """Return the texts of a batch at once; None if the text of any row cannot be used."""
        if not self.is_pair:
            return join_valid_texts(columns)
        first, second = (join_valid_texts([column]) for column in columns)
        return None if first is None or second is None else [*zip(first, second, strict=True)]

    def build_text(self, values: Sequence[Any]) -> Text | UnusableText:
        """Return the text of one row, or why it has none."""
        if not self.is_pair:
            return _build_single_text(values, "+".join(self.names))
        first, second = (
            UnusableText(NO_VALUE, name) if value is None else _build_single_text([value], name)
            for value, name in zip(values, self.names, strict=True)
        )
        if isinstance(first, UnusableText):
            return first
        return second if isinstance(second, UnusableText) else (first, second)


@dataclass(frozen=True)
class ColumnLayout:
    """The columns that hold the text or the pair of texts, and the label or labels."""

    text: TextColumns
    label_columns: tuple[str, ...]

    @classmethod
    def from_config(cls, data: DataConfig) -> ColumnLayout:
        """Return the configured columns; ConfigError if a text would contain the label."""
        for label in data.label_columns:
            if label not in data.text_columns:
                continue
            option = "data.text" if data.text_pair is None else "data.text_pair"
            raise ConfigError(
                f"{option} and data.label both name the column {shorten_value(label)!r}: a "
                f"model would read the answer in the text; leave it out of {option}, or set "
                "data.label to the column with the classes"
            )
        return cls(TextColumns.from_config(data), data.label_columns)

    @property
    def names(self) -> list[str]:
        """All columns to read."""
        return [*self.text.names, *self.label_columns]

    def labels(self, batch: RowBatch) -> Sequence[Any]:
        """Return the batch's labels as they were read, of several columns as tuples."""
        if len(self.label_columns) == 1:
            return batch.columns[self.label_columns[0]]
        return [*zip(*(batch.columns[name] for name in self.label_columns), strict=True)]


def count_characters(texts: Sequence[Text]) -> list[int]:
    """Return the length of each text in characters, of a pair that of both texts."""
    if texts and not isinstance(texts[0], str):
        return [sum(map(len, pair)) for pair in texts]
    return [*map(len, texts)]


def flatten_texts(texts: Sequence[Text]) -> Sequence[str]:
    """Return the texts one by one, where they are pairs both of each."""
    if texts and not isinstance(texts[0], str):
        return [*chain.from_iterable(texts)]
    return cast(Sequence[str], texts)


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


def _build_single_text(values: Sequence[Any], columns: str) -> str | UnusableText:
    text = join_columns(values)
    reason = NOT_TEXT if text is None else text_error(text)
    return text if text is not None and reason is None else UnusableText(reason or "", columns)


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
