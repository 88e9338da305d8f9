"""The watch of our silences against a real Alertmanager: made, extended, found out, given up."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autoheal.clients.alertmanager import AlertmanagerCluster
from autoheal.core.errors import Conflict
from autoheal.core.policy import Policy
from autoheal.core.state import Ack
from autoheal.engine.acks import AckWatch, silence_comment
from autoheal.engine.clock import SystemClock
from autoheal.engine.head import HeadThread
from autoheal.testing.memory_ledger import MemoryLedger
from tests.servers import Alertmanager, alertmanager, wait_until
from tests.unit.engine.house import events

pytestmark = pytest.mark.anyio
LABELS = {"alertname": "Down", "service": "crm"}
BOOK = "https://wiki.example/runbooks/down"


@dataclass
class Place:
    am: Alertmanager
    watch: AckWatch
    head: HeadThread
    ledger: MemoryLedger

    def silence(self, silence_id: str) -> dict[str, Any]:
        return next(one for one in self.am.silences() if one["id"] == silence_id)

    def hidden_by(self) -> list[str]:
        found: list[str] = self.am.alerts()[0]["status"]["silencedBy"]
        return found


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    with alertmanager(tmp_path, "http://127.0.0.1:9/") as am:
        ledger, clock = MemoryLedger(), SystemClock()
        head = HeadThread(ledger, clock, Policy())
        head.start()
        cluster = AlertmanagerCluster([am.url], settled_after=-2.0)  # its Date is to the second, its start is not
        yield Place(am, AckWatch(head, cluster, clock), head, ledger)
        await cluster.aclose()
        head.stop()


async def test_a_silence_from_the_first_click_to_the_last(place: Place) -> None:
    am, watch = place.am, place.watch
    with pytest.raises(Conflict, match="already resolved"):
        await watch.acknowledge(LABELS, 60.0, "1m", "ann", "", only_if_firing=True)
    assert am.silences() == []
    am.fire(**LABELS)
    am.fire(alertname="Down", service="shop")
    wait_until(lambda: len(am.alerts()) == 2, what="the alerts")
    assert [one.labels["service"] for one in await watch.would_hide(LABELS)] == ["crm"]
    assert len(await watch.would_hide({"alertname": "Down"})) == 2

    comment = silence_comment("on it", BOOK)
    silence_id, ends_at = await watch.acknowledge(LABELS, 60.0, "1m", "ann", comment, only_if_firing=True)
    made = place.silence(silence_id)
    assert (made["createdBy"], made["comment"]) == ("autoheal:ann", f"on it · runbook: {BOOK}")

    again, later = await watch.extend(silence_id, 7200.0, "2h", "bob")
    assert again == silence_id and later == pytest.approx(ends_at + 7200.0, abs=0.01)
    assert (place.silence(silence_id)["createdBy"], len(am.silences())) == ("autoheal:bob", 1)
    await watch.tick()
    assert [e["kind"] for e in events(place.ledger)] == ["ack", "ack"], "what it hides is known, its end is right"

    am.resolve(**LABELS)
    wait_until(lambda: len(am.alerts()) == 1, what="the resolve")
    watch._next = time.monotonic()
    await watch.tick()
    told = events(place.ledger)[2]
    assert [(one["status"], one["labels"]) for one in told["seen"]] == [("resolved", LABELS)]

    assert await watch.expire(silence_id, "ann")
    with pytest.raises(Conflict, match="over"):
        place.head.state.acks[silence_id] = Ack(silence_id, LABELS, ends_at, "ann")  # as if it were not known yet
        await watch.extend(silence_id, 60.0, "1m", "bob")


async def test_an_end_that_somebody_moves_in_alertmanager_is_put_on_record(place: Place) -> None:
    place.am.fire(**LABELS)
    silence_id, _ = await place.watch.acknowledge(LABELS, 600.0, "10m", "ann", "")
    other = AlertmanagerCluster([place.am.url])
    await other.extend_silence(silence_id, time.time() + 60.0, "carol", "enough")
    await other.aclose()
    for _ in range(2):
        place.watch._next = time.monotonic()
        await place.watch.tick()
    changed = events(place.ledger)[-1]
    assert (changed["kind"], changed["reason"], changed["actor"]) == ("ack", "shortened", "carol")
