"""When a row of answers means something: down and up of a probed target, healed after an action."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Transition = Literal["down", "up"]
Verdict = Literal["failed", "inconclusive"]


@dataclass(slots=True)
class Hysteresis:
    """Two counters that reset each other: `down_after` bad answers in a row mean down, `up_after` good ones up."""

    down_after: int
    up_after: int
    down: bool = False
    _against: int = field(default=0, init=False)

    def feed(self, ok: bool) -> Transition | None:
        """Take one answer; the change that it completes, or None."""
        if ok != self.down:
            self._against = 0
            return None
        self._against += 1
        if self._against < (self.up_after if self.down else self.down_after):
            return None
        self.down, self._against = not self.down, 0
        return "down" if self.down else "up"

    @property
    def wavering(self) -> bool:
        """Whether the last answers spoke against the present state, too few of them yet."""
        return self._against > 0


@dataclass(slots=True)
class Streak:
    """Healed: `needed` good answers in a row from after `since`, the first and the last at least `over` seconds apart.

    Any bad answer ends the row. So does `none`: nobody saw what happened meanwhile. Times are seconds of one clock.
    """

    since: float
    needed: int = 3
    over: float = 10.0
    _good: int = field(default=0, init=False)
    _first: float = field(default=0.0, init=False)
    _last: str = field(default="none", init=False)

    def feed(self, answer: Literal["good", "bad", "none"], now: float) -> Literal["healed"] | None:
        """Take the answer that came at `now`; one from before the action's end counts for nothing."""
        if now < self.since:
            return None
        self._last = answer
        if answer != "good":
            self._good = 0
            return None
        if self._good == 0 or now < self._first:
            self._good, self._first = 0, now
        self._good += 1
        return "healed" if self._good >= self.needed and now - self._first >= self.over else None

    @property
    def running(self) -> bool:
        """Whether good answers are coming in; at the deadline such a row may still be completed."""
        return self._good > 0

    def verdict_at_deadline(self) -> Verdict:
        """`failed` only where the last answer was a plain bad one; all else does not prove a failure."""
        return "failed" if self._last == "bad" else "inconclusive"
