"""The one place that asks the machine for the time."""

from __future__ import annotations

import time


class SystemClock:
    """Wall clock and monotonic clock, both in seconds."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()
