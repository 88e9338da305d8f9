"""Maintenance windows as they are written: ``Sat 00:00-Mon 00:00 Europe/Berlin``."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo, available_timezones

from autoheal.config.mistakes import did_you_mean
from autoheal.core.errors import Invalid
from autoheal.core.policy import WEEK_MINUTES, Window

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHAPE = re.compile(r"([A-Za-z]+) +(\d{1,2}):(\d\d) *[-–] *([A-Za-z]+) +(\d{1,2}):(\d\d) +(\S+)", re.ASCII)


def parse_window(text: str) -> Window:
    """The weekly window that `text` describes; ``24:00`` is the end of a day. Invalid says what is wrong."""
    found = _SHAPE.fullmatch(text.strip())
    if found is None:
        raise Invalid(f"{text!r} is no window; write it as 'Sat 00:00-Mon 00:00 Europe/Berlin'")
    day, hour, minute, end_day, end_hour, end_minute, zone = found.groups()
    start = _minute(day, hour, minute) % WEEK_MINUTES
    end = _minute(end_day, end_hour, end_minute) % WEEK_MINUTES
    if start == end:
        raise Invalid(f"window {text!r} never ends: its start is its end")
    return Window(text.strip(), start, end, _zone(zone))


def _minute(day: str, hour: str, minute: str) -> int:
    name = day.lower()
    if name[:3] not in _DAYS or name not in (name[:3], _LONG.get(name[:3])):
        raise Invalid(f"{day!r} is no day of the week{did_you_mean(day, [short.title() for short in _DAYS])}")
    total = int(hour) * 60 + int(minute)
    if int(minute) > 59 or total > 1440:
        raise Invalid(f"{hour}:{minute} is no time of day (00:00 to 24:00)")
    return _DAYS.index(name[:3]) * 1440 + total


_LONG = {name[:3]: name for name in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")}


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        near = did_you_mean(name, available_timezones())
        raise Invalid(f"time zone {name!r} is not known{near}") from None
