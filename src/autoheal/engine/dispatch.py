"""Execution by workers: rings for what was reserved, finds the bells that nobody heard, tells when nobody is there.

A doorbell rung twice is harmless, for the start is decided at the head. One that was lost is found by the sweep, which
compares what is reserved with what waits at the broker. So the broker keeps nothing that must not be lost.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

import structlog

from autoheal.core import backoff
from autoheal.core.errors import AutohealError, Permanent
from autoheal.core.events import Event
from autoheal.core.moves.service import Served, Unserved
from autoheal.core.policy import DEFAULT_QUEUE
from autoheal.core.remediation import RESERVED
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Claims, Clock, Doorbell, Presence, StoreUnavailable

log = structlog.get_logger("dispatch")

SWEEP = 2.0
"""Seconds between two looks for bells that were lost."""
LOST = 5.0
"""Seconds after which a worker with a free hand would have answered."""
AGAIN = 10.0
"""Seconds between two rings for the same remediation, over all processes."""
LOOK = 5.0
"""Seconds for which the depths of the queues and the list of workers count as fresh."""
STUCK = 60.0
"""Seconds that something waits where nobody serves, until a person is told."""
MOST = 1000
"""Bells that one sweep rings again."""
MAX_PENDING = 20_000
"""Bells that wait to be rung; what is beyond the sweep will find."""
RETRY_FIRST, RETRY_MOST = 0.5, 10.0
"""Seconds between attempts to reach a broker that is gone."""


class Bell(NamedTuple):
    queue: str
    remediation_id: str


class Dispatcher:
    """Rings in a thread of its own, so that the head never waits for the network. Counters only grow.

    `fallback` acts here on what it is given; while the broker is gone it gets what waits in the default queue. What
    waits in another one waits on: its queue was named because it is acted elsewhere. What the broker refuses for one
    queue alone concerns that queue alone.
    """

    def __init__(
        self,
        head: HeadThread,
        bell: Doorbell,
        claims: Claims,
        clock: Clock,
        fallback: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        self._head = head
        self._bell = bell
        self._claims = claims
        self._clock = clock
        self._fallback = fallback
        self.healthy = True
        self.error = ""
        self.waiting = 0
        self.rung = 0
        self.failed = 0
        self.rung_again = 0
        self.depths: dict[str, int] = {}
        self.broken: dict[str, str] = {}
        """Queues that the broker does not take messages for though it is there, and what it says."""
        self.processes: list[Presence] = []
        self._pending: deque[Bell] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="dispatch", daemon=True)
        self._since: dict[str, float] = {}
        self._last_rung: dict[str, float] = {}
        self._unserved: dict[str, float] = {}
        self._swept = self._looked = float("-inf")
        self._attempts = 0
        self._retry_at = 0.0
        self._returned = False

    # ---- life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ring nothing more; what is left the sweep of another process will find."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(5)

    # ---- ringing ---------------------------------------------------------------------------------------------

    def listen(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        """In the head's thread, after a commit of ours: a bell for each that was reserved."""
        fresh = [event["remediation_id"] for event in events if event.get("state") == RESERVED]
        if not fresh:
            return
        with self._head.reading() as (state, _):
            known = [state.remediations[rid] for rid in fresh if rid in state.reserved]
        self._offer([Bell(remediation.queue or DEFAULT_QUEUE, remediation.id) for remediation in known])

    def _offer(self, bells: Sequence[Bell]) -> None:
        if not self.healthy:
            self._act_here(bells)
            return
        with self._wake:
            self._pending.extend(islice(bells, MAX_PENDING - len(self._pending)))
            self._wake.notify()

    def _act_here(self, bells: Sequence[Bell]) -> None:
        ids = [bell.remediation_id for bell in bells if bell.queue == DEFAULT_QUEUE]
        if self._fallback is not None and ids:
            self._fallback(ids)

    def _run(self) -> None:
        while (bell := self._take()) is not None:
            try:
                self._ring(bell)
            except Exception:
                log.exception("dispatch_failed", remediation_id=bell.remediation_id)

    def _take(self) -> Bell | None:
        with self._wake:
            while not self._pending and not self._stopping:
                self._wake.wait()
            return None if self._stopping else self._pending.popleft()

    def _ring(self, bell: Bell) -> None:
        try:
            if not self._ring_in_queue(bell):
                self._act_here([bell])
        except AutohealError as error:
            self.failed += 1
            self._gone(str(error))
            self._act_here([bell])

    def _ring_in_queue(self, bell: Bell) -> bool:
        """Whether it rang; where not, only its queue is broken, which is said once."""
        try:
            self._bell.ring(bell.queue, bell.remediation_id)
        except Permanent as error:
            self.failed += 1
            self._broken(bell.queue, str(error))
            return False
        self.rung += 1
        self._last_rung[bell.remediation_id] = self._clock.monotonic()
        return True

    def _broken(self, queue: str, error: str) -> None:
        if queue not in self.broken:
            log.error("queue_broken", queue=queue, error=error)
        self.broken[queue] = error

    # ---- the broker goes and comes ---------------------------------------------------------------------------

    def _gone(self, error: str) -> None:
        """Said once; what waited to be rung is on the ledger, and is rung when the broker is back."""
        with self._wake:
            dropped = list(self._pending)
            self._pending.clear()
            first, self.healthy, self.error = self.healthy, False, error
            self._attempts = 1 if first else self._attempts + 1
            random01 = random.random()  # noqa: S311 - it spreads attempts, it guards nothing
            pause = backoff.delay(self._attempts, RETRY_FIRST, RETRY_MOST, random01, "equal")
            self._retry_at = self._clock.monotonic() + pause
        if first:
            log.error("broker_gone", error=error, acts_here=self._fallback is not None)
        self._act_here(dropped)

    def _try(self, reserved: dict[str, list[Bell]]) -> None:
        """A broker that answers need not take messages: one of its bells must get through before it counts as back."""
        if self.healthy:
            return
        for bell in (bells[0] for bells in reserved.values()):
            if self._ring_in_queue(bell):
                break
        with self._wake:
            self.healthy, self.error, self._returned = True, "", True
        log.info("broker_back", waiting=self.waiting)

    # ---- the sweep -------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Call it often, from one thread that may wait for the network; it limits itself."""
        now = self._clock.monotonic()
        if now < (self._swept + SWEEP if self.healthy else self._retry_at):
            return
        self._swept = now
        reserved = self._reserved(now)
        try:
            self._look(reserved, now)
            self._try(reserved)
        except AutohealError as error:
            self.failed += 1
            self._gone(str(error))
            self._act_here([bell for bells in reserved.values() for bell in bells])
        else:
            self._ring_lost(reserved, now)
        self._tell(reserved, now)

    def _reserved(self, now: float) -> dict[str, list[Bell]]:
        """What waits, by queue, the oldest first."""
        with self._head.reading() as (state, _):
            found = [Bell(state.remediations[rid].queue or DEFAULT_QUEUE, rid) for rid in state.reserved]
        since = self._since
        self._since = {bell.remediation_id: since.get(bell.remediation_id, now) for bell in found}
        self._last_rung = {rid: at for rid, at in list(self._last_rung.items()) if rid in self._since}
        self.waiting = len(found)
        by_queue: dict[str, list[Bell]] = {}
        for bell in found:
            by_queue.setdefault(bell.queue, []).append(bell)
        return by_queue

    def _look(self, reserved: dict[str, list[Bell]], now: float) -> None:
        """The depths of the queues: always those that matter now, all that are known now and then."""
        fresh = now < self._looked + LOOK and self.healthy
        old = [queue for queue, bells in reserved.items() if any(self._is_late(bell, now) for bell in bells)]
        if fresh and not old:
            return
        if fresh:
            self.depths = {**self.depths, **self._count(old)}
            return
        try:
            self.processes = self._claims.processes()
        except StoreUnavailable:
            log.debug("workers_not_known")
        served = [queue for process in self.processes if process.alive for queue in queues_of(process)]
        self.depths = self._count(sorted({DEFAULT_QUEUE, *reserved, *served}))
        self._looked = now

    def _count(self, queues: Sequence[str]) -> dict[str, int]:
        """The depths; a queue that cannot be counted is broken, and one that can is not any more."""
        found = self._bell.depths(queues)
        for queue in queues:
            if queue not in found:
                self._broken(queue, "the broker holds something else in its place")
            elif self.broken.pop(queue, None) is not None:
                log.info("queue_mended", queue=queue)
        return found

    def _is_late(self, bell: Bell, now: float) -> bool:
        """Whether it should have been answered, and nobody has rung for it lately; after an outage all are."""
        if self._returned:
            return True
        rid = bell.remediation_id
        return now - self._since[rid] >= LOST and now - self._last_rung.get(rid, float("-inf")) >= AGAIN

    def _ring_lost(self, reserved: dict[str, list[Bell]], now: float) -> None:
        lost: list[Bell] = []
        for queue, bells in reserved.items():
            missing = len(bells) - self.depths.get(queue, 0)
            late = (bell for bell in bells if self._is_late(bell, now))
            lost += islice(late, max(0, missing))
        self._returned = False
        lost = lost[:MOST]
        if not lost:
            return
        try:
            ours = self._claims.take([f"ring:{bell.remediation_id}" for bell in lost], AGAIN)
        except StoreUnavailable:
            return
        again = [bell for bell in lost if f"ring:{bell.remediation_id}" in ours]
        for bell in lost:
            self._last_rung[bell.remediation_id] = now  # by us, or by the one who has the claim
        self.rung_again += len(again)
        if again:
            log.info("rung_again", count=len(again), queues=dict(Counter(bell.queue for bell in again)))
            self._offer(again)

    # ---- nobody is there -------------------------------------------------------------------------------------

    def _tell(self, reserved: dict[str, list[Bell]], now: float) -> None:
        """Once for each queue, however many processes see it: the escalation's key is on the ledger."""
        with self._head.reading() as (state, _):
            told = {key.removeprefix("queue:") for key in state.escalations if key.startswith("queue:")}
        served = Counter(queue for process in self.processes if process.alive for queue in queues_of(process))
        for queue in told | reserved.keys():
            why = self._why_stuck(queue, reserved.get(queue, []), served, now)
            if why and queue not in told:
                self._submit(Unserved(queue, len(reserved[queue]), why))
            elif why == "" and queue in told:
                self._submit(Served(queue))

    def _why_stuck(self, queue: str, bells: Sequence[Bell], served: Counter[str], now: float) -> str | None:
        """Why it gets no hands, empty where it does or nothing waits; None: not for long enough yet."""
        acts_here = queue == DEFAULT_QUEUE and self._fallback is not None
        rings = self.healthy and queue not in self.broken
        if not bells or (served[queue] if rings else acts_here):
            self._unserved.pop(queue, None)
            return ""
        if now - self._unserved.setdefault(queue, now) < STUCK:
            return None
        if not self.healthy:
            return "the broker cannot be reached"
        return self.broken.get(queue, "no worker serves it")

    def _submit(self, move: Unserved | Served) -> None:
        try:
            self._head.submit(move)
        except StoreUnavailable:
            log.debug("not_told", queue=move.queue)


def queues_of(process: Presence) -> tuple[str, ...]:
    """The queues that a process serves; none for one that is no worker, or that cannot decide."""
    if process.data.get("role") != "worker" or process.data.get("able") is False:
        return ()
    return tuple(str(queue) for queue in process.data.get("queues") or ())
