"""The engine: head, runner, verifier, timers and outbox wired together; started and stopped as one."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import structlog

from autoheal.core.gates import Silenced
from autoheal.core.moves.intake import Recheck
from autoheal.core.moves.service import Heartbeat, PolicyLoaded, Started, Stopped, Wake, wants_wake
from autoheal.core.remediation import RUNNING
from autoheal.engine.acks import AckWatch
from autoheal.engine.book import AlertBook
from autoheal.engine.head import HeadThread
from autoheal.engine.outbox import Outbox
from autoheal.engine.ports import Clock, StoreUnavailable, World
from autoheal.engine.runner import Runner
from autoheal.engine.verifier import Verifier

log = structlog.get_logger("engine")

TICK = 0.5
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
    instance: str = ""
    imported: int = 0


class Engine:
    """Lives in one asyncio loop; the head and the runner have threads of their own."""

    def __init__(self, head: HeadThread, world: World, clock: Clock, options: Options) -> None:
        self.head = head
        self.clock = clock
        self.options = options
        self.book = AlertBook(world.alertmanagers, clock)
        self.runner = Runner(head, world.actions, clock, self._silenced, world.mask)
        self.verifier = Verifier(head, world.probes, self.book, clock)
        self.outbox = Outbox(head, world.alertmanagers, clock, options.public_url)
        self.acks = AckWatch(head, world.alertmanagers, clock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load, take up what a crash left (recovery), begin to act; StoreUnavailable where the ledger is not there."""
        self._loop = asyncio.get_running_loop()
        self.head.start()
        with self.head.reading() as (state, _):
            interrupted = [r for r in state.remediations.values() if r.state == RUNNING]
        self.outbox.resume()
        options = self.options
        begun = Started(options.version, options.enabled, options.dry_run, options.instance, options.imported)
        await self.head.play(begun)
        await self.head.play(PolicyLoaded(self.head.policy, "start"))
        self.head.listeners += [self.runner.listen, self.verifier.listen, self.acks.listen]
        self.runner.start()
        self.verifier.start(interrupted)
        await self._beat()
        self._tasks = [
            asyncio.create_task(self._every(TICK, self._timers), name="timers"),
            asyncio.create_task(self._every(1.0, self.outbox.tick), name="outbox"),
            asyncio.create_task(self._every(1.0, self.acks.tick), name="acks"),
            asyncio.create_task(self._every(options.heartbeat, self._beat), name="heartbeat"),
            asyncio.create_task(self._every(TRY_AGAIN, self._revive), name="revive"),
        ]

    async def stop(self, reason: str = "signal") -> None:
        """Start nothing more, wait (bounded) for what runs, write the last event, close the head."""
        left = await asyncio.to_thread(self.runner.stop, self.options.drain)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.verifier.stop()
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            await asyncio.wait_for(self.head.play(Stopped(reason, left)), 5)
        await asyncio.to_thread(self.head.stop)

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
            wake = wants_wake(state, now)
            due = state.due(now)
        if wake:
            await self.head.play(Wake())
        if due:
            page = await self.book.page()
            for entry in due:
                asked = page is not None and entry.origin.startswith("http")
                firing = page.firing(entry.fingerprint) if asked and page is not None else None
                if asked and firing is None:
                    continue  # Alertmanager restarted lately: whether it fires is not known yet
                await self.head.play(Recheck(entry, firing, self.options.stale_after))
        await asyncio.to_thread(self.runner.sweep)
        self.verifier.sweep(self.runner.holds)

    async def _beat(self) -> None:
        await self.head.play(Heartbeat())

    async def _revive(self) -> None:
        """While the store is down, try; the first write that succeeds turns ready green again."""
        if not self.head.healthy:
            await self.head.play(Heartbeat())
