"""The dialect of a CSV or TSV file: delimiter, quotes and escapes, and how a delimiter is found."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.config.data import DataConfig

if TYPE_CHECKING:
    import _csv

CANDIDATE_DELIMITERS = (",", ";", "|", "\t")
"""In the order of preference."""
MIN_SHARE_OF_EQUAL_WIDTH = 0.9


@dataclass(frozen=True)
class Dialect:
    """How the fields of a row are written.

    `has_quotes`: a field may be enclosed in double quotes. `has_escapes`: a backslash makes the
    next character an ordinary one. A doubled quote in a quoted field is a quote in any case.
    """

    delimiter: str
    has_quotes: bool = True
    has_escapes: bool = False

    @classmethod
    def from_config(cls, data: DataConfig, delimiter: str) -> Dialect:
        """Return the configured dialect; `delimiter` is used unless `data.delimiter` is set."""
        return cls(data.delimiter or delimiter, data.quoting != "none", data.escape == "backslash")

    def parse_rows(self, lines: Iterable[str]) -> _csv.Reader:
        """Return a strict `csv.reader` of the lines."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.has_quotes else csv.QUOTE_NONE,
            escapechar="\\" if self.has_escapes else None,
            strict=True,
        )


def find_delimiter(lines: Sequence[str], data: DataConfig) -> str:
    """Return the delimiter that gives the configured columns, preferring the comma.

    `lines` are the first lines of a file. With a header row, the columns must be in it; without
    one, nearly all rows must have the same number of fields, which includes the columns' numbers.
    """
    columns = {*data.text_columns, *data.label_columns}
    columns |= {data.time_column} if data.time_column else set()
    best, best_score = CANDIDATE_DELIMITERS[0], 0.0
    for delimiter in CANDIDATE_DELIMITERS:
        rows = _parse_rows(lines, Dialect.from_config(data, delimiter))
        if data.header:
            if columns <= {*next(rows, [])}:
                return delimiter
        elif (score := _score_rows([*rows], columns)) > best_score:
            best, best_score = delimiter, score
    return best


def _parse_rows(lines: Sequence[str], dialect: Dialect) -> Iterator[list[str]]:
    """Yield the rows that are not blank, up to the first one that cannot be parsed."""
    with suppress(csv.Error):
        yield from filter(None, dialect.parse_rows(lines))


def _score_rows(rows: Sequence[Sequence[str]], columns: Collection[str]) -> float:
    """Return how likely rows without a header are split as meant, from 0 (impossible) to 1.

    It is the share of rows with the most frequent width, less that of fields that begin with a
    space.
    """
    widths = [*map(len, rows)]
    if not widths or not all(column.isdecimal() for column in columns):
        return 0.0
    spaces = sum(field.startswith(" ") for row in rows for field in row[1:])
    width = max({*widths}, key=widths.count)
    share = widths.count(width) / len(widths)
    has_columns = max(map(int, columns)) < width
    # What a space follows is rather a sign in a text than a delimiter.
    share -= spaces / (sum(widths) + 1)
    return share if has_columns and share >= MIN_SHARE_OF_EQUAL_WIDTH else 0.0
