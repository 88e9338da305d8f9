"""Escalations are told to every Alertmanager until they are settled, and then resolved."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from autoheal.core.moves.escalate import escalate, settle
from autoheal.core.turn import Turn
from autoheal.engine.head import HeadThread
from autoheal.engine.outbox import LASTS, MAX_SUMMARY, RESEND, RETRY, Outbox
from autoheal.engine.ports import OutgoingAlert
from autoheal.testing.clock import ManualClock
from autoheal.testing.fake_world import FakeAlertmanagers
from autoheal.testing.memory_ledger import Disk, MemoryLedger
from tests.unit.core.make import T0, policy
from tests.unit.engine.test_head import Do

pytestmark = pytest.mark.anyio
ONE, TWO = "http://am-1:9093", "http://am-2:9093"
ABOUT = {"rule": "r", "alertname": "A", "remediation_id": "r7", "fingerprint": "f"}


class Post:
    """A head, an outbox and a pair of Alertmanagers."""

    def __init__(self, disk: Disk | None = None, cluster: FakeAlertmanagers | None = None) -> None:
        self.clock = ManualClock(T0)
        self.cluster = cluster or FakeAlertmanagers((ONE, TWO))
        self.disk = disk or Disk()
        self.head = HeadThread(MemoryLedger(self.disk), self.clock, policy())
        self.head.start()
        self.outbox = Outbox(self.head, self.cluster, self.clock, "http://auto.example/")
        self.outbox.resume()

    async def tell(self, key: str = "k", **values: Any) -> None:
        fields = {"severity": "critical", "reason": "failed", "summary": "s", "about": ABOUT} | values

        def play(turn: Turn) -> None:
            escalate(turn, key, fields["severity"], fields["reason"], fields["summary"], fields["about"])

        await self.head.play(Do(play))

    async def settle(self, key: str = "k") -> None:
        await self.head.play(Do(lambda turn: settle(turn, key, "by_hand")))

    async def tick(self, seconds: float = 0.0) -> dict[str, list[OutgoingAlert]]:
        """What each of them was sent by one look, `seconds` later."""
        self.clock.advance(seconds)
        self.cluster.posted.clear()
        await self.outbox.tick()
        return {url: batch for url, [batch] in self.cluster.posted.items()}


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    made = Post()
    yield made
    made.head.stop()


async def test_what_stands_is_told_to_each_of_them(post: Post) -> None:
    await post.tell(summary="x" * 5000)
    sent = await post.tick()
    assert set(sent) == {ONE, TWO} and sent[ONE] == sent[TWO]
    [alert] = sent[ONE]
    assert alert.labels == {
        "alertname": "AutohealEscalation",
        "severity": "critical",
        "reason": "failed",
        "escalation": "k",
        "rule": "r",
        "about": "A",
        "remediation_id": "r7",
    }
    assert (
        alert.annotations["autoheal_url"] == alert.generator_url == "http://auto.example/console?view=remediation&id=r7"
    )
    assert len(alert.annotations["summary"]) == MAX_SUMMARY
    assert (alert.starts_at, alert.ends_at) == (T0, T0 + LASTS)


async def test_what_is_about_nothing_in_particular_leads_to_the_console(post: Post) -> None:
    await post.tell(about={})
    [alert] = (await post.tick())[ONE]
    assert "rule" not in alert.labels and alert.generator_url == "http://auto.example/console"


async def test_it_is_told_again_before_it_would_end_by_itself(post: Post) -> None:
    await post.tell()
    assert await post.tick()
    assert not await post.tick(RESEND - 1.0)
    sent = await post.tick(1.0)
    assert sent[ONE][0].ends_at == T0 + RESEND + LASTS and RESEND < LASTS


async def test_its_end_is_told_once(post: Post) -> None:
    await post.tell()
    await post.tick()
    await post.settle()
    sent = await post.tick(1.0)
    assert sent[ONE][0].ends_at == T0 + 1.0 and sent[TWO] == sent[ONE]
    assert not await post.tick(RESEND) and not post.outbox._told and not post.outbox._next


async def test_what_ended_before_it_was_told_is_not_told(post: Post) -> None:
    await post.tell()
    await post.settle()
    assert not await post.tick()


async def test_one_out_of_reach_does_not_hold_up_the_other_and_hears_later(post: Post) -> None:
    post.cluster.down = {ONE}
    await post.tell()
    assert set(await post.tick()) == {TWO}
    assert not await post.tick(RETRY - 1.0)
    post.cluster.down = set()
    assert set(await post.tick(1.0)) == {ONE}


async def test_one_out_of_reach_at_the_end_hears_of_the_end_later(post: Post) -> None:
    await post.tell()
    await post.tick()
    post.cluster.down = {ONE}
    await post.settle()
    assert set(await post.tick()) == {TWO}
    post.cluster.down = set()
    sent = await post.tick(RETRY)
    assert set(sent) == {ONE} and sent[ONE][0].ends_at == T0 + RETRY
    assert not await post.tick(RESEND)


async def test_one_that_is_raised_anew_is_told_at_once(post: Post) -> None:
    await post.tell()
    await post.tick()
    await post.settle()
    post.clock.advance(3.0)
    await post.tell(reason="unknown")
    sent = await post.tick()
    assert sent[ONE][0].labels["reason"] == "unknown" and sent[ONE][0].starts_at == T0 + 3.0
    assert not await post.tick(RESEND - 1.0)


async def test_after_a_restart_the_end_of_what_was_told_before_is_told(post: Post) -> None:
    await post.tell()
    await post.tick()
    post.head.stop()
    after = Post(post.disk, post.cluster)
    try:
        await after.settle()
        sent = await after.tick(1.0)
        assert sent[ONE][0].ends_at == T0 + 1.0
        assert not await after.tick(RESEND)
    finally:
        after.head.stop()


async def test_without_an_alertmanager_nothing_is_sent() -> None:
    head = HeadThread(MemoryLedger(), ManualClock(), policy())
    outbox = Outbox(head, None, ManualClock(), "")
    outbox.resume()
    await outbox.tick()
    await outbox._post(ONE, [])
