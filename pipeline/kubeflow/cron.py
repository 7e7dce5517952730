"""When a schedule is due: five cron fields in a time zone, as the server will understand them, or a refusal.

The server's cron has six fields (seconds first) and one time zone for all schedules, and reads a few expressions otherwise than
crontab(5). So it is sent plain lists of numbers, which both read alike; another zone is turned into the server's where that is exact.
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
"""Slots that must be the same in both zones before an expression is sent in another than it was written in."""


@dataclass(frozen=True)
class Cron:
    """A schedule's slots: `text` as configured in `zone`, and `server` as it is sent, in the server's zone."""

    expression: str
    zone: ZoneInfo
    server_expression: str
    server_zone: ZoneInfo

    def times_after(self, when: datetime.datetime) -> Iterator[datetime.datetime]:
        """The slots after a time, in the configured zone."""
        slots = _iterate_times(
            self.server_expression.removeprefix("0 "), when.astimezone(self.server_zone)
        )
        return (slot.astimezone(self.zone) for slot in slots)

    def last_time_until(self, when: datetime.datetime) -> datetime.datetime:
        """The latest slot up to and including a time."""
        text = self.server_expression.removeprefix("0 ")
        return next(
            _iterate_times(
                text,
                when.astimezone(self.server_zone) + datetime.timedelta(seconds=1),
                backwards=True,
            )
        )


def parse_cron(schedule: ScheduleConfig) -> Cron:
    """The schedule's slots; ConfigError for what the server would refuse, misread, or run at other times."""
    if schedule.cron is None:
        raise ConfigError(
            "schedule.cron: not set, so there is no schedule; write minute, hour, day, month, weekday, as in '30 2 * * 1'"
        )
    zone, server_zone = (
        _load_zone("time_zone", schedule.time_zone),
        _load_zone("server_time_zone", schedule.server_time_zone),
    )
    text = " ".join(schedule.cron.split())
    lists = _parse_fields(text)
    if zone.key == server_zone.key:
        return Cron(text, zone, _format_server_cron(lists), server_zone)
    moved = _convert_to_zone(lists, zone, server_zone)
    if moved is None:
        raise ConfigError(
            f"schedule.time_zone: {zone.key} cannot be turned exactly into {server_zone.key}, the zone that the server runs all its schedules in "
            f"(clocks change at other times, or the day would be another one); write the cron line in {server_zone.key}, or have "
            f"the server's CRON_SCHEDULE_TIMEZONE set to {zone.key} and say so in schedule.server_time_zone"
        )
    return Cron(text, zone, _format_server_cron(moved), server_zone)


def parse_server_cron(text: str, zone: str, server_zone: str) -> Cron | None:
    """The slots of what was sent to the server before, shown in `zone`; None for what is not kubert's own way to write cron."""
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
"""Numbers per field (minute, hour, day, month, weekday); None where all are meant."""


def _parse_fields(text: str) -> CronFields:
    fields = text.split(" ")
    if len(fields) != 5:
        raise ConfigError(
            f"schedule.cron: {text!r} has {len(fields)} fields; write five: minute, hour, day of month, month, day of week, as in '30 2 * * 1'"
        )
    if not all(FIELD_PATTERN.fullmatch(field) for field in fields):
        raise ConfigError(
            f"schedule.cron: {text!r}: only numbers, names such as MON or JAN, and * , - / can be used"
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
        raise ConfigError(f"schedule.cron: {text!r} never comes") from None
    except CronSimError as error:
        raise ConfigError(
            f"schedule.cron: {text!r}: {str(error).lower()}; as in '30 2 * * 1'"
        ) from None
    if any(number < 0 for numbers in found for number in numbers):
        raise ConfigError(
            f"schedule.cron: {text!r}: L and LW are not known to the server; write a day"
        )
    full = (60, 24, 31, 12, DAYS_PER_WEEK)
    lists = tuple(
        None if len(numbers) == size else frozenset(numbers)
        for numbers, size in zip(found, full, strict=True)
    )
    if lists[2] is not None and lists[4] is not None:
        raise ConfigError(
            f"schedule.cron: {text!r} names days of the month and of the week; which of both must match is read differently: use one"
        )
    return lists


def _format_server_cron(lists: CronFields) -> str:
    return " ".join(
        [
            "0",
            *("*" if numbers is None else ",".join(map(str, sorted(numbers))) for numbers in lists),
        ]
    )


def _convert_to_zone(lists: CronFields, zone: ZoneInfo, server_zone: ZoneInfo) -> CronFields | None:
    """The same slots as lists of the server's zone, compared slot by slot; None if there are no such lists."""
    start = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    shift = _utc_offset_minutes(start, server_zone) - _utc_offset_minutes(start, zone)
    minutes, hours, days, months, weekdays = lists
    if hours is None and shift % 60 == 0:
        candidate: CronFields = lists
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
    ours = _iterate_times(_format_server_cron(lists).removeprefix("0 "), start.astimezone(zone))
    theirs = _iterate_times(
        _format_server_cron(candidate).removeprefix("0 "), start.astimezone(server_zone)
    )
    same = all(a == b for a, b in itertools.islice(zip(ours, theirs, strict=False), COMPARED_TIMES))
    hourly = lists[1:] == (None,) * 4
    return (
        candidate
        if same and _is_offset_constant(zone, server_zone, start, modulo=60 if hourly else None)
        else None
    )


def _iterate_times(
    text: str, when: datetime.datetime, *, backwards: bool = False
) -> Iterator[datetime.datetime]:
    """Slots of five fields as the server sees them: a time that the clock skips is no slot, one that it shows twice is two."""
    return iter(CronSim(f"0 {text}", when, reverse=backwards))


def _is_offset_constant(
    one: ZoneInfo, other: ZoneInfo, start: datetime.datetime, modulo: int | None
) -> bool:
    """Whether the two zones' clocks (of a modulo: their minutes) stay equally far apart, on each day of the next years."""
    days = (start + datetime.timedelta(days=number) for number in range(366 * 3))
    apart = {_utc_offset_minutes(day, one) - _utc_offset_minutes(day, other) for day in days}
    return len({minutes % modulo for minutes in apart} if modulo else apart) == 1


def _utc_offset_minutes(when: datetime.datetime, zone: ZoneInfo) -> int:
    offset = when.astimezone(zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds()) // 60


def _load_zone(option: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"schedule.{option}: no time zone is called {name!r}; write one such as UTC or Europe/Berlin"
        ) from None
