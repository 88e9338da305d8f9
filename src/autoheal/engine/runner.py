"""Hands: takes what is reserved, asks the head for leave to start, acts, and reports how it ended."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, TypeVar

import structlog

from autoheal.core.events import Event
from autoheal.core.gates import Silenced
from autoheal.core.moves.acting import BUSY, MayStart, Outcome, Start
from autoheal.core.remediation import RESERVED, Remediation
from autoheal.engine.crash import crash_point
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Action, ActionResult, Clock, NotStarted, StoreUnavailable

log = structlog.get_logger("runner")
T = TypeVar("T")

MAX_OUTPUT = 64 * 1024
LOOK_AGAIN = 0.2
"""Seconds after which a hand that waits for its turn looks again; what frees it is usually heard at once."""


_FREES = frozenset({"action_ok", "action_fail", "action_unknown", "cancelled", "verify_ok"})
"""Events after which one less may be acting."""


class Brake:
    """Between the last decision and the process: once the mode's change is answered, nothing more begins."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._acts = False

    def set(self, acts: bool) -> None:
        """Returns only when no start is on its way past the old setting."""
        with self._lock:
            self._acts = acts

    @property
    def acts(self) -> bool:
        return self._acts

    def begin(self, start: Callable[[], T], may: Callable[[], bool]) -> T:
        with self._lock:
            if not self._acts or not may():
                raise NotStarted
            return start()


class Runner:
    """The hands of one process: a pool of as many threads as the policy lets act at once, over all processes.

    `takes`: it takes what is reserved by itself; otherwise it waits to be offered work, or to be told to `do` it in
    the caller's thread. `queues`: only what waits in these is acted here, whoever asks for it; None: everything.
    """

    def __init__(
        self,
        head: HeadThread,
        actions: Mapping[str, Action],
        clock: Clock,
        silenced: Callable[[str], Silenced | None],
        mask: Callable[[str], str] = str,
        instance: str = "",
        takes: bool = True,
        queues: Collection[str] | None = None,
    ) -> None:
        self._head = head
        self._actions = actions
        self._clock = clock
        self._silenced = silenced
        self._mask = mask
        self._instance = instance
        self._takes = takes
        self._queues = None if queues is None else frozenset(queues)
        self._suspect: set[str] = set()
        self.brake = Brake()
        self._queue: deque[str] = deque()
        self._claimed: set[str] = set()
        self._acting: set[str] = set()
        self._undelivered: deque[Outcome] = deque()
        self._wake = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self.running = 0

    # ---- life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        with self._head.reading() as (state, policy):
            self.brake.set(state.mode.acts)
            wanted = policy.limits.concurrent if self._takes else 0
        self._resize(wanted)
        self.sweep()

    def _resize(self, wanted: int) -> None:
        """As many threads; one that is more than the policy lets act has nothing to take."""
        with self._wake:
            while len(self._threads) < wanted:
                thread = threading.Thread(target=self._work, name=f"runner-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._wake.notify_all()

    def stop(self, grace: float) -> int:
        """Start nothing more; wait at most `grace` seconds for what runs; how many still run then."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        deadline = self._clock.monotonic() + grace
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._clock.monotonic()))
        with self._wake:
            while self.running and (left := deadline - self._clock.monotonic()) > 0:
                if not self._wake.wait(left):  # those who `do` it in threads of their own
                    break
            return self.running

    # ---- what is to be done ----------------------------------------------------------------------------------

    def listen(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        """After each commit of this process: newly reserved work."""
        fresh = [event["remediation_id"] for event in events if event.get("state") == RESERVED]
        if fresh and self._takes:
            self.offer(fresh)

    def follow(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        """After every commit, whoever made it: the mode, the pool's size, a place that became free."""
        freed = False
        for event in events:
            kind = event["kind"]
            freed = freed or kind in _FREES
            if kind == "mode_changed":
                self.brake.set(event["enabled"] and not event["dry_run"])
            elif kind == "policy_loaded" and self._threads:
                self._resize(self._head.policy.limits.concurrent)
        if freed:
            with self._wake:
                self._wake.notify_all()

    def offer(self, ids: Sequence[str]) -> None:
        """Work for the pool; what is in hand already is passed over."""
        if not self._takes and not self._threads:
            self._resize(self._head.policy.limits.concurrent)
        with self._wake:
            for remediation_id in ids:
                if remediation_id not in self._claimed:
                    self._claimed.add(remediation_id)
                    self._queue.append(remediation_id)
            self._wake.notify(len(ids))

    def sweep(self) -> None:
        """Pick up what is reserved and not in hand, and outcomes that the store did not take."""
        with self._head.reading() as (state, _):
            ids = list(state.reserved) if self._takes else []
            ours = {r: state.remediations[r].token or "" for r in state.running if self._owns(state.remediations[r])}
            if self.brake.acts != state.mode.acts:  # a commit that was answered as failed may yet be on disk
                self.brake.set(state.mode.acts)
        if ids:
            self.offer(ids)
        with self._wake:
            late = list(self._undelivered)
            self._undelivered.clear()
            lost = {r: token for r, token in ours.items() if not self.holds(r)}
        for outcome in late:
            self._deliver(outcome)
        # Twice in a row, so that one that ended between the two looks above is not meant.
        for remediation_id, token in lost.items():
            if token in self._suspect:
                why = "leave to start was on record, its answer was lost: nothing was done"
                self._deliver(Outcome(remediation_id, token, "not_started", error=why))
        self._suspect = set(lost.values())

    def _owns(self, remediation: Remediation) -> bool:
        return bool(self._instance) and remediation.owner == self._instance

    def holds(self, remediation_id: str) -> bool:
        """Whether it is in our hands: offered to them, at work, or its outcome not yet on record."""
        with self._wake:
            return remediation_id in self._claimed or remediation_id in self._acting

    # ---- the threads -----------------------------------------------------------------------------------------

    def _take(self) -> str | None:
        with self._wake:
            while True:
                if self._stopping:
                    return None
                if self._queue and self._free():
                    self.running += 1
                    return self._queue.popleft()
                self._wake.wait(LOOK_AGAIN if self._queue else None)

    def _free(self) -> bool:
        """Whether it is worth asking the head for one more: there is a place here and over all processes, as far as
        is known, or nothing may act, and what waits is to be ended."""
        most = self._head.policy.limits.concurrent
        return self.running < most and (not self.brake.acts or self._head.state.busy(self._clock.now()) < most)

    def _work(self) -> None:
        while (remediation_id := self._take()) is not None:
            if self._try(remediation_id):
                with self._wake:
                    self._claimed.add(remediation_id)
                    self._queue.appendleft(remediation_id)

    def do(self, remediation_id: str) -> None:
        """Play the next step of what is reserved, in the caller's thread; returns when it is over, or was not ours to
        play. Waits while as many act as the policy lets."""
        with self._wake:
            if remediation_id in self._claimed:
                return
            self._claimed.add(remediation_id)
        busy = True
        while busy:
            with self._wake:
                while not self._stopping and not self._free() and self._reserved(remediation_id):
                    self._wake.wait(LOOK_AGAIN)
                if self._stopping or not self._reserved(remediation_id):
                    self._claimed.discard(remediation_id)
                    return
                self._claimed.add(remediation_id)
                self.running += 1
            busy = self._try(remediation_id)

    def _reserved(self, remediation_id: str) -> bool:
        """Whether it may still wait; one that the poll has not brought yet may."""
        known = self._head.state.remediations.get(remediation_id)
        return known is None or known.state == RESERVED

    def _try(self, remediation_id: str) -> bool:
        """Whether it must wait, for others act."""
        try:
            return self._one(remediation_id)
        except StoreUnavailable as error:
            log.warning("start_not_recorded", remediation_id=remediation_id, error=str(error))
        except Exception:
            log.exception("runner_failed", remediation_id=remediation_id)
        finally:
            self._let_go(remediation_id)
        return False

    def _let_go(self, remediation_id: str) -> None:
        with self._wake:
            self.running -= 1
            self._claimed.discard(remediation_id)
            self._wake.notify_all()

    def _one(self, remediation_id: str) -> bool:
        with self._head.reading() as (state, _):
            remediation = state.remediations.get(remediation_id)
            fingerprint = remediation.fingerprint if remediation else ""
        silenced = self._silenced(fingerprint)
        move = MayStart(remediation_id, silenced, self._instance, self._queues)
        start: Start | Literal["busy"] | None = self._head.submit(move).result()
        if start is None or start == BUSY:
            return start == BUSY
        with self._wake:
            self._acting.add(remediation_id)
        began = self._clock.monotonic()
        result = self._act(start)
        crash_point("before_outcome")
        with self._wake:
            self._claimed.discard(remediation_id)  # its next step may be reserved by the outcome
        self._deliver(
            Outcome(
                start.remediation_id,
                start.token,
                result.status,
                result.rc,
                self._mask(result.output[:MAX_OUTPUT]),
                self._mask(result.error),
                self._clock.monotonic() - began,
            )
        )
        return False

    def _act(self, grant: Start) -> ActionResult:
        action = self._actions.get(grant.kind)
        if action is None:
            return ActionResult("fail", error=f"this Autoheal has no hands for {grant.kind!r}")
        begun = threading.Event()

        def begin(start: Callable[[], T]) -> T:
            def started() -> T:
                begun.set()
                return start()

            crash_point("before_spawn")
            value = self.brake.begin(started, lambda: self._clock.now() < grant.start_before)
            crash_point("after_spawn")
            return value

        try:
            return action.run(grant.options, grant.timeout, begin)
        except NotStarted:
            return ActionResult("not_started", error="the brake was on, or the start came too late")
        except Exception as error:
            log.exception("action_failed", remediation_id=grant.remediation_id, kind=grant.kind)
            text = f"{type(error).__name__}: {error}"
            return ActionResult("unknown" if begun.is_set() else "fail", error=text)

    def _deliver(self, outcome: Outcome) -> None:
        """Report; if the store does not take it, keep it and try again with the next sweep."""

        def keep() -> None:
            with self._wake:
                self._undelivered.append(outcome)

        try:
            future = self._head.submit(outcome)
        except StoreUnavailable:
            keep()
            return

        def done(answered: object) -> None:
            if future.exception() is not None:
                keep()
                return
            with self._wake:
                self._acting.discard(outcome.remediation_id)

        future.add_done_callback(done)
