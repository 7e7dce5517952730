"""Time window: which rows of a source a run reads, by the time in one of their columns.

The window ends at `data.end_time` and never at the current time, so that a run that is repeated
reads the same rows. Rows outside of the window are excluded, which is no error; a row whose time
cannot be parsed is a malformed row.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from components.config.schema import DataConfig
from components.data.rows import ExcludedRows, MalformedRow, RowBatch, RowReader, RowStream
from components.errors import ConfigError

DATE_PLACEHOLDER = "{date}"
INVALID_TIME = "time that is not ISO 8601"
TOO_OLD = "older than the window"
TOO_NEW = "not before data.end_time"
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Window:
    """A half-open range of time from `start` (None: unbounded) to `end`, in UTC, of one column."""

    column: str
    start: datetime.datetime | None
    end: datetime.datetime

    def to_dict(self) -> dict[str, str]:
        """Return the window as it is stored in manifests."""
        start = {} if self.start is None else {"start": self.start.isoformat()}
        return {"time": self.column, **start, "until": self.end.isoformat()}

    def filter(self, batch: RowBatch) -> RowStream:
        """Yield the rows within the window, the malformed ones, and the number of all others."""
        times = parse_timestamps(batch.columns[self.column])
        start = 0
        # Malformed rows are rare; splitting the batch at them keeps the rows in order.
        for index in [index for index, time in enumerate(times) if time is None]:
            yield from self._filter_timed(batch.slice(start, index), times[start:index])
            yield MalformedRow(
                batch.numbers[index],
                batch.lines[index],
                f"{self.column}: {INVALID_TIME}",
                batch.file,
            )
            start = index + 1
        rest = batch.slice(start, len(times)) if start else batch
        yield from self._filter_timed(rest, times[start:])

    def _filter_timed(
        self, batch: RowBatch, times: Sequence[datetime.datetime | None]
    ) -> Iterator[RowBatch | ExcludedRows]:
        start, end = self.start or datetime.datetime.min.replace(tzinfo=datetime.UTC), self.end
        is_within = [time is not None and start <= time < end for time in times]
        if too_new := sum(time is not None and time >= end for time in times):
            yield ExcludedRows(TOO_NEW, too_new)
        if too_old := len(times) - sum(is_within) - too_new:
            yield ExcludedRows(TOO_OLD, too_old)
        if too_new or too_old:
            batch = batch.filter(is_within)
        if batch.numbers:
            yield batch


@dataclass(frozen=True)
class WindowedRows:
    """The rows of a reader that are within a time window."""

    reader: RowReader
    window: Window

    def read(self, columns: Sequence[str]) -> RowStream:
        """Stream the columns of the rows within the window, and ExcludedRows for the others."""
        for batch in self.reader.read(list(dict.fromkeys([*columns, self.window.column]))):
            if not isinstance(batch, RowBatch):
                yield batch
                continue
            for part in self.window.filter(batch):
                yield part.select(columns) if isinstance(part, RowBatch) else part


def parse_timestamps(values: Sequence[Any]) -> list[datetime.datetime | None]:
    """Return `parse_timestamp` of each value, much faster if all of them are ISO 8601 texts."""
    try:
        times = [*map(datetime.datetime.fromisoformat, map(str.strip, values))]
    except (TypeError, ValueError):
        return [*map(parse_timestamp, values)]
    return [time if time.tzinfo is datetime.UTC else parse_timestamp(time) for time in times]


def parse_timestamp(value: Any) -> datetime.datetime | None:
    """Parse ISO 8601 text, a date or a timestamp into UTC, the default zone; None if invalid."""
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


def parse_window(data: DataConfig) -> Window | None:
    """Return the configured window; None if rows are not selected by their time.

    Raises ConfigError for `data.window` without `data.end_time`, and for a start before the year 1.
    """
    if data.end_time is None:
        if data.window is not None:
            raise ConfigError(
                f"data.window: {data.window} has no end. Set data.end_time to the time at which "
                "the window ends (a schedule does); the current time would differ from run to run"
            )
        return None
    if data.time_column is None:
        return None
    end = _parse_end(data.end_time)
    if data.window is None:
        return Window(data.time_column, None, end)
    age = {_UNITS[data.window[-1]]: int(data.window[:-1])}
    try:
        return Window(data.time_column, end - datetime.timedelta(**age), end)
    except OverflowError:
        raise ConfigError(
            f"data.window: {data.window} before {data.end_time} lies before the year 1"
        ) from None


def fill_date_placeholder(data: DataConfig) -> tuple[str, ...]:
    """The names in `data.source` with {date} replaced by the UTC day of `data.end_time`.

    ConfigError for {date} without `data.end_time`.
    """
    return tuple(fill_date(name, data.end_time, "data.source") for name in data.sources)


def fill_date(name: str, end_time: str | None, option: str) -> str:
    """The value of `option` with {date} replaced by the UTC day of `end_time` (data.end_time).

    ConfigError for {date} without that time.
    """
    if DATE_PLACEHOLDER not in name:
        return name
    if end_time is None:
        raise ConfigError(
            f"{option}: {name} has {DATE_PLACEHOLDER}, the day of data.end_time; "
            "set data.end_time (a schedule does)"
        )
    return name.replace(DATE_PLACEHOLDER, _parse_end(end_time).date().isoformat())


def _parse_end(text: str) -> datetime.datetime:
    end = parse_timestamp(text)
    if end is None:
        raise ConfigError(
            f"data.end_time: {text!r} is not a time such as 2026-01-31 or 2026-01-31T02:30:00Z"
        )
    return end
