"""Hands: takes what is reserved, asks the head for leave to start, acts, and reports how it ended."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import structlog

from autoheal.core.events import Event
from autoheal.core.gates import Silenced
from autoheal.core.moves.acting import MayStart, Outcome, Start
from autoheal.core.remediation import RESERVED
from autoheal.engine.crash import crash_point
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Action, ActionResult, Clock, NotStarted, StoreUnavailable

log = structlog.get_logger("runner")
T = TypeVar("T")

MAX_OUTPUT = 64 * 1024


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
    """A pool of as many threads as the policy lets act at once."""

    def __init__(
        self,
        head: HeadThread,
        actions: Mapping[str, Action],
        clock: Clock,
        silenced: Callable[[str], Silenced | None],
        mask: Callable[[str], str] = str,
    ) -> None:
        self._head = head
        self._actions = actions
        self._clock = clock
        self._silenced = silenced
        self._mask = mask
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
            self._resize(policy.limits.concurrent)
        self.sweep()

    def _resize(self, wanted: int) -> None:
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
            return self.running

    # ---- what is to be done ----------------------------------------------------------------------------------

    def listen(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        """After each commit: newly reserved work, the mode, the pool's size."""
        fresh = []
        for event in events:
            kind = event["kind"]
            if event.get("state") == RESERVED:
                fresh.append(event["remediation_id"])
            elif kind == "mode_changed":
                self.brake.set(event["enabled"] and not event["dry_run"])
            elif kind == "policy_loaded":
                self._resize(self._head.policy.limits.concurrent)
        if fresh:
            self._offer(fresh)

    def _offer(self, ids: Sequence[str]) -> None:
        with self._wake:
            for remediation_id in ids:
                if remediation_id not in self._claimed:
                    self._claimed.add(remediation_id)
                    self._queue.append(remediation_id)
            self._wake.notify(len(ids))

    def sweep(self) -> None:
        """Pick up what is reserved and not in hand, and outcomes that the store did not take."""
        with self._head.reading() as (state, _):
            ids = list(state.reserved)
            if self.brake.acts != state.mode.acts:  # a commit that was answered as failed may yet be on disk
                self.brake.set(state.mode.acts)
        self._offer(ids)
        with self._wake:
            late = list(self._undelivered)
            self._undelivered.clear()
        for outcome in late:
            self._deliver(outcome)

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
                if self._queue and self.running < self._head.policy.limits.concurrent:
                    self.running += 1
                    return self._queue.popleft()
                self._wake.wait()

    def _work(self) -> None:
        while (remediation_id := self._take()) is not None:
            try:
                self._one(remediation_id)
            except StoreUnavailable as error:
                log.warning("start_not_recorded", remediation_id=remediation_id, error=str(error))
            except Exception:
                log.exception("runner_failed", remediation_id=remediation_id)
            finally:
                self._let_go(remediation_id)

    def _let_go(self, remediation_id: str) -> None:
        with self._wake:
            self.running -= 1
            self._claimed.discard(remediation_id)
            self._wake.notify()

    def _one(self, remediation_id: str) -> None:
        with self._head.reading() as (state, _):
            remediation = state.remediations.get(remediation_id)
            fingerprint = remediation.fingerprint if remediation else ""
        silenced = self._silenced(fingerprint)
        start: Start | None = self._head.submit(MayStart(remediation_id, silenced)).result()
        if start is None:
            return
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
