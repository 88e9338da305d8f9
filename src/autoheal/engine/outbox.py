"""Escalations are told to every Alertmanager, and told again until they are settled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

import structlog

from autoheal.core.errors import AutohealError
from autoheal.core.state import Escalation
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Alertmanagers, Claims, Clock, OutgoingAlert

log = structlog.get_logger("outbox")

RESEND = 60.0
"""Seconds between two sendings of a standing escalation."""
LASTS = 300.0
"""Seconds until Alertmanager resolves one that is not sent again: longer than a restart of Autoheal."""
RETRY = 5.0
LEASE: float = 15.0
"""Seconds for which one process tells one Alertmanager, without having to say so again."""
MAX_SUMMARY = 1000


class Outbox:
    """Follows the state: what stands is sent by its key, what is settled is resolved once, on each Alertmanager."""

    def __init__(
        self,
        head: HeadThread,
        alertmanagers: Alertmanagers | None,
        clock: Clock,
        public_url: str,
        claims: Claims | None = None,
    ) -> None:
        self._head = head
        self._claims = claims
        self._ours: set[str] = set()
        self._alertmanagers = alertmanagers
        self._clock = clock
        self._public_url = public_url.rstrip("/")
        self._next: dict[tuple[str, str], float] = {}
        self._told: dict[tuple[str, str], Escalation] = {}

    def resume(self) -> None:
        """At the start: what stands has been told by the last process, so that its end is told, too."""
        if self._alertmanagers is not None and (self._claims is None or self._claims.alone):
            self._take_over(self._alertmanagers.urls)

    def _take_over(self, urls: Iterable[str]) -> None:
        with self._head.reading() as (state, _):
            standing = {key: replace(escalation) for key, escalation in state.escalations.items()}
        for url in urls:
            for key, escalation in standing.items():
                self._told[(url, key)] = escalation
                self._next[(url, key)] = 0.0

    async def tick(self) -> None:
        """Send what is due to each Alertmanager; one out of reach does not hold up the others."""
        if self._alertmanagers is None:
            return
        with self._head.reading() as (state, _):
            standing = {key: replace(escalation) for key, escalation in state.escalations.items()}
        for (url, key), told in self._told.items():
            if key not in standing and self._next[(url, key)] > self._clock.monotonic() + RETRY:
                self._next[(url, key)] = 0.0
            elif key in standing and standing[key].since != told.since:
                self._next[(url, key)] = 0.0
        if standing or self._told:
            urls = await self._claimed(self._alertmanagers.urls)
            await asyncio.gather(*(self._serve(url, standing) for url in urls))

    async def _claimed(self, urls: Sequence[str]) -> Sequence[str]:
        """Those Alertmanagers that it is for this process to tell; what it takes over, the one before has told."""
        if self._claims is None or self._claims.alone:
            return urls
        taken = await asyncio.to_thread(self._claims.take, [f"outbox:{url}" for url in urls], LEASE)
        ours = [url for url in urls if f"outbox:{url}" in taken]
        self._take_over(set(ours) - self._ours)
        self._ours = set(ours)
        return ours

    async def _serve(self, url: str, standing: dict[str, Escalation]) -> None:
        now, clock = self._clock.now(), self._clock.monotonic()
        told = {key: escalation for (at, key), escalation in self._told.items() if at == url}
        due = [e for key, e in (told | standing).items() if self._next.get((url, key), 0.0) <= clock]
        alerts = [self._alert(e, now + LASTS if e.key in standing else now) for e in due]
        if not alerts:
            return
        try:
            await self._post(url, alerts)
        except AutohealError as error:
            log.warning("escalation_not_sent", error=str(error), count=len(alerts))
            self._next.update({(url, e.key): clock + RETRY for e in due})
            return
        for escalation in due:
            self._told[(url, escalation.key)] = escalation
            self._next[(url, escalation.key)] = clock + RESEND
            if escalation.key not in standing:
                del self._told[(url, escalation.key)], self._next[(url, escalation.key)]

    async def _post(self, url: str, alerts: list[OutgoingAlert]) -> None:
        if self._alertmanagers is not None:
            await self._alertmanagers.post_alerts(url, alerts)

    def _alert(self, escalation: Escalation, ends_at: float) -> OutgoingAlert:
        labels = {
            "alertname": "AutohealEscalation",
            "severity": escalation.severity,
            "reason": escalation.reason,
            "escalation": escalation.key,
        }
        if escalation.rule:
            labels["rule"] = escalation.rule
        if escalation.alertname:
            labels["about"] = escalation.alertname
        if escalation.remediation_id:
            labels["remediation_id"] = escalation.remediation_id
        page = f"{self._public_url}/console"
        if escalation.remediation_id:
            page += f"?view=remediation&id={escalation.remediation_id}"
        notes = {"summary": escalation.summary[:MAX_SUMMARY], "autoheal_url": page}
        return OutgoingAlert(labels, notes, escalation.since, ends_at, page)
