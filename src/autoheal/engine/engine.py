"""The engine: head, runner, verifier, timers and outbox wired together; started and stopped as one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from autoheal.core.gates import Silenced
from autoheal.core.moves.intake import Recheck
from autoheal.core.moves.people import SetMode
from autoheal.core.moves.service import Heartbeat, PolicyLoaded, Started, Stopped, Wake, wants_wake
from autoheal.core.policy import DEFAULT_QUEUE
from autoheal.engine.acks import AckWatch
from autoheal.engine.book import AlertBook
from autoheal.engine.claims import LocalClaims
from autoheal.engine.dispatch import Dispatcher
from autoheal.engine.head import HeadThread
from autoheal.engine.mode import switched
from autoheal.engine.outbox import Outbox
from autoheal.engine.ports import Claims, Clock, Doorbell, Fact, StoreUnavailable, World
from autoheal.engine.presence import Attendance
from autoheal.engine.runner import Runner
from autoheal.engine.verifier import Verifier

log = structlog.get_logger("engine")

TICK = 0.5
DUE_LEASE: float = 10.0
"""Seconds for which a deferred alert that is due is one process's to decide again."""
WAKE_LEASE: float = 2.0
REMEDIATOR = "remediator"
TRY_AGAIN = 2.0
"""Seconds between two attempts to write while the store is down."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the environment says. Times are seconds."""

    version: str
    enabled: bool
    dry_run: bool
    public_url: str = "http://localhost:9009"
    stale_after: float = 14_700.0
    heartbeat: float = 60.0
    drain: float = 25.0
    imported: int = 0


@dataclass(frozen=True, slots=True)
class Beside:
    """What there is beside the ledger where several processes share it. `stored` reads one space of its facts;
    `bell`: workers act, and this rings for them; `in_process`: while the broker is gone the work is done here."""

    claims: Claims
    stored: Callable[[str], Sequence[Fact]] = lambda space: ()
    bell: Doorbell | None = None
    in_process: bool = False


class Engine:
    """Lives in one asyncio loop; the head and the runner have threads of their own."""

    def __init__(
        self, head: HeadThread, world: World, clock: Clock, options: Options, beside: Beside | None = None
    ) -> None:
        self.head = head
        self.clock = clock
        self.options = options
        beside = beside or Beside(LocalClaims("here", clock))
        self.claims = claims = beside.claims
        said = {"role": REMEDIATOR, "mode": [options.enabled, options.dry_run], "version": options.version}
        self.attendance = Attendance(claims, clock, said, lambda: head.able)
        self.book = AlertBook(world.alertmanagers, clock)
        takes = beside.bell is None
        queues = None if takes else (DEFAULT_QUEUE,)
        self.runner = Runner(head, world.actions, clock, self._silenced, world.mask, claims.instance, takes, queues)
        self.dispatcher: Dispatcher | None = None
        if beside.bell is not None:
            fallback = self.runner.offer if beside.in_process else None
            self.dispatcher = Dispatcher(head, beside.bell, claims, clock, fallback)
        self.verifier = Verifier(head, world.probes, self.book, clock, self.attendance)
        self.outbox = Outbox(head, world.alertmanagers, clock, options.public_url, claims)
        self.acks = AckWatch(head, world.alertmanagers, clock, claims, beside.stored, options.stale_after)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load, take up what a crash left (recovery), begin to act; StoreUnavailable where the ledger is not there."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self.attendance.start)
        policy = self.head.policy
        self.head.start()
        self.outbox.resume()
        await self.head.play(self._begun())
        await self.head.play(PolicyLoaded(policy, "start"))
        self.head.listeners += [self.runner.listen]
        self.head.followers += [self.runner.follow, self.attendance.follow, self.verifier.listen, self.acks.listen]
        if self.dispatcher is not None:
            self.head.listeners.append(self.dispatcher.listen)
            self.dispatcher.start()
        self.runner.start()
        self.attendance.arrived(self.head.state.last_id)
        await self.verifier.start()
        await self._beat()
        self._tasks = [
            asyncio.create_task(self._every(TICK, self._timers), name="timers"),
            asyncio.create_task(self._every(1.0, self.outbox.tick), name="outbox"),
            asyncio.create_task(self._every(1.0, self.acks.tick), name="acks"),
            asyncio.create_task(self._every(self.options.heartbeat, self._beat), name="heartbeat"),
            asyncio.create_task(self._every(TRY_AGAIN, self._revive), name="revive"),
        ]

    async def stop(self, reason: str = "signal") -> None:
        """Start nothing more, wait (bounded) for what runs, write the last event, close the head."""
        if self.dispatcher is not None:
            await asyncio.to_thread(self.dispatcher.stop)
        left = await asyncio.to_thread(self.runner.stop, self.options.drain)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.verifier.stop()
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            await asyncio.wait_for(self.head.play(Stopped(reason, left, self.claims.instance)), 5)
        await asyncio.to_thread(self.head.stop)
        await asyncio.to_thread(self.attendance.stop)

    def _begun(self) -> Started:
        options, others = self.options, self.attendance.others()
        modes = [tuple(p.data["mode"]) for p in others if p.data.get("role") == REMEDIATOR and "mode" in p.data]
        return Started(
            options.version,
            options.enabled,
            options.dry_run,
            self.claims.instance,
            options.imported,
            shared=not self.claims.alone,
            beside=tuple((bool(enabled), bool(dry_run)) for enabled, dry_run in modes),
            living=frozenset(p.instance for p in others),
        )

    async def switch(self, move: SetMode) -> dict[str, Any]:
        """Change the mode; answered when it has reached every living process, so that nothing starts any more under
        the old one. Who did not say so in time is named as `unconfirmed`: frozen, or cut off from the ledger, it may
        still begin, within seconds, what it was given leave for before."""
        return await switched(self.head, self.attendance, self.clock, move)

    # ---- what the runner's threads ask -----------------------------------------------------------------------

    def _silenced(self, fingerprint: str) -> Silenced | None:
        if not self.book.configured or self._loop is None:
            return None
        future = asyncio.run_coroutine_threadsafe(self.book.silenced(fingerprint), self._loop)
        try:
            return future.result(timeout=15)
        except TimeoutError:
            return Silenced(asked=False)

    # ---- what comes round ------------------------------------------------------------------------------------

    async def _every(self, seconds: float, work: object) -> None:
        assert callable(work)
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except StoreUnavailable:
                log.debug("store_unavailable", work=getattr(work, "__name__", ""))
            except Exception:
                log.exception("timer_failed", work=getattr(work, "__name__", ""))

    async def _timers(self) -> None:
        """What is due: holds, approvals, deferred alerts; and what fell between two hands."""
        now = self.clock.now()
        with self.head.reading() as (state, _):
            wake = wants_wake(state)
            due = state.due(now)
        if wake and await self._is_ours(["wake"], WAKE_LEASE):
            await self.head.play(Wake())
        if due:
            ours = await self._is_ours([f"due:{entry.fingerprint}" for entry in due], DUE_LEASE)
            due = [entry for entry in due if f"due:{entry.fingerprint}" in ours]
        if due:
            page = await self.book.page()
            for entry in due:
                asked = page is not None and entry.origin.startswith("http")
                firing = page.firing(entry.fingerprint) if asked and page is not None else None
                if asked and firing is None:
                    continue  # Alertmanager restarted lately: whether it fires is not known yet
                await self.head.play(Recheck(entry, firing, self.options.stale_after))
        await asyncio.to_thread(self.runner.sweep)
        if self.dispatcher is not None:
            await asyncio.to_thread(self.dispatcher.sweep)
        await self.verifier.sweep()

    async def _is_ours(self, keys: list[str], seconds: float) -> set[str]:
        """What of the work that each process sees to be due is this one's to do."""
        if self.claims.alone:
            return set(keys)
        return await asyncio.to_thread(self.claims.take, keys, seconds)

    async def _beat(self) -> None:
        await self.head.play(Heartbeat(self.claims.instance))

    async def _revive(self) -> None:
        """While the store is down, try; the first write that succeeds turns ready green again."""
        if not self.head.healthy:
            await self._beat()
