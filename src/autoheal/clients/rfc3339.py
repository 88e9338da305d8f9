"""Times as Alertmanager writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from autoheal.core.errors import Temporary


def to_text(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC with milliseconds, as Alertmanager prints them."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_seconds(text: str) -> float:
    """Unix seconds of an RFC 3339 time; Temporary where it is none, since only a broken answer holds one."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError) as error:
        raise Temporary(f"answered with {text!r}, which is no time") from error
