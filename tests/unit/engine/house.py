"""A whole engine for tests: real threads and a real loop around a ledger, a world and a clock that obey the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from autoheal.core.alert import Alert
from autoheal.core.events import GENESIS, Event, follows, seal, unseal
from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.policy import Policy
from autoheal.core.remediation import Remediation
from autoheal.core.turn import Move
from autoheal.engine import acks, engine, verifier
from autoheal.engine.engine import Engine, Options
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Fact, Head, Row, World
from autoheal.testing.clock import ManualClock
from autoheal.testing.fake_world import FakeAction, FakeAlertmanagers, FakeProbes
from autoheal.testing.memory_ledger import Disk, MemoryLedger
from tests.servers import wait_until
from tests.unit.core.make import T0, Play, policy

QUICK = 0.01
"""Seconds between two rounds of every timer; what the engine waits for by the clock, the test's clock decides."""


def hurry(patch: Any) -> None:
    """Real waits become short; all that is measured is measured on the manual clock."""
    patch.setattr(engine, "TICK", QUICK)
    patch.setattr(engine, "TRY_AGAIN", QUICK)
    patch.setattr(verifier, "LATER", QUICK)
    patch.setattr(acks, "EVERY", 0.0)


def events(ledger: MemoryLedger) -> list[Event]:
    """What is on disk; the chain must hold and the ids be dense."""
    previous, found = GENESIS, []
    for number, row in enumerate(list(ledger.disk.rows), 1):
        assert follows(row.line, previous), row.line
        parts = unseal(row.line)
        assert parts is not None
        previous = parts[1]
        found.append(orjson.loads(row.line))
        assert row.id == number == found[-1]["id"]
    return found


@dataclass
class House:
    policy: Policy = field(default_factory=policy)
    clock: ManualClock = field(default_factory=lambda: ManualClock(T0))
    disk: Disk = field(default_factory=Disk)
    action: FakeAction = field(default_factory=FakeAction)
    alertmanagers: FakeAlertmanagers | None = None
    mode: tuple[bool, bool] = (True, False)
    options: dict[str, Any] = field(default_factory=dict)
    step: float = 5.0

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger(self.disk)
        self.probes = FakeProbes(self.clock, self.step)
        self.head = HeadThread(self.ledger, self.clock, self.policy)
        world = World({"fake": self.action}, self.probes, self.alertmanagers)
        options = Options("test", *self.mode, heartbeat=3600.0, **{"drain": 10.0, **self.options})
        self.engine = Engine(self.head, world, self.clock, options)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[House]:
        await self.engine.start()
        try:
            yield self
        finally:
            self.action.release()
            self.ledger.mend()
            await self.engine.stop()

    def again(self, **changed: Any) -> House:
        """Another process on the same disk, with the same world."""
        values: dict[str, Any] = {
            "policy": self.policy,
            "clock": self.clock,
            "disk": self.disk,
            "alertmanagers": self.alertmanagers,
            "mode": self.mode,
            "options": self.options,
        }
        return House(**values | changed)

    @asynccontextmanager
    async def time_passing(self, seconds: float = 2.0) -> AsyncIterator[None]:
        """The clock goes on by itself, so many seconds with each turn of the loop."""

        async def pass_by() -> None:
            while True:
                self.clock.advance(seconds)
                await asyncio.sleep(QUICK)

        task = asyncio.create_task(pass_by())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # ---- shorter words ---------------------------------------------------------------------------------------

    async def play(self, move: Move) -> Any:
        return await self.head.play(move)

    async def hear(self, *alerts: Alert, origin: str = "") -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = await self.play(AlertsArrived(alerts, origin=origin))
        return answer

    @property
    def events(self) -> list[Event]:
        return events(self.ledger)

    def of_kind(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["kind"] == kind]

    def row(self, rid: str) -> Remediation:
        return Remediation.from_dict(orjson.loads(self.disk.remediations[rid].data))

    def state(self, rid: str) -> str:
        row = self.disk.remediations.get(rid)
        return row.state if row else ""

    async def until(self, predicate: Callable[[], Any], what: str = "") -> Any:
        """Poll with a deadline, while the loop goes on."""
        return await asyncio.to_thread(wait_until, predicate, 15.0, what)

    async def comes_to(self, rid: str, state: str) -> Remediation:
        await self.until(lambda: self.state(rid) == state, f"{rid} {state}")
        return self.row(rid)


def recorded(play: Play) -> Disk:
    """A disk that holds what `play` has played: what a process that was killed leaves."""
    disk, digest = Disk(), GENESIS
    for event in play.events:
        line, digest = seal(orjson.dumps(event), digest)
        about = (event.get("alertname"), event.get("rule"), event.get("remediation_id"))
        disk.rows.append(Row(event["id"], event["ts"], event["kind"], *about, line))
        disk.head = Head(event["id"], digest, event["ts"])
    disk.facts = {(space, key): Fact(space, key, data) for (space, key), data in play.facts.items()}
    disk.remediations = dict(play.rows)
    return disk
