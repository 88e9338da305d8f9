"""What Alertmanager has now, asked once for many: who is silenced, who still fires."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from autoheal.core.errors import AutohealError
from autoheal.core.gates import Silenced
from autoheal.engine.ports import Alertmanagers, Clock, Seen

log = structlog.get_logger("alertbook")

FRESH = 1.0
"""Seconds for which one answer serves everybody who asks."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer, by fingerprint. Not `complete`: Alertmanager started lately, and absence says nothing yet."""

    alerts: Mapping[str, Seen]
    complete: bool

    def firing(self, fingerprint: str) -> bool | None:
        """None: it is not there, and that may be because it was not sent again yet."""
        if fingerprint in self.alerts:
            return True
        return False if self.complete else None


class AlertBook:
    """A short-lived copy of Alertmanager's active alerts, by fingerprint."""

    def __init__(self, alertmanagers: Alertmanagers | None, clock: Clock) -> None:
        self.alertmanagers = alertmanagers
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked_at = float("-inf")
        self._page: Page | None = None

    @property
    def configured(self) -> bool:
        return self.alertmanagers is not None

    async def page(self, max_age: float = FRESH) -> Page | None:
        """Active alerts, silenced ones included; None where none is configured or none answers."""
        if self.alertmanagers is None:
            return None
        async with self._lock:
            if self._clock.monotonic() - self._asked_at <= max_age:
                return self._page
            try:
                active = await self.alertmanagers.alerts()
                self._page = Page({alert.fingerprint: alert for alert in active.alerts}, active.complete)
            except AutohealError as error:
                log.warning("alertmanager_out_of_reach", error=str(error))
                self._page = None
            self._asked_at = self._clock.monotonic()
            return self._page

    async def silenced(self, fingerprint: str) -> Silenced | None:
        """What the silenced gate needs; None where no Alertmanager is configured."""
        if not self.configured:
            return None
        page = await self.page()
        if page is None:
            return Silenced(asked=False)
        alert = page.alerts.get(fingerprint)
        if alert is None:
            return Silenced(asked=True)
        return Silenced(asked=True, by=alert.silenced_by, until=alert.silenced_until)
