"""The one place that asks the machine for the time, and what makes of it the time that all processes share."""

from __future__ import annotations

import threading
import time
from collections import deque

from autoheal.engine.ports import Clock

SAMPLES = 8
"""Readings of the ledger's clock that are remembered; the one with the shortest round trip is believed."""


class SystemClock:
    """Wall clock and monotonic clock, both in seconds."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class LedgerClock:
    """The time of the database, kept between two readings by this machine's monotonic clock: what its wall clock
    says does not count, so that replicas on machines whose clocks differ agree on what is due.

    Each reading is taken at some moment of its round trip, so it is off by at most half of that; of the last few the
    one with the shortest round trip wins (F. Cristian, "Probabilistic clock synchronization", 1989).
    """

    def __init__(self, system: Clock) -> None:
        self._system = system
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self._offset: float | None = None
        self._lock = threading.Lock()

    def feed(self, told: float, asked: float, answered: float) -> None:
        """The ledger `told` its time (Unix seconds) to a question that went out and was answered at these readings
        of `monotonic`."""
        with self._lock:
            self._samples.append((answered - asked, told - (asked + answered) / 2))
            self._offset = min(self._samples)[1]

    def now(self) -> float:
        return self._system.now() if self._offset is None else self._system.monotonic() + self._offset

    def monotonic(self) -> float:
        return self._system.monotonic()
