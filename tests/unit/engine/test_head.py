"""The one writer: batches, order, what a failure of the store or of a move does, and to whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from autoheal.core.errors import Conflict, Invalid, NotFound
from autoheal.core.events import GENESIS
from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.moves.people import Approve, SetMode
from autoheal.core.moves.service import Heartbeat, PolicyLoaded
from autoheal.core.policy import Policy, Rule
from autoheal.core.turn import Turn
from autoheal.engine import head as head_module
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import StoreUnavailable
from autoheal.testing.clock import ManualClock
from autoheal.testing.memory_ledger import Disk, MemoryLedger
from tests.servers import wait_until
from tests.unit.core.make import T0, alert, plain, policy, rule
from tests.unit.engine.house import events


@dataclass
class Do:
    """A move that does what the test says."""

    what: Callable[[Turn], Any]

    def play(self, turn: Turn) -> Any:
        return self.what(turn)


def beat(answer: Any = None) -> Do:
    return Do(lambda turn: (turn.emit("heartbeat", {"answer": answer}), answer)[1])


@dataclass
class Jam:
    """Keeps the head busy until it is let go, so that what comes meanwhile waits together."""

    busy: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def play(self, turn: Turn) -> None:
        self.busy.set()
        assert self.go.wait(15)


@contextmanager
def headed(ledger: MemoryLedger | None = None, **values: Any) -> Iterator[HeadThread]:
    head = HeadThread(ledger or MemoryLedger(), ManualClock(T0), values.pop("policy", policy()), **values)
    head.start()
    try:
        yield head
    finally:
        head.stop()


@contextmanager
def started(head: HeadThread) -> Iterator[HeadThread]:
    head.start()
    try:
        yield head
    finally:
        head.stop()


@contextmanager
def jammed(head: HeadThread) -> Iterator[None]:
    jam = Jam()
    done = head.submit(jam)
    assert jam.busy.wait(15)
    yield
    jam.go.set()
    done.result(15)


def answers(futures: Sequence[Future[Any]]) -> list[Any]:
    """Each answer, or the type of its error."""
    errors = [future.exception(15) for future in futures]
    return [type(e) if e else f.result() for e, f in zip(errors, futures, strict=True)]


def test_what_waits_together_is_written_together_and_answered_in_order() -> None:
    ledger = MemoryLedger()
    told: list[Any] = []
    with headed(ledger) as head:
        head.listeners.append(lambda happened, lines, took: told.append([e["answer"] for e in happened]))
        order: list[int] = []
        with jammed(head):
            futures = [head.submit(beat(n)) for n in range(50)]
            for n, future in enumerate(futures):
                future.add_done_callback(lambda _, n=n: order.append(n))  # type: ignore[misc]
        assert answers(futures) == list(range(50))
        assert told == [list(range(50))] and order == list(range(50))
    assert [e["answer"] for e in events(ledger)] == list(range(50))
    assert ledger.commits == 2, "the one that jammed, and all the others"


def test_a_batch_has_a_limit_unless_one_move_is_heavier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "MAX_BATCH", 10)
    ledger = MemoryLedger()
    with headed(ledger) as head:
        with jammed(head):
            futures = [head.submit(beat(n), weight=w) for n, w in enumerate((4, 6, 1, 25, 3))]
            assert head.waiting == 39
        assert answers(futures) == [0, 1, 2, 3, 4] and head.waiting == 0
    assert ledger.commits == 1 + 4


def test_nothing_is_told_before_it_is_on_disk() -> None:
    ledger = MemoryLedger()
    with headed(ledger) as head:
        seen: list[int] = []
        head.listeners.append(lambda happened, lines, took: seen.append(len(ledger.disk.rows)))
        head.submit(Heartbeat()).add_done_callback(lambda _: seen.append(-len(ledger.disk.rows)))
        head.submit(Heartbeat()).result(15)
        assert seen[0] >= 1 and seen[1] <= -1


def test_a_move_without_events_writes_nothing() -> None:
    ledger = MemoryLedger()
    with headed(ledger) as head:
        assert head.submit(Do(lambda turn: 7)).result(15) == 7
    assert ledger.disk.rows == [] and ledger.disk.head.hash == GENESIS


def test_a_policy_rules_from_the_next_move_on_within_one_batch() -> None:
    with headed() as head:
        with jammed(head):
            before = head.submit(AlertsArrived([alert("B")]))
            head.submit(PolicyLoaded(policy(rule("b", "B"))))
            after = head.submit(AlertsArrived([alert("B")]))
        assert before.result(15)[0]["reason"] == "not_allowlisted"
        assert after.result(15)[0]["result"] == "dry_run"
        with head.reading() as (_, by):
            assert by.rules[0].name == "b"


# ---- the store fails ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["begin", "append", "commit"])
@pytest.mark.parametrize("error", [None, OSError("disk full")])
def test_when_the_store_fails_all_are_told_and_nothing_is_to_be_seen(place: Any, error: Exception | None) -> None:
    ledger = MemoryLedger()
    with headed(ledger) as head:
        told: list[Any] = []
        head.submit(SetMode(True, False, "ann")).result(15)
        head.listeners.append(lambda happened, lines, took: told.extend(happened))
        with head.reading() as (state, _):
            before = plain(state)
        with jammed(head):
            ledger.fail(place, error=error, skip=place == "commit")  # the one that jams still gets through
            futures = [head.submit(AlertsArrived([alert()])), head.submit(PolicyLoaded(policy(digest="p2")))]
        assert answers(futures) == [StoreUnavailable, StoreUnavailable]
        assert not head.healthy and head.error
        with head.reading() as (state, by):
            assert plain(state) == before and by.digest == "p1", "read anew at once"
        assert told == []
        assert head.submit(AlertsArrived([alert()])).result(15)[0]["result"] == "accepted"
        assert head.healthy and head.error == ""
    assert [e["kind"] for e in events(ledger)] == ["mode_changed", "webhook_received", "decision_act"]


def test_the_jam_itself_is_not_what_failed() -> None:
    """A transaction that is under way when the store breaks is told of it as well."""
    ledger = MemoryLedger()
    with headed(ledger) as head:
        jam = Jam()
        done = head.submit(jam)
        assert jam.busy.wait(15)
        ledger.fail("commit")
        jam.go.set()
        assert answers([done]) == [StoreUnavailable]


def test_only_a_write_turns_it_ready_again() -> None:
    ledger = MemoryLedger()
    with headed(ledger) as head:
        ledger.fail("commit")
        assert answers([head.submit(Heartbeat())]) == [StoreUnavailable]
        ledger.fail("save")
        assert answers([head.submit(Do(lambda turn: None))]) == [StoreUnavailable]
        assert not head.healthy, "a move that has nothing to say does not make it so"
        assert answers([head.submit(Do(lambda turn: None))]) == [None]
        assert head.healthy and ("mode", "mode") in ledger.disk.facts


@pytest.mark.parametrize("place", ["load", "reopen"])
def test_while_the_store_cannot_even_be_read_nothing_is_decided(place: Any) -> None:
    ledger = MemoryLedger()
    with headed(ledger) as head:
        ledger.fail("commit")
        assert answers([head.submit(Heartbeat())]) == [StoreUnavailable]
        ledger.fail("commit")
        ledger.fail(place, times=None, error=OSError("input/output error"))
        for _ in range(3):
            assert answers([head.submit(Heartbeat())]) == [StoreUnavailable]
        assert not head.healthy
        ledger.mend()
        assert answers([head.submit(Heartbeat())]) == [None]
        assert head.healthy
    assert len(events(ledger)) == 1


def test_a_commit_whose_answer_is_lost_is_read_back() -> None:
    ledger = MemoryLedger()
    with headed(ledger) as head:
        ledger.fail("after_commit")
        assert answers([head.submit(SetMode(True, False, "ann"))]) == [StoreUnavailable]
        with head.reading() as (state, _):
            assert state.mode.acts, "it is on disk, and so it is"
        head.submit(Heartbeat()).result(15)
    assert [e["kind"] for e in events(ledger)] == ["mode_changed", "heartbeat"]


def test_it_does_not_begin_without_its_ledger() -> None:
    ledger = MemoryLedger()
    ledger.fail("load")
    head = HeadThread(ledger, ManualClock(), policy())
    with pytest.raises(StoreUnavailable):
        head.start()
    head.stop()


# ---- a move fails ---------------------------------------------------------------------------------------------------


def emit_and_raise(error: Exception) -> Do:
    def play(turn: Turn) -> None:
        turn.emit("mode_changed", {"enabled": True, "dry_run": False, "source": "broken"})
        raise error

    return Do(play)


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyError("x"), Conflict("half-way")])
def test_a_move_that_breaks_harms_only_itself(error: Exception) -> None:
    ledger = MemoryLedger()
    with headed(ledger) as head:
        with jammed(head):
            futures = [head.submit(m) for m in (beat(1), emit_and_raise(error), beat(2), emit_and_raise(error))]
        assert answers(futures) == [1, type(error), 2, type(error)]
        with head.reading() as (state, _):
            assert not state.mode.enabled, "what it did half-way is forgotten"
        assert head.healthy
    assert [e["answer"] for e in events(ledger)] == [1, 2]


def test_an_event_that_is_no_json_harms_only_its_move() -> None:
    ledger = MemoryLedger()
    with headed(ledger) as head:
        with jammed(head):
            bad = Do(lambda turn: turn.emit("heartbeat", {"answer": object()}))
            futures = [head.submit(m) for m in (beat(1), bad, beat(2))]
        first, middle, last = answers(futures)
        assert (first, last) == (1, 2) and issubclass(middle, TypeError) and head.healthy
    assert [e["answer"] for e in events(ledger)] == [1, 2]


def test_a_refusal_is_an_answer_and_costs_the_others_nothing() -> None:
    ledger = MemoryLedger()
    with headed(ledger) as head:
        loads = ledger.loads
        with jammed(head):
            futures = [head.submit(m) for m in (beat(1), Approve("r9", "ann"), beat(2))]
        assert answers(futures) == [1, NotFound, 2]
        assert ledger.loads == loads


def test_when_the_store_fails_while_the_guilty_one_is_searched_each_hears_its_own() -> None:
    ledger = MemoryLedger()
    with headed(ledger) as head:

        def breaks(turn: Turn) -> None:
            ledger.fail("commit")
            raise RuntimeError("boom")

        with jammed(head):
            futures = [head.submit(m) for m in (beat(1), Do(breaks), beat(2))]
        assert answers(futures) == [StoreUnavailable, RuntimeError, StoreUnavailable]
        ledger.mend()
        assert answers([head.submit(beat(3))]) == [3]


def test_listeners_and_the_copy_may_fail() -> None:
    class Broken:
        def write(self, first_id: int, lines: Sequence[str]) -> None:
            raise OSError("no space")

    def listener(happened: Any, lines: Any, took: float) -> None:
        raise RuntimeError("boom")

    told: list[Any] = []
    with headed(copy=Broken()) as head:
        head.listeners += [listener, lambda happened, lines, took: told.extend(lines)]
        assert answers([head.submit(beat(1))]) == [1]
        assert head.healthy and len(told) == 1


def test_the_copy_is_handed_the_very_lines() -> None:
    written: list[tuple[int, list[str]]] = []

    class Copy:
        def write(self, first_id: int, lines: Sequence[str]) -> None:
            written.append((first_id, list(lines)))

    ledger = MemoryLedger()
    with headed(ledger, copy=Copy()) as head:
        for n in range(3):
            head.submit(beat(n)).result(15)
    assert written == [(row.id, [row.line]) for row in ledger.disk.rows]


# ---- admission, ends ------------------------------------------------------------------------------------------------


def test_admission_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "MAX_WAITING", 10)
    with headed() as head:
        with jammed(head):
            futures = [head.submit(beat(n), weight=5) for n in range(2)]
            with pytest.raises(StoreUnavailable, match="too much"):
                head.submit(AlertsArrived([alert()]))
            futures += [head.submit(beat(n), weight=5) for n in (2, 3)]  # what is no alert has as much room again
            with pytest.raises(StoreUnavailable, match="too much"):
                head.submit(beat())
        assert answers(futures) == [0, 1, 2, 3]
        assert answers([head.submit(beat(4))]) == [4]


def test_the_brake_goes_before_all_that_waits_and_is_always_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "MAX_WAITING", 1)
    with headed(ledger := MemoryLedger()) as head:
        with jammed(head):
            futures = [head.submit(beat(n)) for n in range(2)]
            brake = head.submit(SetMode(True, True, "ann"))
        answers([*futures, brake])
    kinds = [event["kind"] for event in events(ledger)]
    assert kinds.index("mode_changed") == 0


def test_when_it_stops_what_waits_is_played_and_what_comes_later_is_refused() -> None:
    ledger = MemoryLedger()
    with headed(ledger) as head:
        jam = Jam()
        head.submit(jam)
        assert jam.busy.wait(15)
        futures = [head.submit(beat(n)) for n in range(3)]
        stopper = threading.Thread(target=head.stop)
        stopper.start()
        wait_until(lambda: head._stopping)
        with pytest.raises(StoreUnavailable, match="stopping"):
            head.submit(beat())
        jam.go.set()
        stopper.join(15)
        assert answers(futures) == [0, 1, 2]
    assert len(events(ledger)) == 3


def test_a_future_cannot_be_cancelled_behind_the_heads_back() -> None:
    with headed() as head:
        with jammed(head):
            future = head.submit(beat(1))
            assert not future.cancel()
        assert future.result(15) == 1


@pytest.mark.anyio
async def test_a_caller_that_goes_away_does_not_take_its_move_along() -> None:
    ledger = MemoryLedger()
    with headed(ledger) as head:
        with jammed(head):
            task = asyncio.ensure_future(head.play(beat(1)))
            broken = asyncio.ensure_future(head.play(Approve("r9", "ann")))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(NotFound):
            await broken
        assert await head.play(beat(2)) == 2
    assert [e["answer"] for e in events(ledger)] == [1, 2]


def test_a_loop_that_is_closed_does_not_stop_the_head() -> None:
    with headed() as head:

        async def ask_and_leave() -> None:
            task = asyncio.ensure_future(head.play(beat(1)))
            await asyncio.sleep(0)
            assert not task.done()

        with jammed(head):
            asyncio.run(ask_and_leave())
        assert answers([head.submit(beat(2))]) == [2]


# ---- several writers ------------------------------------------------------------------------------------------------


def test_two_processes_on_one_ledger_decide_as_one() -> None:
    disk = Disk()
    with headed(MemoryLedger(disk)) as one, headed(MemoryLedger(disk)) as two:
        one.submit(SetMode(True, False, "ann")).result(15)
        assert two.submit(AlertsArrived([alert()])).result(15)[0]["result"] == "accepted"
        assert one.submit(AlertsArrived([alert(instance="i2")])).result(15)[0]["reason"] == "in_progress"
        threads = [
            threading.Thread(target=lambda h=h: [h.submit(beat(1)).result(15) for _ in range(40)])  # type: ignore[misc]
            for h in (one, two) * 3
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        one.submit(beat(0)).result(15)
        two.submit(beat(0)).result(15)
        one.submit(Do(lambda turn: None)).result(15)
        with one.reading() as (a, _), two.reading() as (b, _):
            assert plain(a) == plain(b)
    assert len(events(MemoryLedger(disk))) == 5 + 240 + 2


def test_what_is_saved_is_what_is_restored() -> None:
    disk = Disk()
    with headed(MemoryLedger(disk)) as head:
        head.submit(SetMode(True, False, "ann")).result(15)
        head.submit(AlertsArrived([alert(), alert(instance="i2"), alert("Unheard")])).result(15)
        with head.reading() as (state, _):
            before = plain(state)
    with headed(MemoryLedger(disk)) as head, head.reading() as (state, _):
        assert plain(state) == before


# ---- several processes on one ledger --------------------------------------------------------------------------------


def sharing(disk: Disk, **values: Any) -> tuple[HeadThread, list[int]]:
    """A process on a shared disk, and the ids that its followers hear."""
    ledger = MemoryLedger(disk, shared=True)
    head = HeadThread(ledger, ManualClock(T0), values.pop("policy", policy()), news=ledger.lines_after, **values)
    heard: list[int] = []
    head.followers.append(lambda events, lines, took: heard.extend(event["id"] for event in events))
    return head, heard


def test_followers_hear_what_others_write_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "POLL", 0.005)
    disk = Disk()
    (one, one_heard), (two, two_heard) = sharing(disk), sharing(disk)
    with started(one), started(two):
        for number in range(20):
            (one if number % 3 else two).submit(Heartbeat()).result(15)
        wait_until(lambda: len(one_heard) == len(two_heard) == 20)
        assert one_heard == two_heard == list(range(1, 21))
        assert one.state.last_id == two.state.last_id == 20


def test_an_idle_process_learns_of_the_mode_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "POLL", 0.005)
    disk = Disk()
    (one, _), (two, _) = sharing(disk), sharing(disk)
    with started(one), started(two):
        one.submit(SetMode(True, False, "ann")).result(15)
        wait_until(lambda: two.state.mode.acts)
        two.submit(Heartbeat()).result(15)
        assert [e["kind"] for e in events(two.ledger)] == ["mode_changed", "heartbeat"]


def test_a_poll_that_fails_turns_red_and_the_next_write_green(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "POLL", 0.005)
    monkeypatch.setattr(head_module, "POLL_DOWN", 0.005)
    head, _ = sharing(Disk())
    with started(head):
        head.ledger.fail("load", times=None)
        wait_until(lambda: not head.healthy)
        head.ledger.mend()
        head.submit(Heartbeat()).result(15)
        assert head.healthy


def test_followers_hear_of_a_commit_whose_answer_was_lost() -> None:
    ledger = MemoryLedger()
    head = HeadThread(ledger, ManualClock(T0), policy(), news=ledger.lines_after)
    heard: list[int] = []
    head.followers.append(lambda events, lines, took: heard.extend(event["id"] for event in events))
    with started(head):
        ledger.fail("after_commit")
        with pytest.raises(StoreUnavailable):
            head.submit(Heartbeat()).result(15)
        head.submit(Heartbeat()).result(15)
        assert heard == [1, 2]


def documented(digest: str, *rules: Rule) -> Policy:
    return replace(policy(*rules, digest=digest), document=f"document of {digest}")


def test_the_policy_that_was_loaded_last_is_everybodys_from_the_next_move_on() -> None:
    disk, known = Disk(), {}
    for made in (documented("p1"), documented("p2", rule("other", "B"))):
        known[made.document] = made
    one, _ = sharing(disk, policy=known["document of p1"], adopt=known.__getitem__)
    two, _ = sharing(disk, policy=known["document of p1"], adopt=known.__getitem__)
    with started(one), started(two):
        one.submit(PolicyLoaded(known["document of p2"], "ann")).result(15)
        [answer] = two.submit(AlertsArrived([alert("B")])).result(15)
        assert answer["result"] != "skip" and two.policy.digest == "p2"


def test_a_policy_that_cannot_be_read_here_decides_nothing_here() -> None:
    disk = Disk()

    def cannot(document: str) -> Policy:
        raise Invalid("what is this?")

    one, _ = sharing(disk, policy=documented("p1"), adopt=cannot)
    two, _ = sharing(disk, policy=documented("p1"), adopt=cannot)
    with started(one), started(two):
        one.submit(PolicyLoaded(documented("p2"), "ann")).result(15)
        with pytest.raises(StoreUnavailable, match="cannot be read here"):
            two.submit(AlertsArrived([alert()])).result(15)
        two.submit(Heartbeat()).result(15)
        two.submit(SetMode(False, True, "bob")).result(15)
        assert not two.healthy and not two.able and "p2" in two.error
        two.submit(PolicyLoaded(documented("p1"), "bob")).result(15)
        assert two.submit(AlertsArrived([alert()])).result(15)[0]["result"] == "dry_run"
        assert two.healthy and two.able


def test_a_policy_whose_document_comes_later_is_taken_over_then() -> None:
    disk, made = Disk(), documented("p1")
    one, _ = sharing(disk, policy=made, adopt={made.document: made}.__getitem__)
    worker, _ = sharing(disk, policy=Policy(), adopt={made.document: made}.__getitem__)
    with started(one), started(worker):
        one.submit(PolicyLoaded(made, "start")).result(15)
        document = disk.facts.pop(head_module.DOCUMENT)  # as after an import
        with pytest.raises(StoreUnavailable, match="not on this ledger"):
            worker.submit(AlertsArrived([alert()])).result(15)
        assert not worker.able
        disk.facts[head_module.DOCUMENT] = document
        assert worker.submit(AlertsArrived([alert()])).result(15)[0]["result"] == "dry_run"
        assert worker.able


def test_a_process_without_a_policy_of_its_own_takes_that_of_the_first_start() -> None:
    disk = Disk()
    made = documented("p1")
    one, _ = sharing(disk, policy=made)
    worker, _ = sharing(disk, policy=Policy(), adopt={made.document: made}.__getitem__)
    with started(one), started(worker):
        one.submit(PolicyLoaded(made, "start")).result(15)
        assert worker.submit(AlertsArrived([alert()])).result(15)[0]["result"] == "dry_run"
        assert worker.policy is made


def test_who_slept_while_events_were_let_go_of_reads_the_state_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "POLL", 0.005)
    disk = Disk()
    (one, _), (two, _) = sharing(disk), sharing(disk)
    slept = two.news
    two.news = lambda after, limit: []
    with started(one), started(two):
        one.submit(SetMode(True, False, "ann")).result(15)
        one.submit(Heartbeat()).result(15)
        assert slept is not None
        two.news = lambda after, limit: [row for row in slept(after, limit) if row[0] > 1]
        wait_until(lambda: two.state.last_id == 2)
        assert two.state.mode.acts


def test_clocks_that_differ_a_little_make_no_step_back() -> None:
    disk = Disk()
    (one, _), (two, _) = sharing(disk), sharing(disk)
    two.clock.advance(-head_module.SMEAR / 2)
    with started(one), started(two):
        one.submit(Heartbeat()).result(15)
        two.submit(Heartbeat()).result(15)
        two.clock.advance(-10.0)
        two.submit(Heartbeat()).result(15)
    times = [event["ts"] for event in events(one.ledger)]
    assert times == [T0, T0, T0 - 10.0 - head_module.SMEAR / 2]
