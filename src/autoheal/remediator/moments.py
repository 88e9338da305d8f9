"""Times in a query: Unix seconds or RFC 3339."""

from __future__ import annotations

import re
from datetime import datetime

from autoheal.core.errors import Invalid

_SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")


def moment(text: str | None, field: str) -> float | None:
    """Unix seconds or RFC 3339 to Unix seconds; Invalid otherwise."""
    if text is None:
        return None
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        parsed = datetime.fromisoformat(text)
        if parsed.tzinfo is not None:
            return parsed.timestamp()
    except (ValueError, OverflowError):
        pass
    raise Invalid("must be Unix seconds, or a time such as 2026-11-21T03:06:04Z", field)
