"""A worker's engine: hands for what others have decided. Its starts are decided at the head, like everybody's."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import structlog

from autoheal.core.gates import Silenced
from autoheal.core.moves.service import Heartbeat, Stopped, WorkerStarted
from autoheal.engine.book import AlertBook
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Claims, Clock, StoreUnavailable, World
from autoheal.engine.presence import Attendance
from autoheal.engine.runner import Runner

log = structlog.get_logger("hands")

WORKER = "worker"
TICK = 0.5
TRY_AGAIN = 2.0


@dataclass(frozen=True, slots=True)
class HandsOptions:
    version: str
    queues: tuple[str, ...]
    stop_within: float = 5.0


class Hands:
    """`start` once, `do` from any number of threads, `stop` once."""

    def __init__(self, head: HeadThread, world: World, clock: Clock, claims: Claims, options: HandsOptions) -> None:
        self.head = head
        self.claims = claims
        self.options = options
        self.book = AlertBook(world.alertmanagers, clock)
        self.runner = Runner(
            head,
            world.actions,
            clock,
            self._silenced,
            world.mask,
            claims.instance,
            takes=False,
            queues=options.queues,
        )
        said = {"role": WORKER, "queues": list(options.queues), "version": options.version}
        self.attendance = Attendance(claims, clock, said, lambda: head.able)
        self._loop = asyncio.new_event_loop()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._loop.run_forever, name="hands-loop", daemon=True),
            threading.Thread(target=self._sweep, name="hands-sweep", daemon=True),
        ]

    @property
    def healthy(self) -> bool:
        """Whether the ledger can be written, as far as is known."""
        return self.head.healthy

    def start(self) -> None:
        """Be there and ready to act; StoreUnavailable where the ledger is not."""
        self.attendance.start()
        self.head.start()
        options = self.options
        self.head.submit(WorkerStarted(options.version, self.claims.instance, options.queues)).result()
        self.head.followers += [self.runner.follow, self.attendance.follow]
        self.runner.start()
        self.attendance.arrived(self.head.state.last_id)
        for thread in self._threads:
            thread.start()

    def do(self, remediation_id: str) -> None:
        """Play the next step of a reserved remediation, in the caller's thread; see `Runner.do`."""
        self.runner.do(remediation_id)

    def stop(self, grace: float) -> int:
        """Start nothing more, wait at most `grace` seconds for what runs; how many still run then."""
        left = self.runner.stop(grace)
        self._over.set()
        self._threads[1].join(self.options.stop_within)
        self.runner.sweep()
        try:
            said: Future[Any] = self.head.submit(Stopped("signal", left, self.claims.instance))
            said.result(self.options.stop_within)
        except (StoreUnavailable, TimeoutError) as error:
            log.warning("stop_not_recorded", error=str(error))
        self.head.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._threads[0].join(self.options.stop_within)
        self.attendance.stop()
        return left

    # ---- its threads -----------------------------------------------------------------------------------------

    def _silenced(self, fingerprint: str) -> Silenced | None:
        if not self.book.configured:
            return None
        future = asyncio.run_coroutine_threadsafe(self.book.silenced(fingerprint), self._loop)
        try:
            return future.result(timeout=15)
        except TimeoutError:
            return Silenced(asked=False)

    def _sweep(self) -> None:
        """Outcomes that the store did not take, starts whose answer was lost, a store that is back."""
        down = 0.0
        while not self._over.wait(TICK):
            try:
                self.runner.sweep()
                down = 0.0 if self.head.healthy else down + TICK
                if down >= TRY_AGAIN:
                    down = 0.0
                    self.head.submit(Heartbeat(self.claims.instance)).result(30)
            except (StoreUnavailable, TimeoutError) as error:
                log.debug("store_unavailable", error=str(error))
            except Exception:
                log.exception("sweep_failed")
