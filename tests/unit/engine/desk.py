"""A head, a watch of our silences and an Alertmanager in memory."""

from __future__ import annotations

from typing import Any

from autoheal.core.events import Event
from autoheal.core.state import Ack
from autoheal.engine.acks import AckWatch
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Fact
from autoheal.testing.clock import ManualClock
from autoheal.testing.fake_world import FakeAlertmanagers
from autoheal.testing.memory_claims import MemoryClaims
from autoheal.testing.memory_ledger import Disk, MemoryLedger
from tests.unit.core.make import T0, alert, policy, rule, step
from tests.unit.engine.house import events

ABOUT = alert()
LABELS = {"alertname": "A"}


class Desk:
    """A head, a watch and an Alertmanager in which one alert fires."""

    def __init__(
        self, disk: Disk | None = None, cluster: FakeAlertmanagers | None = None, claims: MemoryClaims | None = None
    ) -> None:
        """With `claims` it is one of several processes on the same disk."""
        self.clock = cluster.clock if cluster else ManualClock(T0)
        self.cluster = cluster or FakeAlertmanagers(clock=self.clock)
        if cluster is None:
            self.cluster.fire(ABOUT.fingerprint, ABOUT.labels, ABOUT.starts_at)
        self.ledger = MemoryLedger(disk, shared=claims is not None)
        by = policy(rule("asks", steps=(step(),), approval_timeout=9999.0))
        self.head = HeadThread(self.ledger, self.clock, by, news=self.ledger.lines_after)
        self.head.start()
        self.watch = AckWatch(self.head, self.cluster, self.clock, claims, self._stored)
        self.head.listeners.append(self.watch.listen)

    def _stored(self, space: str) -> list[Fact]:
        return [fact for fact in self.ledger.disk.facts.values() if fact.space == space]

    async def acknowledge(self, duration: float = 1800.0) -> str:
        silence_id, ends_at = await self.watch.acknowledge(LABELS, duration, "30m", "ann", "mine")
        assert ends_at == self.clock.now() + duration
        return silence_id

    async def tick(self, seconds: float = 1.0) -> list[Event]:
        """What one look, `seconds` later, put on record."""
        self.clock.advance(seconds)
        before = len(self.events)
        await self.watch.tick()
        return self.events[before:]

    @property
    def events(self) -> list[Event]:
        return events(self.ledger)

    @property
    def acks(self) -> dict[str, Ack]:
        return dict(self.head.state.acks)

    def hides(self, silence_id: str) -> dict[str, Any]:
        """What was last seen behind it."""
        return self.head.state.behind[self.acks[silence_id].key].hides
