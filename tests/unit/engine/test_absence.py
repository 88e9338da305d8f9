"""Absence is not resolution: an Alertmanager that restarted lately does not say that an alert is gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from autoheal.core.alert import Alert
from autoheal.core.policy import VerifySpec
from autoheal.engine import acks
from autoheal.engine.acks import AckWatch
from autoheal.engine.book import AlertBook, Page
from autoheal.testing.clock import ManualClock
from autoheal.testing.fake_world import FakeAlertmanagers
from tests.unit.core.make import T0, alert, policy, rule, step
from tests.unit.engine.house import House

pytestmark = pytest.mark.anyio

FROM = "http://am-1:9093"
ON, OFF = alert(instance="on"), alert(instance="off")
RESOLVED = VerifySpec("resolved", "", 600.0, 0.01)


def cluster(clock: ManualClock) -> FakeAlertmanagers:
    return FakeAlertmanagers(clock=clock)


def fire(am: FakeAlertmanagers, *alerts: Alert) -> None:
    for one in alerts:
        am.fire(one.fingerprint, one.labels, one.starts_at)


# ---- the book --------------------------------------------------------------------------------------------------------


async def page(am: FakeAlertmanagers | None, clock: ManualClock) -> Page | None:
    return await AlertBook(am, clock).page()


async def test_the_book_trusts_presence_always_and_absence_when_complete() -> None:
    clock = ManualClock(T0)
    am = cluster(clock)
    fire(am, ON)
    for complete, absent in ((True, False), (False, None)):
        am.complete = complete
        found = await page(am, clock)
        assert found is not None
        assert (found.firing(ON.fingerprint), found.firing(OFF.fingerprint)) == (True, absent)


async def test_the_book_has_no_page_where_nobody_answers_or_is_configured() -> None:
    clock = ManualClock(T0)
    am = cluster(clock)
    am.down.update(am.urls)
    assert await page(am, clock) is None
    assert await page(None, clock) is None


# ---- a whole engine --------------------------------------------------------------------------------------------------


@dataclass
class Town:
    """A house with Alertmanager; `rounds` lets the engine look a few times more."""

    verify: VerifySpec | None = None
    ask: bool = True
    """Whether the engine asks it; what acknowledges asks it by hand, so that nobody else looks in between."""
    clock: ManualClock = field(default_factory=lambda: ManualClock(T0))

    def __post_init__(self) -> None:
        self.am = cluster(self.clock)
        steps = (step(verify=self.verify),)
        self.house = House(policy(rule(steps=steps)), clock=self.clock, alertmanagers=self.am if self.ask else None)
        self.watch = AckWatch(self.house.head, self.am, self.clock)

    async def rounds(self, seconds: float = 2.0, times: int = 3) -> None:
        """So many looks at Alertmanager, `seconds` apart."""
        for _ in range(times):
            asked = self.am.asked
            self.clock.advance(seconds)
            await self.house.until(lambda before=asked: self.am.asked > before, "a look")  # type: ignore[misc]

    async def passing(self, seconds: float, predicate: Callable[[], Any]) -> None:
        """Wait for it, while so many seconds pass between two looks of the test's."""

        def moved() -> Any:
            found = predicate()
            self.clock.advance(0.0 if found else seconds)
            return found

        await self.house.until(moved)

    async def heal(self, one: Alert) -> str:
        [answer] = await self.house.hear(one, origin=FROM)
        rid: str = answer["remediation_id"]
        return rid

    @property
    def deferred(self) -> set[str]:
        with self.house.head.reading() as (state, _):
            return set(state.deferred)

    async def defer(self, one: Alert) -> None:
        """Let `one` wait for the end of a cooldown, and let that end."""
        rid = await self.heal(ON)
        await self.house.comes_to(rid, "healed")
        [answer] = await self.house.hear(one, origin=FROM)
        assert answer["reason"] == "cooldown"
        assert self.deferred == {one.fingerprint}
        self.clock.advance(61)

    def resolves(self) -> list[dict[str, Any]]:
        return [e for e in self.house.of_kind("decision_skip") if "resolves" in e]


async def test_a_verification_holds_while_alertmanager_is_young() -> None:
    town = Town(RESOLVED)
    town.am.complete = False
    async with town.house.running() as house:
        rid = await town.heal(ON)
        await house.comes_to(rid, "verifying")
        await town.rounds(20.0)
        assert house.state(rid) == "verifying"
        town.am.complete = True
        await town.passing(5.0, lambda: house.state(rid) == "healed")


async def test_a_young_alertmanager_that_has_the_alert_is_believed() -> None:
    town = Town(RESOLVED)
    town.am.complete = False
    fire(town.am, ON)
    async with town.house.running() as house:
        rid = await town.heal(ON)
        await house.comes_to(rid, "verifying")
        await town.passing(30.0, lambda: house.state(rid) == "failed")
        [failed] = house.of_kind("verify_fail")
        assert failed["detail"] == "still firing"


async def test_a_deadline_passes_over_a_young_alertmanager_without_a_verdict() -> None:
    town = Town(RESOLVED)
    town.am.complete = False
    async with town.house.running() as house:
        rid = await town.heal(ON)
        await house.comes_to(rid, "verifying")
        await town.passing(100.0, lambda: house.of_kind("verify_inconclusive"))
        assert house.of_kind("verify_inconclusive")[0]["detail"] == "Alertmanager restarted lately"
        assert house.state(rid) == "verifying"


async def test_a_deferred_alert_that_a_young_alertmanager_lacks_stays_deferred() -> None:
    town = Town()
    async with town.house.running() as house:
        town.am.complete = False
        await town.defer(OFF)
        await town.rounds()
        assert town.deferred == {OFF.fingerprint}
        assert not town.resolves() and len(house.action.runs) == 1
        town.am.complete = True
        town.clock.advance(2)
        await house.until(lambda: not town.deferred, "the decision")
        assert [e["fingerprint"] for e in town.resolves()] == [OFF.fingerprint]
        assert len(house.action.runs) == 1


async def test_a_deferred_alert_is_decided_as_soon_as_a_young_alertmanager_has_it_again() -> None:
    town = Town()
    async with town.house.running() as house:
        town.am.complete = False
        await town.defer(OFF)
        await town.rounds()
        fire(town.am, OFF)
        town.clock.advance(2)
        await house.until(lambda: len(house.action.runs) == 2, "the second run")
        assert not town.resolves()


async def test_a_deferred_alert_is_decided_by_its_age_where_alertmanager_is_out_of_reach() -> None:
    town = Town()
    async with town.house.running() as house:
        await town.defer(OFF)
        town.am.down.update(town.am.urls)
        town.clock.advance(2)
        await house.until(lambda: len(house.action.runs) == 2, "the second run")


# ---- acknowledged ----------------------------------------------------------------------------------------------------


async def ack(town: Town, duration: float = 7200.0) -> str:
    silence_id, _ = await town.watch.acknowledge({"alertname": "A"}, duration, "2h", "ann", "")
    return silence_id


def hides(town: Town, silence_id: str) -> set[str]:
    with town.house.head.reading() as (state, _):
        return set(state.behind[silence_id].hides)


async def hidden(town: Town, *alerts: Alert) -> str:
    """A silence of ours that is known to hide these."""
    fire(town.am, *alerts)
    silence_id = await ack(town)
    await look(town, 1)
    assert hides(town, silence_id) == {one.fingerprint for one in alerts}
    return silence_id


async def look(town: Town, times: int, seconds: float = 60.0) -> None:
    """So many looks of the watch, `seconds` apart, by hand."""
    for _ in range(times):
        town.clock.advance(seconds)
        await town.watch.tick()


async def test_a_young_alertmanager_neither_tells_a_resolve_nor_ends_a_silence() -> None:
    town = Town(ask=False)
    async with town.house.running() as house:
        silence_id = await hidden(town, ON, OFF)
        town.am.complete = False
        town.am.firing.clear()
        await look(town, 10)
        assert hides(town, silence_id) == {ON.fingerprint, OFF.fingerprint}
        assert not town.resolves() and not house.of_kind("ack_ended")
        assert town.am.made[silence_id].state == "active"
        fire(town.am, ON)
        town.am.complete = True
        await look(town, 1)
        assert [e["fingerprint"] for e in town.resolves()] == [OFF.fingerprint]
        assert hides(town, silence_id) == {ON.fingerprint}


async def test_what_a_young_alertmanager_has_is_hidden_and_its_resolve_told() -> None:
    town = Town(ask=False)
    async with town.house.running():
        silence_id = await hidden(town, ON)
        town.am.complete = False
        town.am.firing.clear()
        fire(town.am, OFF)
        await look(town, 1)
        assert hides(town, silence_id) == {ON.fingerprint, OFF.fingerprint}
        town.am.complete = True
        town.am.firing.clear()
        await look(town, 1)
        assert {e["fingerprint"] for e in town.resolves()} == {ON.fingerprint, OFF.fingerprint}


async def test_the_five_minutes_stand_still_while_alertmanager_is_young() -> None:
    """Two minutes gone, ten minutes young, and it takes three more: neither counted nor begun anew."""
    assert acks.GONE_FOR == 300.0
    town = Town(ask=False)
    async with town.house.running() as house:
        silence_id = await hidden(town, ON)
        town.am.firing.clear()
        await look(town, 3)
        town.am.complete = False
        await look(town, 10)
        town.am.complete = True
        await look(town, 2)
        assert not house.of_kind("ack_ended")
        await look(town, 1)
        [ended] = house.of_kind("ack_ended")
        assert (ended["silence_id"], ended["reason"]) == (silence_id, "resolved")


async def test_a_silence_that_expires_meanwhile_is_kept_in_mind_until_its_resolve_can_be_told() -> None:
    town = Town(ask=False)
    async with town.house.running() as house:
        silence_id = await hidden(town, ON)
        town.am.complete = False
        town.am.firing.clear()
        await look(town, 2, 7200.0)
        assert not house.of_kind("ack_ended")
        town.am.complete = True
        await look(town, 1)
        assert [e["fingerprint"] for e in town.resolves()] == [ON.fingerprint]
        assert [e["reason"] for e in house.of_kind("ack_ended")] == ["expired"]
        assert silence_id in town.am.made


async def test_a_silence_that_expires_with_nothing_to_tell_ends_at_once() -> None:
    town = Town(ask=False)
    async with town.house.running() as house:
        await hidden(town, ON)
        town.am.complete = False
        await look(town, 1, 7200.0)
        assert [e["reason"] for e in house.of_kind("ack_ended")] == ["expired"]
