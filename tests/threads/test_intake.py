"""Deliveries that come at the same time share a commit, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from autoheal.core.alert import Alert, fingerprint
from autoheal.core.errors import Permanent
from autoheal.core.threads import ThreadPolicy
from autoheal.engine.clock import SystemClock
from autoheal.engine.ports import StoreUnavailable
from autoheal.sources.alertmanager import Delivery
from autoheal.store import threads_server
from autoheal.store.threads import Book, Threads, threads_url
from autoheal.threader import intake as intakes
from autoheal.threader.intake import Intake
from tests.databases import postgres

pytestmark = pytest.mark.anyio
POLICY = ThreadPolicy()


class Counted:
    """A store whose first transaction waits for `go` once it has `begun`; `count`: how many there were."""

    def __init__(self, threads: Threads) -> None:
        self.threads, self.count, self.away = threads, 0, False
        self.begun, self.go = threading.Event(), threading.Event()

    @contextmanager
    def transaction(self) -> Iterator[Book]:
        self.count += 1
        self.begun.set()
        self.go.wait(10)
        if self.away:
            raise StoreUnavailable("the database does not answer")
        with self.threads.transaction() as book:
            yield book


class Choosy(Intake):
    def _opened(self, key: str, delivery: Delivery, now: float) -> Any:
        if delivery.group_key == "bad":
            raise Permanent("the database cannot hold this one")
        return super()._opened(key, delivery, now)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Counted]:
    threads = Threads(threads_url(tmp_path), SystemClock())
    yield Counted(threads)
    threads.close()


def intake(store: Any) -> Intake:
    return Choosy(store, lambda: POLICY, 14_700.0)


def delivery(group: str, *instances: int) -> Delivery:
    labels = [{"alertname": "Down", "instance": str(number)} for number in instances]
    alerts = [Alert("firing", one, {}, 1000.0, fingerprint(one)) for one in labels]
    return Delivery(list(alerts), "http://am", "slack", group)


def firing(store: Counted, key: str) -> int:
    stored = store.threads.get(key)
    assert stored is not None
    return len(orjson.loads(stored.data)["members"])


async def test_what_comes_while_the_store_writes_is_written_together(store: Counted) -> None:
    taking = intake(store)
    waiting = [asyncio.ensure_future(taking.hear(delivery("same", 0)))]
    await asyncio.to_thread(store.begun.wait, 10)
    waiting += [asyncio.ensure_future(taking.hear(delivery("same", number))) for number in range(1, 5)]
    waiting += [asyncio.ensure_future(taking.hear(delivery(f"other {number}", 1))) for number in range(15)]
    await asyncio.sleep(0)
    store.go.set()
    keys = [key for found in await asyncio.gather(*waiting) for key in found]
    assert store.count == 2
    assert [firing(store, key) for key in keys] == [5] * 5 + [1] * 15


async def test_one_that_fails_fails_alone(store: Counted) -> None:
    taking = intake(store)
    names = ["first", "good", "bad", "also good"]
    waiting = [asyncio.ensure_future(taking.hear(delivery(name, 1))) for name in names]
    await asyncio.sleep(0)
    store.go.set()
    first, good, bad, also = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(bad, Permanent)
    for taken in (first, good, also):
        assert isinstance(taken, list)
        assert firing(store, taken[0]) == 1


async def test_who_goes_before_the_answer_holds_nobody_up(store: Counted) -> None:
    taking = intake(store)
    waiting = [asyncio.ensure_future(taking.hear(delivery(f"group {number}", 1))) for number in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    store.go.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[1], asyncio.CancelledError)
    assert [firing(store, taken[0]) for taken in found if isinstance(taken, list)] == [1, 1]


async def begin(taking: Intake, store: Counted, *deliveries: Delivery) -> list[asyncio.Future[list[str]]]:
    """The first is being written and hangs; the others wait behind it."""
    first = asyncio.ensure_future(taking.hear(deliveries[0]))
    await asyncio.to_thread(store.begun.wait, 10)
    others = [asyncio.ensure_future(taking.hear(one)) for one in deliveries[1:]]
    await asyncio.sleep(0)
    return [first, *others]


async def over(taking: Intake, store: Counted) -> int:
    """Let the store go on; how many conversations there are when nothing waits any more."""
    store.go.set()
    assert taking._taking is not None
    await taking._taking
    assert (len(taking._waiting), taking._alerts) == (0, 0)
    return len(store.threads.list(None, 100))


async def test_a_store_that_hangs_holds_nobody_up_and_what_was_refused_is_not_written(
    store: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intakes, "PATIENCE", 0.05)
    taking = intake(store)
    waiting = await begin(taking, store, *(delivery(f"group {number}", 1) for number in range(60)))
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(one) for one in found} == {StoreUnavailable}
    assert await over(taking, store) == 1  # the one that was being written
    assert store.count == 1


async def test_once_the_store_is_away_nobody_waits_for_it_again(store: Counted) -> None:
    store.away = True
    taking = intake(store)
    waiting = await begin(taking, store, *(delivery(f"group {number}", 1) for number in range(60)))
    assert await over(taking, store) == 0
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(one) for one in found} == {StoreUnavailable}
    assert store.count == 1
    store.away = False
    assert await taking.hear(delivery("group 0", 1))


@pytest.mark.parametrize(("limit", "most"), [("MAX_WAITING", 2), ("MAX_ALERTS", 6)])
async def test_who_comes_to_a_full_queue_is_to_come_again(
    store: Counted, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(intakes, limit, most)
    taking = intake(store)
    waiting = await begin(taking, store, *(delivery(f"group {number}", 1, 2, 3) for number in range(3)))
    with pytest.raises(StoreUnavailable, match="too much"):
        await taking.hear(delivery("one more", 1, 2, 3))
    assert await over(taking, store) == 3
    await asyncio.gather(*waiting)


async def test_a_delivery_larger_than_the_queue_is_taken_where_nobody_waits(
    store: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intakes, "MAX_ALERTS", 2)
    store.go.set()
    [key] = await intake(store).hear(delivery("large", 1, 2, 3))
    assert firing(store, key) == 3


async def test_threads_that_others_hold_are_not_waited_for(store: Counted) -> None:
    pool, go = ThreadPoolExecutor(1), threading.Event()
    asyncio.get_running_loop().set_default_executor(pool)
    held = pool.submit(go.wait, 20)
    store.go.set()
    assert await intake(store).hear(delivery("group", 1))
    assert not held.done()
    go.set()


async def test_while_the_database_is_frozen_everybody_is_answered_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads_server, "ANSWER_SECONDS", 0.3)
    with postgres(tmp_path) as server, closing(Threads(server.url, SystemClock())) as threads:
        counted = Counted(threads)
        counted.go.set()
        taking = intake(counted)
        await taking.hear(delivery("before", 1))
        before = counted.count
        processes = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children()]
        for process in processes:
            process.suspend()
        waiting = [taking.hear(delivery(f"group {number}", 1)) for number in range(60)]
        found = await asyncio.gather(*waiting, return_exceptions=True)
        for process in processes:
            process.resume()
        assert {type(one) for one in found} == {StoreUnavailable}
        assert counted.count == before + 1
        threads.reopen()
        [key] = await taking.hear(delivery("group 0", 1))
        assert firing(counted, key) == 1
