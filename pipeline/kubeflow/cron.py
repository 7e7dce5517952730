"""Scheduled times: five cron fields in a time zone, translated for the server, or refused.

The server's cron has six fields (seconds first) and one time zone for all schedules, and reads a
few expressions differently from crontab(5). So it is sent plain lists of numbers, which both read
alike. Times in another zone are converted to the server's zone where that is exact.
"""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from components.config.cluster import ScheduleConfig
from components.errors import ConfigError

FIELD_PATTERN = re.compile(r"[0-9A-Za-z*,/-]+")
DAYS_PER_WEEK = 7
COMPARED_TIMES = 400
"""Times that must be equal in both zones before an expression is converted to another zone."""


@dataclass(frozen=True)
class Cron:
    """Scheduled times: `expression` as configured, `server_expression` as sent to the server."""

    expression: str
    zone: ZoneInfo
    server_expression: str
    server_zone: ZoneInfo

    def times_after(self, when: datetime.datetime) -> Iterator[datetime.datetime]:
        """The scheduled times after a time, in the configured zone."""
        times = _iterate_times(
            self.server_expression.removeprefix("0 "), when.astimezone(self.server_zone)
        )
        return (time.astimezone(self.zone) for time in times)

    def last_time_until(self, when: datetime.datetime) -> datetime.datetime:
        """The latest scheduled time up to and including a time."""
        text = self.server_expression.removeprefix("0 ")
        return next(
            _iterate_times(
                text,
                when.astimezone(self.server_zone) + datetime.timedelta(seconds=1),
                backwards=True,
            )
        )


def parse_cron(schedule: ScheduleConfig) -> Cron:
    """The scheduled times of a configuration.

    Raises ConfigError for an expression that the server would refuse, misread, or run at other
    times.
    """
    if schedule.cron is None:
        raise ConfigError(
            "schedule.cron: not set, so there is no schedule; write minute, hour, day, month, "
            "weekday, as in '30 2 * * 1'"
        )
    zone, server_zone = (
        _load_zone("time_zone", schedule.time_zone),
        _load_zone("server_time_zone", schedule.server_time_zone),
    )
    text = " ".join(schedule.cron.split())
    fields = _parse_fields(text)
    if zone.key == server_zone.key:
        return Cron(text, zone, _format_server_cron(fields), server_zone)
    converted = _convert_to_zone(fields, zone, server_zone)
    if converted is None:
        raise ConfigError(
            f"schedule.time_zone: {zone.key} cannot be converted exactly to {server_zone.key}, the "
            "zone of all the server's schedules (clocks change at other times, or the day would be "
            f"another one); write the cron expression in {server_zone.key}, or set the server's "
            f"CRON_SCHEDULE_TIMEZONE and schedule.server_time_zone to {zone.key}"
        )
    return Cron(text, zone, _format_server_cron(converted), server_zone)


def parse_server_cron(text: str, zone: str, server_zone: str) -> Cron | None:
    """The times of an expression that kubert sent to the server before; None for any other."""
    try:
        CronSim(text, datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC))
        return (
            Cron(text, ZoneInfo(zone), text, ZoneInfo(server_zone))
            if text.startswith("0 ")
            else None
        )
    except (CronSimError, ZoneInfoNotFoundError, ValueError, OSError):
        return None


CronFields = tuple[frozenset[int] | None, ...]
"""Numbers per field: minute, hour, day, month, weekday; None for all numbers (`*`)."""


def _parse_fields(text: str) -> CronFields:
    words = text.split(" ")
    if len(words) != 5:
        raise ConfigError(
            f"schedule.cron: {text!r} has {len(words)} fields; write five: minute, hour, day of "
            "month, month, day of week, as in '30 2 * * 1'"
        )
    if not all(FIELD_PATTERN.fullmatch(word) for word in words):
        raise ConfigError(
            f"schedule.cron: {text!r}: only numbers, names such as MON or JAN, and * , - / can be "
            "used"
        )
    try:
        parsed = CronSim(text, datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC))
        next(parsed)
        found = [
            parsed.minutes,
            parsed.hours,
            parsed.days,
            parsed.months,
            {day % DAYS_PER_WEEK if isinstance(day, int) else -1 for day in parsed.weekdays},
        ]
    except StopIteration:
        raise ConfigError(f"schedule.cron: {text!r} is never due") from None
    except CronSimError as error:
        raise ConfigError(
            f"schedule.cron: {text!r}: {str(error).lower()}; as in '30 2 * * 1'"
        ) from None
    if any(number < 0 for numbers in found for number in numbers):
        raise ConfigError(
            f"schedule.cron: {text!r}: the server does not support L and LW; write a day"
        )
    full = (60, 24, 31, 12, DAYS_PER_WEEK)
    fields = tuple(
        None if len(numbers) == size else frozenset(numbers)
        for numbers, size in zip(found, full, strict=True)
    )
    if fields[2] is not None and fields[4] is not None:
        raise ConfigError(
            f"schedule.cron: {text!r} names days of the month and of the week, and implementations "
            "differ on which must match; use one of them"
        )
    return fields


def _format_server_cron(fields: CronFields) -> str:
    return " ".join(
        [
            "0",
            *(
                "*" if numbers is None else ",".join(map(str, sorted(numbers)))
                for numbers in fields
            ),
        ]
    )


def _convert_to_zone(
    fields: CronFields, zone: ZoneInfo, server_zone: ZoneInfo
) -> CronFields | None:
    """Fields with the same times in the server's zone, compared one by one; None if impossible."""
    start = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    shift = _utc_offset_minutes(start, server_zone) - _utc_offset_minutes(start, zone)
    minutes, hours, days, months, weekdays = fields
    if hours is None and shift % 60 == 0:
        candidate: CronFields = fields
    else:
        times = {
            divmod(minute + 60 * hour + shift, 60)
            for minute in minutes or range(60)
            for hour in hours or range(24)
        }
        moved_hours, moved_minutes = {hour for hour, _ in times}, {minute for _, minute in times}
        shifts = {hour // 24 for hour in moved_hours}
        if len(times) != len(moved_hours) * len(moved_minutes) or (
            len(shifts) > 1 and (days, weekdays) != (None, None)
        ):
            return None
        if weekdays is not None:
            weekdays = frozenset((day + next(iter(shifts))) % DAYS_PER_WEEK for day in weekdays)
        candidate = (
            frozenset(moved_minutes) if len(moved_minutes) < 60 else None,
            frozenset(hour % 24 for hour in moved_hours),
            days,
            months,
            weekdays,
        )
    original = _iterate_times(
        _format_server_cron(fields).removeprefix("0 "), start.astimezone(zone)
    )
    converted = _iterate_times(
        _format_server_cron(candidate).removeprefix("0 "), start.astimezone(server_zone)
    )
    same = all(
        a == b for a, b in itertools.islice(zip(original, converted, strict=False), COMPARED_TIMES)
    )
    hourly = fields[1:] == (None,) * 4
    return (
        candidate
        if same and _is_offset_constant(zone, server_zone, start, modulo=60 if hourly else None)
        else None
    )


def _iterate_times(
    text: str, when: datetime.datetime, *, backwards: bool = False
) -> Iterator[datetime.datetime]:
    """Times of five fields as the server computes them.

    A time that the clock skips is not due, and one that it shows twice is due twice.
    """
    return iter(CronSim(f"0 {text}", when, reverse=backwards))


def _is_offset_constant(
    one: ZoneInfo, other: ZoneInfo, start: datetime.datetime, modulo: int | None
) -> bool:
    """Whether the zones' UTC offsets differ by a constant on each day of the next three years.

    With `modulo`, the difference is compared modulo so many minutes.
    """
    days = (start + datetime.timedelta(days=number) for number in range(366 * 3))
    differences = {_utc_offset_minutes(day, one) - _utc_offset_minutes(day, other) for day in days}
    return len({minutes % modulo for minutes in differences} if modulo else differences) == 1


def _utc_offset_minutes(when: datetime.datetime, zone: ZoneInfo) -> int:
    offset = when.astimezone(zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds()) // 60


def _load_zone(option: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"schedule.{option}: no time zone is called {name!r}; "
            "write one such as UTC or Europe/Berlin"
        ) from None
