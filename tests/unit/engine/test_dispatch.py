"""The dispatcher: who is rung for, when again, and what happens when the broker or the workers are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from autoheal.core.errors import Permanent, Temporary
from autoheal.core.moves.acting import MayStart
from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.moves.people import SetMode
from autoheal.core.policy import Limits
from autoheal.engine import dispatch
from autoheal.engine.dispatch import AGAIN, LOST, MOST, STUCK, SWEEP, Dispatcher, queues_of
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Presence, StoreUnavailable
from autoheal.testing.clock import ManualClock
from autoheal.testing.memory_ledger import MemoryLedger
from tests.servers import wait_until
from tests.unit.core.make import alert, policy, rule


class Broker:
    """`engine.ports.Doorbell`: lists in memory, that can be gone, full, or lose what they hold."""

    def __init__(self) -> None:
        self.queues: dict[str, list[str]] = {}
        self.gone = self.full = False
        self.odd: set[str] = set()
        self.calls = 0

    def ring(self, queue: str, remediation_id: str) -> None:
        self.calls += 1
        if self.gone or self.full:
            raise Temporary("the broker: refused")
        if queue in self.odd:
            raise Permanent("the broker refuses it: WRONGTYPE")
        self.queues.setdefault(queue, []).append(remediation_id)

    def depths(self, queues: Sequence[str]) -> dict[str, int]:
        self.calls += 1
        if self.gone:
            raise Temporary("the broker: refused")
        return {queue: len(self.queues.get(queue, ())) for queue in queues if queue not in self.odd}

    def waits(self, queue: str = "autoheal") -> list[str]:
        return list(self.queues.get(queue, ()))


@dataclass
class Leases:
    """`engine.ports.Claims` that several dispatchers share."""

    clock: ManualClock
    instance: str = "me"
    held: dict[str, tuple[str, float]] = field(default_factory=dict)
    workers: list[Presence] = field(default_factory=list)
    away: bool = False
    alone: bool = False

    def take(self, keys: Sequence[str], seconds: float) -> set[str]:
        if self.away:
            raise StoreUnavailable("away")
        now, taken = self.clock.now(), set()
        for key in keys:
            owner, until = self.held.get(key, (self.instance, 0.0))
            if owner == self.instance or until <= now:
                self.held[key] = (self.instance, now + seconds)
                taken.add(key)
        return taken

    def processes(self) -> list[Presence]:
        if self.away:
            raise StoreUnavailable("away")
        return self.workers

    def release(self, keys: Sequence[str]) -> None: ...

    def present(self, seconds: float, data: Mapping[str, Any]) -> float:
        return self.clock.now()

    def leave(self) -> None: ...

    def beside(self) -> Leases:
        """The same leases, seen by another process."""
        return Leases(self.clock, "other", self.held, self.workers)


def worker(*queues: str, left: float = 10.0) -> Presence:
    return Presence("w", left, {"role": "worker", "queues": list(queues)})


class Site:
    def __init__(self, *, live: bool = True) -> None:
        rules = [rule("r", "A", cooldown_by=("instance",)), rule("e", "E", cooldown_by=("instance",), queue="eu")]
        self.clock = ManualClock()
        self.head = HeadThread(MemoryLedger(), self.clock, policy(*rules, limits=Limits(concurrent=100_000)))
        self.broker, self.leases = Broker(), Leases(self.clock)
        self.leases.workers.append(worker("autoheal", "eu"))
        self.head.start()
        self.play(SetMode(True, not live, "test", "api", ""))
        self.dispatcher = self.another(self.leases)
        self.head.listeners.append(self.dispatcher.listen)

    def another(self, leases: Leases, fallback: Callable[[Sequence[str]], None] | None = None) -> Dispatcher:
        return Dispatcher(self.head, self.broker, leases, self.clock, fallback)

    def play(self, move: Any) -> Any:
        return self.head.submit(move).result(10)

    def reserve(self, count: int, name: str = "A", start: int = 0) -> list[str]:
        """So many new remediations; their ids."""
        before = set(self.reserved)
        self.play(AlertsArrived([alert(name, f"i{number}") for number in range(start, start + count)]))
        return [rid for rid in self.reserved if rid not in before]

    @property
    def reserved(self) -> list[str]:
        with self.head.reading() as (state, _):
            return list(state.reserved)

    @property
    def escalations(self) -> list[str]:
        with self.head.reading() as (state, _):
            return [key for key in state.escalations if key.startswith("queue:")]

    def sweep(self, after: float = SWEEP, dispatcher: Dispatcher | None = None) -> None:
        self.clock.advance(after)
        one = dispatcher or self.dispatcher
        one.sweep()
        wait_until(lambda: not one._pending, what="the bells to be rung")
        self.play(SetMode(True, False, "test", "api", ""))  # what the sweep has handed in was played before

    def settled(self) -> None:
        wait_until(lambda: not self.dispatcher._pending and self.dispatcher.rung + self.dispatcher.failed, what="rung")


@pytest.fixture
def site() -> Iterator[Site]:
    with running() as found:
        yield found


@contextmanager
def running() -> Iterator[Site]:
    site = Site()
    site.dispatcher.start()
    try:
        yield site
    finally:
        site.dispatcher.stop()
        site.head.stop()


def test_what_is_reserved_is_rung_for_in_its_queue_and_in_order(site: Site) -> None:
    ids, others = site.reserve(3), site.reserve(2, "E")
    wait_until(lambda: site.dispatcher.rung == 5, what="five bells")
    assert (site.broker.waits(), site.broker.waits("eu")) == (ids, others)
    assert site.dispatcher.healthy and site.dispatcher.failed == 0


def test_nothing_is_rung_again_while_its_message_waits(site: Site) -> None:
    site.reserve(3)
    site.settled()
    for _ in range(20):
        site.sweep(5.0)
    assert len(site.broker.waits()) == 3 and site.dispatcher.rung_again == 0
    assert site.dispatcher.depths == {"autoheal": 3, "eu": 0}


def test_lost_messages_are_rung_again_the_oldest_first_and_not_twice_within_ten_seconds(site: Site) -> None:
    ids = site.reserve(5)
    wait_until(lambda: site.dispatcher.rung == 5, what="five bells")
    site.broker.queues["autoheal"] = ids[3:]  # three were lost, whichever
    site.sweep(SWEEP)
    assert site.dispatcher.rung_again == 0  # rung a moment ago: a worker may have them in hand
    site.sweep(AGAIN)
    assert site.broker.waits()[2:] == ids[:3] and site.dispatcher.rung_again == 3
    site.broker.queues.clear()
    site.sweep(SWEEP)
    assert site.broker.waits() == ids[3:]  # the first three were rung for just now
    site.sweep(AGAIN)
    assert sorted(site.broker.waits()) == sorted(ids)


def test_what_was_reserved_before_this_process_began_is_found(site: Site) -> None:
    site.head.listeners.clear()
    ids = site.reserve(2)
    site.sweep(SWEEP)
    assert site.broker.waits() == []
    site.sweep(LOST)
    assert site.broker.waits() == ids


def test_two_processes_do_not_both_ring(site: Site) -> None:
    site.head.listeners.clear()
    ids = site.reserve(10)
    other = site.another(site.leases.beside())
    other.start()
    for one in (site.dispatcher, other):
        site.sweep(0.0, one)
    site.clock.advance(LOST)
    for one in (site.dispatcher, other):
        one.sweep()
    wait_until(lambda: len(site.broker.waits()) >= 10, what="ten bells")
    other.stop()
    assert sorted(site.broker.waits()) == sorted(ids)
    assert (site.dispatcher.rung_again, other.rung_again) == (10, 0)


def test_a_sweep_rings_no_more_than_it_may(site: Site) -> None:
    site.head.listeners.clear()
    site.reserve(MOST + 500)
    site.sweep()
    site.sweep(LOST)
    assert site.dispatcher.rung_again == MOST
    site.sweep()
    assert site.dispatcher.rung_again == MOST + 500


def test_what_has_started_is_not_rung_for(site: Site) -> None:
    ids = site.reserve(3)
    site.settled()
    site.broker.queues.clear()
    assert site.play(MayStart(ids[0]))
    site.sweep()
    site.sweep(AGAIN)
    assert site.broker.waits() == ids[1:]


def test_a_broker_that_is_gone_is_said_once_and_everything_is_rung_when_it_is_back(site: Site) -> None:
    site.reserve(2)
    site.settled()
    with capture_logs() as logs:
        site.broker.gone = True
        site.broker.queues.clear()
        site.reserve(3, start=10)
        wait_until(lambda: not site.dispatcher.healthy, what="the outage")
        for _ in range(30):
            site.sweep(1.0)
        assert (site.dispatcher.waiting, site.dispatcher.healthy) == (5, False)
        calls = site.broker.calls
        site.sweep(0.01)
        assert site.broker.calls == calls  # it waits before it tries again
        site.broker.gone = False
        site.sweep(10.0)
    assert site.dispatcher.healthy and sorted(set(site.broker.waits())) == sorted(site.reserved)
    said = [entry["event"] for entry in logs if entry["event"].startswith("broker")]
    assert said == ["broker_gone", "broker_back"]


def test_a_broker_that_answers_but_takes_nothing_is_not_back(site: Site) -> None:
    site.broker.full = True
    with capture_logs() as logs:
        site.reserve(2)
        wait_until(lambda: not site.dispatcher.healthy, what="the refusal")
        for _ in range(10):
            site.sweep(10.0)
    assert not site.dispatcher.healthy
    assert [entry["event"] for entry in logs if entry["event"].startswith("broker")] == ["broker_gone"]
    site.broker.full = False
    site.sweep(10.0)
    assert site.dispatcher.healthy and set(site.broker.waits()) == set(site.reserved)


def test_a_broker_that_was_away_and_kept_its_messages_gets_none_twice(site: Site) -> None:
    ids = site.reserve(50)
    wait_until(lambda: site.dispatcher.rung == 50, what="the bells")
    site.broker.gone = True
    site.sweep(AGAIN)
    site.broker.gone = False
    site.sweep(10.0)
    assert site.dispatcher.healthy
    assert len(site.broker.waits()) <= len(ids) + 1  # the one that showed that it takes messages


def test_while_the_broker_is_gone_what_waits_in_the_default_queue_is_acted_here(site: Site) -> None:
    here: list[str] = []
    site.dispatcher._fallback = here.extend
    site.broker.gone = True
    ids = site.reserve(2)
    site.reserve(2, "E")
    wait_until(lambda: not site.dispatcher.healthy, what="the outage")
    site.sweep(10.0)
    wait_until(lambda: set(here) == set(ids), what="both acted here")
    here.clear()
    more = site.reserve(1, start=20)
    assert here == more  # at once, in the head's thread
    site.sweep(STUCK)
    site.sweep(STUCK)
    assert site.escalations == ["queue:eu"]


def test_without_a_fallback_everything_waits_and_a_person_is_told_after_a_minute(site: Site) -> None:
    site.broker.gone = True
    site.reserve(2)
    wait_until(lambda: not site.dispatcher.healthy, what="the outage")
    site.sweep(10.0)
    site.sweep(STUCK - 20)
    assert site.escalations == []
    site.sweep(20)
    assert site.escalations == ["queue:autoheal"]
    site.broker.gone = False
    site.sweep(10.0)
    assert site.escalations == []


def test_a_queue_that_no_worker_serves_is_told_once_and_settled_when_one_comes(site: Site) -> None:
    site.leases.workers[:] = [worker("autoheal"), worker("eu", left=-1.0), Presence("s", 9, {"queues": ["eu"]})]
    site.reserve(1)
    site.reserve(2, "E")
    other = site.another(site.leases.beside())
    other.start()
    for _ in range(10):
        site.sweep(STUCK / 5)
        site.sweep(0.0, other)
    assert site.escalations == ["queue:eu"]
    site.leases.workers[:] = [worker("eu", "autoheal")]
    site.sweep(dispatch.LOOK)
    assert site.escalations == []
    other.stop()


def test_a_worker_that_cannot_decide_serves_nobody(site: Site) -> None:
    able = worker("autoheal", "eu")
    site.leases.workers[:] = [worker("autoheal"), replace(able, data={**able.data, "able": False})]
    assert [queues_of(process) for process in site.leases.workers] == [("autoheal",), ()]
    site.reserve(1, "E")
    site.sweep()
    site.sweep(STUCK)
    assert site.escalations == ["queue:eu"]
    site.leases.workers[:] = [replace(able, data={**able.data, "able": True})]
    site.sweep(dispatch.LOOK)
    assert site.escalations == []


def test_a_queue_that_the_broker_refuses_stops_no_other_one(site: Site) -> None:
    site.broker.odd.add("eu")
    with capture_logs() as logs:
        site.reserve(2, "E")
        wait_until(lambda: site.dispatcher.failed == 2, what="the refusals")
        ids = site.reserve(2)
        wait_until(lambda: site.dispatcher.rung == 2, what="the other queue's bells")
        for _ in range(8):
            site.sweep(AGAIN)
    assert site.dispatcher.healthy and set(site.broker.waits()) == set(ids) and site.dispatcher.failed > 2
    assert site.dispatcher.depths == {"autoheal": 2} and list(site.dispatcher.broken) == ["eu"]
    assert [entry["queue"] for entry in logs if entry["event"] == "queue_broken"] == ["eu"]
    assert site.escalations == ["queue:eu"]
    site.broker.odd.clear()
    site.sweep(AGAIN)
    site.sweep(AGAIN)
    assert len(set(site.broker.waits("eu"))) == 2 and not site.dispatcher.broken and site.escalations == []


def test_a_broker_is_back_whichever_queue_it_refuses(site: Site) -> None:
    site.broker.gone = True
    site.broker.odd.add("autoheal")
    site.reserve(1)
    site.reserve(1, "E")
    wait_until(lambda: not site.dispatcher.healthy, what="the outage")
    site.broker.gone = False
    site.sweep(10.0)
    assert site.dispatcher.healthy and len(site.broker.waits("eu")) >= 1


def test_what_waits_in_a_broken_default_queue_is_acted_here(site: Site) -> None:
    here: list[str] = []
    site.dispatcher._fallback = here.extend
    site.broker.odd.add("autoheal")
    ids = site.reserve(2)
    wait_until(lambda: here == ids, what="both acted here")
    site.sweep()
    site.sweep(STUCK)
    assert site.escalations == []


def test_a_told_queue_is_settled_by_a_process_that_did_not_tell(site: Site) -> None:
    site.leases.workers.clear()
    ids = site.reserve(1)
    site.sweep()
    site.sweep(STUCK)
    assert site.escalations == ["queue:autoheal"]
    other = site.another(site.leases.beside())
    other.start()
    assert site.play(MayStart(ids[0]))
    site.sweep(SWEEP, other)
    assert site.escalations == []
    other.stop()


def test_a_ledger_that_is_away_stops_the_sweep_of_nobody(site: Site) -> None:
    site.head.listeners.clear()
    site.reserve(2)
    site.sweep()
    site.leases.away = True
    site.sweep(LOST)
    assert site.broker.waits() == [] and site.dispatcher.healthy
    site.leases.away = False
    site.sweep()
    assert len(site.broker.waits()) == 2


def test_it_ends_with_bells_left_to_ring() -> None:
    with running() as site:
        site.reserve(500)
    assert not site.dispatcher._thread.is_alive()
