"""Several processes on one PostgreSQL: one watches the silences, another takes over; a cooldown holds for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.moves.people import SetCooldown, SetMode
from autoheal.engine import acks as acks_module
from autoheal.engine.acks import AckWatch
from autoheal.engine.clock import LedgerClock, SystemClock
from autoheal.engine.head import HeadThread
from autoheal.store.claims import PostgresClaims
from autoheal.store.postgres import PostgresLedger
from autoheal.store.query import Reader
from autoheal.store.replay import verify_state
from autoheal.testing.clock import ManualClock
from autoheal.testing.fake_world import FakeAlertmanagers
from tests.servers import wait_until
from tests.unit.core.make import alert, policy, rule

pytestmark = pytest.mark.anyio
ABOUT = alert(starts_at=time.time() - 100)
LABELS = {"alertname": "A"}
US = "autoheal"


@dataclass
class Process:
    head: HeadThread
    watch: AckWatch
    stack: ExitStack

    def dies(self) -> None:
        """Without giving anything up."""
        self.head.stop()
        self.stack.close()


@pytest.fixture
def cluster() -> FakeAlertmanagers:
    made = FakeAlertmanagers(clock=ManualClock(time.time()))
    made.fire(ABOUT.fingerprint, ABOUT.labels, ABOUT.starts_at, receivers=(US,))
    return made


@pytest.fixture
def start(
    postgres_url: str, cluster: FakeAlertmanagers, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Process]]:
    monkeypatch.setattr(acks_module, "EVERY", 0.0)  # and the claim lasts one second
    with ExitStack() as all_of_them:

        def make(name: str) -> Process:
            stack = all_of_them.enter_context(ExitStack())
            ledger = stack.enter_context(closing(PostgresLedger(postgres_url)))
            reader = stack.enter_context(closing(Reader(postgres_url, 2)))
            claims = stack.enter_context(closing(PostgresClaims(postgres_url, name)))
            clock = LedgerClock(SystemClock())
            head = HeadThread(ledger, clock, policy(rule(cooldown=600.0)), news=reader.lines_after)
            stack.callback(head.stop)
            head.start()
            return Process(head, AckWatch(head, cluster, clock, claims, reader.facts), stack)

        yield make


def seen(process: Process, status: str, behind: bool) -> list[dict[str, Any]]:
    """What the watch told of this kind, as the ledger has it."""
    assert process.head.news is not None
    events = [orjson.loads(line) for _, line in process.head.news(0, 1000)]
    told = [one for event in events for one in event.get("seen", ())]
    return [one for one in told if one["status"] == status and ("behind" in one) == behind]


async def caught_up(*processes: Process) -> None:
    def same() -> bool:
        return len({process.head.state.last_id for process in processes}) == 1

    await asyncio.to_thread(wait_until, same)


async def until(process: Process, predicate: Callable[[], Any]) -> None:
    """Looks, until it is so: the claim of one that died has to run out."""
    deadline = time.monotonic() + 20
    while not predicate():
        assert time.monotonic() < deadline
        await process.watch.tick()
        await asyncio.sleep(0.05)


async def test_one_dies_at_each_turn_and_everything_is_told_once(
    start: Callable[[str], Process], cluster: FakeAlertmanagers, postgres_url: str
) -> None:
    one, two = start("one"), start("two")
    await one.head.play(SetMode(True, False, "ann"))
    await one.head.play(AlertsArrived([ABOUT], receiver=US))
    silence_id, _ = await one.watch.acknowledge(LABELS, 3600.0, "1h", "ann", "")
    await until(one, lambda: seen(one, "firing", True))
    await caught_up(one, two)
    await two.watch.extend(silence_id, 3600.0, "1h", "bob")
    one.dies()

    cluster.firing.clear()
    await until(two, lambda: seen(two, "resolved", False))
    assert [found["fingerprint"] for found in seen(two, "resolved", False)] == [ABOUT.fingerprint]
    three = start("three")
    await three.watch.expire(silence_id, "carol")
    two.dies()

    again = time.time() + 5.0
    cluster.fire(ABOUT.fingerprint, ABOUT.labels, again, receivers=(US,))
    await until(three, lambda: seen(three, "firing", False))
    four = start("four")
    three.dies()
    await until(four, lambda: four.watch._ours)
    await four.watch.tick()
    assert [found["starts_at"] for found in seen(four, "firing", False)] == [again]
    assert len(seen(four, "resolved", False)) == 1
    report = verify_state(postgres_url)
    assert report.done and report.ok, report.problems


async def test_a_cooldown_that_is_set_at_one_holds_at_the_other(
    start: Callable[[str], Process], postgres_url: str
) -> None:
    one, two = start("one"), start("two")
    await one.head.play(SetMode(True, True, "ann"))
    assert (await one.head.play(AlertsArrived([ABOUT])))[0]["result"] == "dry_run"
    assert (await two.head.play(AlertsArrived([ABOUT])))[0]["reason"] == "cooldown"
    await one.head.play(SetCooldown("r", 30.0, "ann"))
    await caught_up(one, two)
    with two.head.reading() as (state, _):
        assert state.cooldowns["r"].cooldown == 30.0
        began = state.slots[f"dry|{rule().key(ABOUT.labels)}"].started_at
        assert state.deferred[ABOUT.fingerprint].until == began + 30.0
    await two.head.play(SetCooldown("r", None, "bob"))
    three = start("three")
    assert three.head.state.cooldowns == {}
    assert verify_state(postgres_url).ok
