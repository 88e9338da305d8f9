"""A process on the ledger that neither decides nor acts: it follows, watches what our silences hide, and tells."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import structlog

from autoheal.core.moves.service import Heartbeat, Stopped, WorkerStarted
from autoheal.engine.acks import AckWatch
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Alertmanagers, Claims, Clock, Fact, StoreUnavailable
from autoheal.engine.presence import Attendance

log = structlog.get_logger("observer")

TRY_AGAIN = 2.0
"""Seconds between two attempts to write while the store is down."""


class Observer:
    """Lives in one asyncio loop; the head has a thread of its own. `role` is what it calls itself on the ledger."""

    def __init__(
        self,
        head: HeadThread,
        alertmanagers: Alertmanagers | None,
        clock: Clock,
        claims: Claims,
        stored: Callable[[str], Sequence[Fact]],
        role: str,
        version: str,
    ) -> None:
        self.head, self.clock, self.claims = head, clock, claims
        self._role, self._version = role, version
        self.attendance = Attendance(claims, clock, {"role": role, "version": version}, lambda: head.able)
        self.acks = AckWatch(head, alertmanagers, clock, claims, stored)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Be there; StoreUnavailable where the ledger is not, and it may be tried again."""
        await asyncio.to_thread(self.attendance.start)
        self.head.start()
        await self.head.play(WorkerStarted(self._version, self.claims.instance, role=self._role))
        self.head.followers += [self.attendance.follow, self.acks.listen]
        self.attendance.arrived(self.head.state.last_id)
        self._tasks = [
            asyncio.create_task(self._every(1.0, self.acks.tick), name="acks"),
            asyncio.create_task(self._every(TRY_AGAIN, self._revive), name="revive"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            await asyncio.wait_for(self.head.play(Stopped("signal", 0, self.claims.instance)), 5)
        await asyncio.to_thread(self.head.stop)
        await asyncio.to_thread(self.attendance.stop)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except StoreUnavailable:
                log.debug("store_unavailable")
            except Exception:
                log.exception("timer_failed")

    async def _revive(self) -> None:
        """While the store is down, try; the first write that succeeds says that it is back."""
        if not self.head.healthy:
            await self.head.play(Heartbeat(self.claims.instance))
