"""Which rows of a source a run reads, by their time: the same rows for the same configuration, whenever it runs.

The window ends where `data.end_time` says and never at the clock's time, so a run that is repeated
reads the same rows. A row outside is left out, which is no fault of it; a row whose time cannot
be read is.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from components.config.schema import DataConfig
from components.data.rows import MalformedRow, Row, RowReader, RowStream, batch_rows
from components.errors import ConfigError

DATE = "{date}"
NOT_A_TIME = "time that is not ISO 8601"
OLDER = "older than the window"
NEWER = "not before data.end_time"
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Window:
    """Rows from `start` (None: the first ones) up to, and without, `until`, by the time in `column`; both are UTC."""

    column: str
    start: datetime.datetime | None
    until: datetime.datetime

    @property
    def described(self) -> dict[str, str]:
        """The window as it is written down with what was made from it."""
        start = {} if self.start is None else {"start": self.start.isoformat()}
        return {"time": self.column, **start, "until": self.until.isoformat()}


@dataclass(frozen=True)
class WindowedRows:
    """The rows of a reader without those outside the window.

    Each complete pass sets `outside_window` to the number of the others, by reason.
    """

    reader: RowReader
    window: Window
    outside_window: Counter[str]

    def read(self, columns: Sequence[str]) -> RowStream:
        """Stream the columns of the rows within the window."""
        return batch_rows(self._read_rows(columns), columns)

    def _read_rows(self, columns: Sequence[str]) -> Iterator[Row | MalformedRow]:
        window, counted = self.window, Counter[str]()
        for batch in self.reader.read([*columns, window.column]):
            if isinstance(batch, MalformedRow):
                yield batch
                continue
            values = zip(*(batch.columns[column] for column in columns), strict=True)
            times = map(parse_timestamp, batch.columns[window.column])
            for row, when in zip(map(Row, batch.numbers, batch.lines, values), times, strict=True):
                if when is None:
                    yield MalformedRow(row.number, row.line, f"{window.column}: {NOT_A_TIME}")
                elif when >= window.until:
                    counted[NEWER] += 1
                elif window.start is not None and when < window.start:
                    counted[OLDER] += 1
                else:
                    yield row
        self.outside_window.clear()
        self.outside_window.update(counted)


def parse_window(data: DataConfig) -> Window | None:
    """The configured window; None where rows are not chosen by their time.

    Raises ConfigError for `window` without `until`, and for one that begins before the calendar.
    """
    if data.end_time is None:
        if data.window is not None:
            raise ConfigError(
                f"data.window: {data.window} before when? Set data.end_time to the time that the window ends at (a schedule does); "
                "the clock's time would be another one in each run"
            )
        return None
    if data.time_column is None:
        return None
    until = _until(data.end_time)
    if data.window is None:
        return Window(data.time_column, None, until)
    try:
        return Window(
            data.time_column,
            until - datetime.timedelta(**{_UNITS[data.window[-1]]: int(data.window[:-1])}),
            until,
        )
    except OverflowError:
        raise ConfigError(
            f"data.window: {data.window} before {data.end_time} lies before the year 1"
        ) from None


def fill_date_placeholder(data: DataConfig) -> str:
    """`data.source`, with the day (UTC) of `data.end_time` for {date}; ConfigError if that is not given."""
    if DATE not in data.source:
        return data.source
    if data.end_time is None:
        raise ConfigError(
            f"data.source: {data.source} has {DATE}, the day of data.end_time; set data.end_time (a schedule does)"
        )
    return data.source.replace(DATE, _until(data.end_time).date().isoformat())


def parse_timestamp(value: Any) -> datetime.datetime | None:
    """A time as it stands in a row (ISO 8601 text, or Parquet's date or timestamp), in UTC; None if it is none."""
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    if not isinstance(value, datetime.datetime):
        return None
    if value.tzinfo is None:
        return value.replace(tzinfo=datetime.UTC)
    try:
        return value.astimezone(datetime.UTC)
    except OverflowError:
        return None


def _until(text: str) -> datetime.datetime:
    found = parse_timestamp(text)
    if found is None:
        raise ConfigError(
            f"data.end_time: {text!r} is no time such as 2026-01-31 or 2026-01-31T02:30:00Z"
        )
    return found
