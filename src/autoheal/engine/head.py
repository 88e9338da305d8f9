"""The head of the ledger: one thread takes the moves that wait, decides them in one transaction, then answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    News,
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

POLL: float = 0.1
"""Seconds between two looks at what other processes have written."""
POLL_DOWN: float = 1.0
"""The same while the ledger cannot be read."""
SMEAR = 0.5
"""Seconds by which two processes' readings of one clock may differ; only a longer way back is a clock's going back."""
NEWS = 1000
"""Lines that are read at a time where others wrote."""
DOCUMENT = ("document", "policy")
"""The fact from which other processes read the policy in force: `{"digest", "document"}`."""

Listener = Callable[[Sequence[Event], Sequence[str], float], None]
"""Called in the head's thread after a commit: the events, their lines, and how long the commit took in seconds (0 for
what another process committed)."""


@dataclass(slots=True)
class _Ticket:
    move: Move
    weight: int
    done: Callable[[Any, BaseException | None], None]


class _Poisoned(Exception):
    """A move failed half-way: the turn must be thrown away."""


class HeadThread:
    """The one writer of this process. `submit` from any thread, `play` from a coroutine; the state is read under
    `reading`.

    `listeners` hear of what this process commits, `followers` of every event on the ledger, whoever committed it, in
    order and without a gap from the start on. `news` reads what others wrote; `adopt` reads a policy's document.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        policy: Policy,
        copy: Copy | None = None,
        news: News | None = None,
        adopt: Callable[[str], Policy] | None = None,
    ) -> None:
        self.ledger = ledger
        self.clock = clock
        self.policy = policy
        self.copy = copy
        self.news = news
        self.adopt = adopt
        self.followers: list[Listener] = []
        self._told = 0
        self._polled = 0.0
        self._strange = ""
        self._unread = ""
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
        """Read the state from the ledger and begin; StoreUnavailable where it cannot be read, and it may be tried
        again. A second start changes nothing."""
        if self._thread.is_alive():
            return
        self._load()
        self._told = self.state.last_id
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
                if not self._waiting and not self._stopping:
                    self._lock.wait(POLL if self._polls else None)
                if self._stopping and not self._waiting:
                    return
                batch = self._take()
            if batch:
                self._handle(batch)
            if self._polls and time.monotonic() - self._polled >= (POLL if self.healthy else POLL_DOWN):
                self._poll()

    def _take(self, batch: Sequence[_Ticket] = ()) -> list[_Ticket]:
        """What waits and fits into one transaction, beside what is in it already."""
        more: list[_Ticket] = []
        weight = sum(ticket.weight for ticket in batch)
        while self._waiting and (not (batch or more) or weight + self._waiting[0].weight <= MAX_BATCH):
            ticket = self._waiting.popleft()
            weight += ticket.weight
            self._weight -= ticket.weight
            more.append(ticket)
        return more

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
                [(answer, refusal)] = self._commit([ticket], alone=True)
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
        if self.healthy:
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

    def _commit(self, batch: list[_Ticket], alone: bool = False) -> list[tuple[Any, AutohealError | None]]:
        self._ready()
        began = self.clock.monotonic()
        try:
            with self.ledger.transaction() as transaction:
                if self.ledger.shared and not alone:
                    with self._lock:  # what came while we waited for our turn goes along
                        batch += self._take(batch)
                with self._state_lock:
                    self._catch_up(transaction)
                    self._take_over_policy(transaction, batch)
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
        if self._strange:
            self.healthy, self.error = False, self._strange
        elif not self.healthy:
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
        if transaction.head.id != self.state.last_id:
            self._fold(transaction.missed(self.state.last_id))
        self.hash = transaction.head.hash

    def _fold(self, lines: Iterable[str]) -> None:
        """What others committed becomes part of the state; it is saved already."""
        for line in lines:
            fold(self.state, orjson.loads(line))
        self.state.touched.clear()
        self.state.ended.clear()

    def _take_over_policy(self, transaction: Transaction, batch: Sequence[_Ticket]) -> None:
        """Decide by the policy in force: the one that was loaded last, by whichever process. Where it cannot be had
        nothing is decided here; it is tried again with each move, for the document may come later."""
        wanted = self.state.policy.get("digest", "")
        if wanted == self.policy.digest or not wanted or self.adopt is None:
            self._strange = ""
            return
        document = transaction.fact(*DOCUMENT) or ""
        if not self._strange or document != self._unread:
            self._unread, before = document, self._strange
            self._strange = self._adopted(document, wanted)
            if self._strange and self._strange != before:
                log.error("policy_not_understood", digest=wanted, error=self._strange)
        if self._strange and any(getattr(ticket.move, "judges", True) for ticket in batch):
            raise StoreUnavailable(self._strange)

    def _adopted(self, document: str, wanted: str) -> str:
        """Take the policy over; why that cannot be, or nothing."""
        noted = orjson.loads(document or "{}")
        if self.adopt is None or noted.get("digest") != wanted:
            return f"the policy in force ({wanted[:12]}) is not on this ledger: start or reload a remediator"
        try:
            found = self.adopt(noted["document"])
        except AutohealError as error:
            return f"the policy in force ({wanted[:12]}) cannot be read here, run one version everywhere: {error}"
        if found.digest != wanted:
            return f"the policy in force ({wanted[:12]}) comes to another one here, run one version everywhere"
        self.policy = found
        log.info("policy_taken_over", digest=wanted, rules=len(found.rules))
        return ""

    @property
    def able(self) -> bool:
        """Whether this process can judge: it has the policy in force, as far as is known."""
        return not self._strange

    # ---- what others write -----------------------------------------------------------------------------------

    @property
    def _polls(self) -> bool:
        return self.news is not None and self.ledger.shared

    def _poll(self) -> None:
        """Look for what others wrote, fold it in and tell of it."""
        self._polled = time.monotonic()
        try:
            self._hear()
        except StoreUnavailable as error:
            if self.healthy:
                log.error("store_unavailable", error=str(error), moves=0)
            self.healthy, self.error = False, str(error)
        except Exception:
            log.exception("poll_failed")

    def _hear(self) -> None:
        assert self.news is not None
        while rows := self.news(self._told, NEWS):
            if not self._stale and rows[0][0] > self.state.last_id + 1:
                log.warning("behind_retention", last_id=self.state.last_id, first_id=rows[0][0])
                self._stale = True  # what lies between is gone: what it led to is read from the state
                self._ready()
            events = [orjson.loads(line) for _, line in rows]
            if not self._stale:
                with self._state_lock:
                    self._fold(line for number, line in rows if number > self.state.last_id)
            if any(event["kind"] == "policy_loaded" for event in events):
                with self.ledger.transaction() as transaction, self._state_lock:
                    self._catch_up(transaction)
                    self._take_over_policy(transaction, ())
            self._tell(events, [line for _, line in rows], 0.0)
            if len(rows) < NEWS:
                return

    def _tell(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        """Every follower hears of every event once, in order: what lies between is read first."""
        if events[0]["id"] > self._told + 1:
            self._tell_between(events[0]["id"])
        fresh = self._told + 1 - events[0]["id"]
        if fresh >= len(events):
            return
        if fresh > 0:
            events, lines = events[fresh:], lines[fresh:]
        self._told = events[-1]["id"]
        for follower in self.followers:
            try:
                follower(events, lines, took)
            except Exception:
                log.exception("follower_failed")

    def _tell_between(self, before: int) -> None:
        """What others wrote, or what of our own is on disk though its commit was answered as failed."""
        while self.news is not None and self._told + 1 < before:
            rows = [row for row in self.news(self._told, NEWS) if row[0] < before]
            if not rows:
                return
            self._tell([orjson.loads(line) for _, line in rows], [line for _, line in rows], 0.0)

    def _now(self) -> float:
        now, last = self.clock.now(), self.state.last_ts
        return last if last - SMEAR < now < last else now

    def _play(self, batch: list[_Ticket]) -> tuple[Turn, list[tuple[Any, AutohealError | None]]]:
        turn = Turn(self.state, self.policy, self._now())
        answers: list[tuple[Any, AutohealError | None]] = []
        for ticket in batch:
            before = len(turn.events)
            turn.now = self._now()
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
            if self.healthy:
                return [], None
            self.state.touch("mode", "mode")  # a transaction that writes nothing would not prove that writing works
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
        if self.ledger.shared and any(event["kind"] == "policy_loaded" for event in turn.events):
            noted = {"digest": turn.policy.digest, "document": turn.policy.document}
            facts.append(Fact(*DOCUMENT, orjson.dumps(noted).decode()))
        if facts or remediations:
            transaction.save(facts, remediations)
        return lines, head

    def _spread(self, events: Sequence[Event], lines: list[str], took: float) -> None:
        if self.copy is not None:
            self._copy(self.copy, events, lines)
        crash_point("after_copy")
        for listener in self.listeners:
            try:
                listener(events, lines, took)
            except Exception:
                log.exception("listener_failed")
        try:
            self._tell(events, lines, took)
        except StoreUnavailable as error:
            log.warning("followers_behind", error=str(error))  # the next event, or the next poll, catches up

    def _copy(self, copy: Copy, events: Sequence[Event], lines: Sequence[str]) -> None:
        try:
            copy.write(events[0]["id"], lines)
        except Exception:
            log.exception("copy_failed")


def restore(snapshot: Snapshot) -> State:
    """The state from what the ledger holds."""
    return State.load(
        snapshot.head.id,
        snapshot.head.ts,
        ((fact.space, fact.key, orjson.loads(fact.data)) for fact in snapshot.facts if fact.data and _ours(fact)),
        (orjson.loads(row.data) for row in snapshot.remediations),
    )


def _ours(fact: Fact) -> bool:
    """Whether it is the engine's; the ledger's own, such as its anchor, and documents are not state."""
    return fact.space not in ("ledger", DOCUMENT[0])


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
