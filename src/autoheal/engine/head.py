"""The head of the ledger: one thread takes the moves that wait, decides them in one transaction, then answers."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from autoheal.core.errors import AutohealError
from autoheal.core.events import Event, seal
from autoheal.core.fold import fold
from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.policy import Policy
from autoheal.core.state import State
from autoheal.core.turn import Move, Turn
from autoheal.engine.crash import crash_point
from autoheal.engine.ports import (
    Clock,
    Copy,
    Fact,
    Head,
    Ledger,
    RemediationRow,
    Row,
    Snapshot,
    StoreUnavailable,
    Transaction,
)

log = structlog.get_logger("head")

MAX_WAITING = 200_000
"""Weight (alerts, other moves count one) that may wait; beyond it the sender is told to come again. Outcomes and
what people do have as much room again, so that a flood of alerts does not shut them out."""
MAX_BATCH = 2_000
"""Weight that one transaction takes, at most, unless a single move is heavier."""

Listener = Callable[[Sequence[Event], Sequence[str], float], None]
"""Called in the head's thread after a commit: the events, their lines, and how long the commit took in seconds."""


@dataclass(slots=True)
class _Ticket:
    move: Move
    weight: int
    done: Callable[[Any, BaseException | None], None]


class _Poisoned(Exception):
    """A move failed half-way: the turn must be thrown away."""


class HeadThread:
    """The one writer. `submit` from any thread, `play` from a coroutine; the state is read under `reading`."""

    def __init__(self, ledger: Ledger, clock: Clock, policy: Policy, copy: Copy | None = None) -> None:
        self.ledger = ledger
        self.clock = clock
        self.policy = policy
        self.copy = copy
        self.state = State()
        self.hash = ""
        self.healthy = False
        self.error = ""
        self._stale = True
        self.listeners: list[Listener] = []
        self._waiting: deque[_Ticket] = deque()
        self._weight = 0
        self._lock = threading.Condition()
        self._state_lock = threading.RLock()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="head", daemon=True)

    # ---- life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Read the state from the ledger and begin; StoreUnavailable where it cannot be read."""
        self._load()
        self.healthy = True
        self._thread.start()

    def stop(self) -> None:
        """Play what waits, then end; what comes later is refused."""
        with self._lock:
            self._stopping = True
            self._lock.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _load(self) -> None:
        snapshot = self.ledger.load()
        state = restore(snapshot)
        with self._state_lock:
            self.state = state
            self.hash = snapshot.head.hash
            self._stale = False

    @contextmanager
    def reading(self) -> Iterator[tuple[State, Policy]]:
        """The state and the policy, held still; be brief."""
        with self._state_lock:
            yield self.state, self.policy

    # ---- asking ----------------------------------------------------------------------------------------------

    def submit(self, move: Move, weight: int = 1) -> Future[Any]:
        """Hand in a move; the future gives its answer once it is on disk, or StoreUnavailable."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # it will be played: from here on nobody can cancel it

        def done(answer: Any, error: BaseException | None) -> None:
            if error is None:
                future.set_result(answer)
            else:
                future.set_exception(error)

        self._put(_Ticket(move, weight, done))
        return future

    async def play(self, move: Move, weight: int = 1) -> Any:
        """As `submit`, for a coroutine; a cancelled caller does not cancel the move."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(answer: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(answer)
            else:
                future.set_exception(error)

        def done(answer: Any, error: BaseException | None) -> None:
            try:
                loop.call_soon_threadsafe(settle, answer, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                log.debug("answer_without_listener", move=type(move).__name__)

        self._put(_Ticket(move, weight, done))
        return await future

    def _put(self, ticket: _Ticket) -> None:
        with self._lock:
            if self._stopping:
                raise StoreUnavailable("autoheal is stopping")
            urgent = getattr(ticket.move, "urgent", False)
            room = MAX_WAITING if isinstance(ticket.move, AlertsArrived) else 2 * MAX_WAITING
            if self._weight >= room and not urgent:
                raise StoreUnavailable("too much is waiting to be decided")
            if urgent:
                self._waiting.appendleft(ticket)
            else:
                self._waiting.append(ticket)
            self._weight += ticket.weight
            if len(self._waiting) == 1:
                self._lock.notify()

    @property
    def waiting(self) -> int:
        """Weight that waits now."""
        return self._weight

    # ---- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._waiting and not self._stopping:
                    self._lock.wait()
                if not self._waiting:
                    return
                batch = self._take()
            self._handle(batch)

    def _take(self) -> list[_Ticket]:
        batch: list[_Ticket] = []
        weight = 0
        while self._waiting and (not batch or weight + self._waiting[0].weight <= MAX_BATCH):
            ticket = self._waiting.popleft()
            weight += ticket.weight
            batch.append(ticket)
        self._weight -= weight
        return batch

    def _handle(self, batch: list[_Ticket]) -> None:
        try:
            answers = self._commit(batch)
        except _Poisoned:
            self._one_by_one(batch)
            return
        except Exception as error:
            self._failed(batch, error)
            return
        for ticket, (answer, refusal) in zip(batch, answers, strict=True):
            ticket.done(answer, refusal)

    def _one_by_one(self, batch: list[_Ticket]) -> None:
        """One of them is broken: each gets a turn of its own, and only the guilty one an error."""
        for ticket in batch:
            try:
                self._ready()
                [(answer, refusal)] = self._commit([ticket])
            except _Poisoned as error:
                log.error("move_failed", move=type(ticket.move).__name__, exc_info=error.__cause__)
                self._forget()
                ticket.done(None, error.__cause__)
            except Exception as error:
                self._failed([ticket], error)
            else:
                ticket.done(answer, refusal)

    def _failed(self, batch: list[_Ticket], error: Exception) -> None:
        self._forget()
        if self.healthy or self.error != str(error):
            log.error("store_unavailable", error=str(error), moves=len(batch))
        self.healthy, self.error = False, str(error)
        for ticket in batch:
            ticket.done(None, StoreUnavailable(str(error)))

    def _forget(self) -> None:
        """What was decided and not written must not be seen: read anew at once, where that can be done."""
        with suppress(StoreUnavailable):
            self._ready()

    def _ready(self) -> None:
        """After a failure the memory may be ahead of the disk: read it anew before anything is decided."""
        if not self._stale:
            return
        try:
            self.ledger.reopen()
            self._load()
        except StoreUnavailable:
            raise
        except Exception as error:
            raise StoreUnavailable(f"the ledger cannot be read: {error}") from error

    def _commit(self, batch: list[_Ticket]) -> list[tuple[Any, AutohealError | None]]:
        self._ready()
        began = self.clock.monotonic()
        try:
            with self.ledger.transaction() as transaction:
                with self._state_lock:
                    self._catch_up(transaction)
                    turn, answers = self._play(batch)
                try:
                    lines, head = self._write(transaction, turn)
                except TypeError as error:  # something in an event is no JSON
                    raise _Poisoned from error
                crash_point("before_commit")
        except BaseException:
            self._stale = True
            raise
        crash_point("after_commit")
        if not self.healthy:
            log.info("store_is_back", last_id=self.state.last_id)
            self.healthy, self.error = True, ""
        if head is not None:
            self.hash = head.hash
        self.policy = turn.policy
        if lines:
            self._spread(turn.events, lines, self.clock.monotonic() - began)
        return answers

    def _catch_up(self, transaction: Transaction) -> None:
        """Fold in what other writers added since."""
        if transaction.head.id == self.state.last_id:
            return
        for line in transaction.missed(self.state.last_id):
            fold(self.state, orjson.loads(line))
        self.state.touched.clear()
        self.state.ended.clear()
        self.hash = transaction.head.hash

    def _play(self, batch: list[_Ticket]) -> tuple[Turn, list[tuple[Any, AutohealError | None]]]:
        turn = Turn(self.state, self.policy, self.clock.now())
        answers: list[tuple[Any, AutohealError | None]] = []
        for ticket in batch:
            before = len(turn.events)
            turn.now = self.clock.now()
            try:
                answers.append((ticket.move.play(turn), None))
            except AutohealError as error:
                if len(turn.events) != before:
                    raise _Poisoned from error
                answers.append((None, error))
            except Exception as error:
                raise _Poisoned from error
        return turn, answers

    def _write(self, transaction: Transaction, turn: Turn) -> tuple[list[str], Head | None]:
        if not turn.events and not self.state.touched:
            return [], None
        digest, rows, lines = self.hash, [], []
        for event in turn.events:
            line, digest = seal(orjson.dumps(event), digest)
            lines.append(line)
            rows.append(
                Row(
                    event["id"],
                    event["ts"],
                    event["kind"],
                    event.get("alertname"),
                    event.get("rule"),
                    event.get("remediation_id"),
                    line,
                )
            )
        head = Head(self.state.last_id, digest, self.state.last_ts)
        transaction.append(rows, head)
        facts, remediations = changes(self.state)
        if facts or remediations:
            transaction.save(facts, remediations)
        return lines, head

    def _spread(self, events: Sequence[Event], lines: list[str], took: float) -> None:
        if self.copy is not None:
            try:
                self.copy.write(events[0]["id"], lines)
            except Exception:
                log.exception("copy_failed")
        crash_point("after_copy")
        for listener in self.listeners:
            try:
                listener(events, lines, took)
            except Exception:
                log.exception("listener_failed")


def restore(snapshot: Snapshot) -> State:
    """The state from what the ledger holds."""
    return State.load(
        snapshot.head.id,
        snapshot.head.ts,
        ((fact.space, fact.key, orjson.loads(fact.data)) for fact in snapshot.facts if fact.data is not None),
        (orjson.loads(row.data) for row in snapshot.remediations),
    )


def changes(state: State) -> tuple[list[Fact], list[RemediationRow]]:
    """What the commit must save besides the events; clears the marks."""
    facts: list[Fact] = []
    rows: list[RemediationRow] = []
    for space, key in state.touched:
        if space != "remediation":
            data, due = state.fact(space, key)
            facts.append(Fact(space, key, None if data is None else orjson.dumps(data).decode(), due))
            continue
        remediation = state.remediations.get(key) or state.ended.get(key)
        if remediation is not None:
            rows.append(
                RemediationRow(
                    remediation.id,
                    remediation.state,
                    remediation.rule,
                    remediation.alertname,
                    remediation.created_at,
                    remediation.ended_at,
                    orjson.dumps(remediation).decode(),
                )
            )
    state.touched.clear()
    state.ended.clear()
    return facts, rows
