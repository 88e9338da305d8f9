"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading


class ManualClock:
    """`engine.ports.Clock` by hand. `advance` moves both clocks; `jump` sets only the wall clock, as NTP does."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._monotonic = 1000.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Time passes."""
        with self._lock:
            self._now += seconds
            self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock, forward or back; no time passes."""
        with self._lock:
            self._now += seconds
