"""What Alertmanager has now, asked once for many: who is silenced, who still fires."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from autoheal.core.errors import AutohealError
from autoheal.core.gates import Silenced
from autoheal.engine.ports import Alertmanagers, Clock, Seen

log = structlog.get_logger("alertbook")

FRESH = 1.0
"""Seconds for which one answer serves everybody who asks."""


class AlertBook:
    """A short-lived copy of Alertmanager's active alerts, by fingerprint."""

    def __init__(self, alertmanagers: Alertmanagers | None, clock: Clock) -> None:
        self.alertmanagers = alertmanagers
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked_at = float("-inf")
        self._seen: Mapping[str, Seen] | None = None

    @property
    def configured(self) -> bool:
        return self.alertmanagers is not None

    async def seen(self, max_age: float = FRESH) -> Mapping[str, Seen] | None:
        """Active alerts, silenced ones included; None where none is configured or none answers."""
        if self.alertmanagers is None:
            return None
        async with self._lock:
            if self._clock.monotonic() - self._asked_at <= max_age:
                return self._seen
            try:
                self._seen = {alert.fingerprint: alert for alert in await self.alertmanagers.alerts()}
            except AutohealError as error:
                log.warning("alertmanager_out_of_reach", error=str(error))
                self._seen = None
            self._asked_at = self._clock.monotonic()
            return self._seen

    async def silenced(self, fingerprint: str) -> Silenced | None:
        """What the silenced gate needs; None where no Alertmanager is configured."""
        if not self.configured:
            return None
        seen = await self.seen()
        if seen is None:
            return Silenced(asked=False)
        alert = seen.get(fingerprint)
        if alert is None:
            return Silenced(asked=True)
        return Silenced(asked=True, by=alert.silenced_by, until=alert.silenced_until)
