"""Moments as people write them: Unix seconds, RFC 3339, or how long ago."""

from __future__ import annotations

import re
from datetime import datetime

from autoheal.core.duration import parse_duration
from autoheal.core.errors import Invalid

_UNIX = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")


def moment(text: str, now: float, name: str) -> float:
    """Unix seconds of ``1700000000``, ``2026-01-31T12:00:00Z`` (local without a zone), ``now``, or ``30m`` (ago).

    Invalid names the option `name`.
    """
    given = text.strip()
    if given == "now":
        return now
    if _UNIX.fullmatch(given):
        return float(given)
    try:
        return now - parse_duration(given.removesuffix("ago").strip())
    except Invalid:
        pass
    try:
        if given[4:5] != "-":
            raise ValueError
        return datetime.fromisoformat(given).timestamp()
    except (ValueError, OverflowError, OSError):
        raise Invalid(f"{text!r} is no time; write 30m (ago), 2026-01-31T12:00:00Z, or Unix seconds", name) from None
