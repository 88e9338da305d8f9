"""How often Slack may be called: one message a second for each channel, and a tier for each method."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

TIERS: Mapping[str, float] = {
    "auth.test": 600,
    "chat.delete": 50,
    "chat.getPermalink": 600,
    "chat.postEphemeral": 100,
    "chat.update": 50,
    "conversations.history": 50,
    "conversations.info": 50,
    "conversations.join": 50,
    "conversations.list": 20,
    "conversations.replies": 50,
    "users.info": 100,
    "views.open": 100,
    "views.update": 100,
}
"""Calls a minute for each app and workspace. Slack says "50+": a fifth of it may come as a burst on top."""

ON_ITS_WAY = 0.25
"""Seconds after a refusal in which others may still arrive that were sent before it was heard of."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that a well-behaved client does not do.

    kind: `rate` (faster than allowed), `impatient` (again before Retry-After was over, and not just on its way),
    `unfurl` (links would be unfurled), `reply_to_reply`, `no_fallback` (blocks without text), `kept_blocks` (an edit of
    the text alone).
    """

    kind: str
    method: str
    detail: str
    at: float


class Limits:
    """GCRA for each bucket. Who is turned away must stay away for Retry-After seconds. `speed` divides every time."""

    def __init__(
        self, now: Callable[[], float], posts_per_second: float, burst: int, tiers: Mapping[str, float], speed: float
    ) -> None:
        self._now = now
        self.posts_per_second = posts_per_second
        self.burst = burst
        self.per_minute = {**TIERS, **tiers}
        self.speed = speed
        self.violations: list[Violation] = []
        self._tat: dict[str, float] = {}
        self._blocked: dict[str, tuple[float, float]] = {}

    def refused(self, method: str, channel: str = "") -> float | None:
        """None where the call may go on; else the seconds of Retry-After."""
        if channel:
            return self._take(f"post:{channel}", self.posts_per_second, self.burst, method)
        per_minute = self.per_minute.get(method)
        if per_minute is None:
            return None
        return self._take(method, per_minute / 60, max(1, int(per_minute // 5)), method)

    def block(self, method: str, seconds: float, channel: str = "") -> float:
        """Turn everybody away for `seconds` of Slack's, without a reason; Retry-After in return."""
        now = self._now()
        self._blocked[f"post:{channel}" if channel else method] = (now, now + seconds / self.speed)
        return seconds / self.speed

    def note(self, kind: str, method: str, detail: str) -> None:
        self.violations.append(Violation(kind, method, detail, self._now()))

    def _take(self, bucket: str, per_second: float, burst: int, method: str) -> float | None:
        now = self._now()
        since, until = self._blocked.get(bucket, (0.0, 0.0))
        if now < until:
            if now > since + ON_ITS_WAY:
                self.note("impatient", method, f"{bucket}: {until - now:.3f}s too early")
            return self._whole(until - now)
        interval = 1 / (per_second * self.speed)
        tat = max(self._tat.get(bucket, 0.0), now)
        early = tat - (burst - 1) * interval - now
        if early <= 1e-9:
            self._tat[bucket] = tat + interval
            return None
        self.note("rate", method, f"{bucket}: {early:.3f}s too early")
        seconds = self._whole(early)
        self._blocked[bucket] = (now, now + seconds)
        return seconds

    def _whole(self, seconds: float) -> float:
        """Slack's seconds are whole; `speed` makes them shorter."""
        return max(1, math.ceil(seconds * self.speed - 1e-6)) / self.speed
