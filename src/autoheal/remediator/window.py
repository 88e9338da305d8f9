"""A quantile over the last minutes, in bounded memory: one small histogram a minute."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable

_FACTOR = 1.2
_BOUNDS: tuple[float, ...] = tuple(0.2 * _FACTOR**power for power in range(-40, 31))
"""Seconds, from 0.14 ms to 47 s, a fifth apart: the error of a quantile is less than that. One of them is the target
that the writing of the trail is held against."""
_MINUTE = 60.0


class Durations:
    """Durations (seconds) of the last `minutes`; safe to share among threads."""

    def __init__(self, monotonic: Callable[[], float], minutes: int) -> None:
        self._monotonic = monotonic
        self._minutes: deque[tuple[int, list[int]]] = deque(maxlen=minutes)
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        minute = self._minute()
        with self._lock:
            if not self._minutes or self._minutes[-1][0] != minute:
                self._minutes.append((minute, [0] * (len(_BOUNDS) + 1)))
            self._minutes[-1][1][bisect_left(_BOUNDS, seconds)] += 1

    def quantile(self, share: float) -> float | None:
        """The duration that `share` (0..1) of them do not exceed, or None where there were none."""
        oldest = self._minute() - (self._minutes.maxlen or 0)
        with self._lock:
            recent = [counts for minute, counts in self._minutes if minute > oldest]
        totals: list[int] = [sum(column) for column in zip(*recent, strict=True)]
        wanted, below = share * sum(totals), 0
        for at, count in enumerate(totals):
            if count and below + count >= wanted:
                low = _BOUNDS[at - 1] if at else 0.0
                high = _BOUNDS[min(at, len(_BOUNDS) - 1)]
                return low + (high - low) * (wanted - below) / count
            below += count
        return None

    def _minute(self) -> int:
        return int(self._monotonic() // _MINUTE)
