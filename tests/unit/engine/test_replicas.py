"""Several engines on one ledger: who judges, who tells, who decides again, and what becomes of the one that died."""

from __future__ import annotations

from typing import Any

import pytest

from autoheal.core.moves.acting import MayStart, Start
from autoheal.core.moves.people import SetMode
from autoheal.core.moves.service import Unserved
from autoheal.core.policy import Policy, VerifySpec
from autoheal.engine import engine as engine_module
from autoheal.engine import head as head_module
from autoheal.engine import mode as mode_module
from autoheal.engine import presence
from autoheal.engine.engine import Beside, Engine, Options
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import World
from autoheal.testing.clock import ManualClock
from autoheal.testing.fake_world import FakeAlertmanagers, FakeProbes
from autoheal.testing.memory_claims import MemoryClaims, Table
from autoheal.testing.memory_ledger import Disk, MemoryLedger
from tests.unit.core.make import T0, alert, policy, rule, step
from tests.unit.engine.house import House, hurry

pytestmark = pytest.mark.anyio
URL = "http://svc/health"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr(head_module, "POLL", 0.005)
    monkeypatch.setattr(engine_module, "WAKE_LEASE", 0.0)
    monkeypatch.setattr(presence, "RENEW", 0.01)
    monkeypatch.setattr(presence, "TRY_AGAIN", 0.01)


def looked_at(within: float = 30.0) -> Policy:
    return policy(rule(steps=(step(verify=VerifySpec("http", URL, within, 0.01)),), cooldown_by=("instance",)))


class Street:
    """One disk, one table of claims, one clock; as many engines on it as a test wants."""

    def __init__(self, within: float = 30.0) -> None:
        self.within = within
        self.clock = ManualClock(T0)
        self.disk = Disk()
        self.table = Table(self.clock)
        self.alertmanagers: FakeAlertmanagers | None = None

    def house(self, name: str, **values: Any) -> House:
        made = House(looked_at(self.within), clock=self.clock, disk=self.disk, **values)
        made.ledger = MemoryLedger(self.disk, shared=True)
        made.head = HeadThread(made.ledger, self.clock, made.policy, news=made.ledger.lines_after)
        made.head.adopt = lambda document: made.policy
        made.probes = FakeProbes(self.clock, 5.0)
        world = World({"fake": made.action}, made.probes, self.alertmanagers)
        options = Options("test", *made.mode, heartbeat=3600.0, drain=10.0)
        stored = lambda space: [f for f in self.disk.facts.values() if f.space == space]  # noqa: E731
        made.engine = Engine(made.head, world, self.clock, options, Beside(MemoryClaims(self.table, name), stored))
        return made


async def test_one_acts_and_one_judges_whoever_hears_of_it() -> None:
    street = Street()
    one, two = street.house("one"), street.house("two")
    async with one.running(), two.running():
        answers = [await house.hear(alert(instance=f"i{n}")) for n, house in enumerate((one, two, one, two))]
        for [answer] in answers:
            await one.comes_to(answer["remediation_id"], "healed")
        assert len(one.action.runs) + len(two.action.runs) == 4
        assert len(one.of_kind("verify_ok")) == len(one.of_kind("action_started")) == 4
        tokens = [key for key in street.table.duties if key.startswith("verify:")]
        await one.until(lambda: not [k for k in street.table.duties if k.startswith("verify:")], f"{tokens} released")


async def test_what_another_runs_is_left_alone_until_it_is_gone() -> None:
    street = Street()
    dead = HeadThread(MemoryLedger(street.disk, shared=True), street.clock, looked_at())
    one = street.house("one")
    MemoryClaims(street.table, "dead").present(presence.LEASE, {"role": "worker"})
    one.action.hold()
    async with one.running():
        [answer] = await one.hear(alert())
        rid = answer["remediation_id"]
        await one.comes_to(rid, "running")
        one.engine.runner._takes = False  # its own hands stay away from the second
        [other] = await one.hear(alert(instance="i2"))
        dead.start()
        start = dead.submit(MayStart(other["remediation_id"], None, "dead")).result(15)
        dead.stop()
        assert isinstance(start, Start)
        for _ in range(3):
            await one.engine.verifier.sweep()
        assert one.state(other["remediation_id"]) == "running" and one.probes.asked == []
        async with one.time_passing(1.0):
            done = await one.comes_to(other["remediation_id"], "healed")
        assert done.reason == "probe" and done.owner == "dead"
        assert one.state(rid) == "running"  # its own is in good hands all the while
        one.action.release()


async def test_replicas_of_different_environments_hold_the_safer_mode() -> None:
    street = Street()
    live, dry = street.house("live", mode=(True, False)), street.house("dry", mode=(True, True))
    async with live.running():
        assert live.head.state.mode.acts
        async with dry.running():
            await live.until(lambda: not live.head.state.mode.acts, "the safer mode")
            assert not live.engine.runner.brake.acts


async def test_the_brake_at_one_reaches_the_hands_of_the_other() -> None:
    street = Street()
    one, two = street.house("one"), street.house("two")
    async with one.running(), two.running():
        await one.play(SetMode(True, True, "ann"))
        await two.until(lambda: not two.engine.runner.brake.acts, "the brake")


async def test_escalations_are_told_by_one_and_taken_over_when_it_dies() -> None:
    street = Street()
    street.alertmanagers = FakeAlertmanagers()
    one, two = street.house("one"), street.house("two")
    async with one.running(), two.running():
        await one.play(Unserved("eu", 3))
        await two.until(lambda: two.head.state.escalations, "the other to know")
        await one.engine.outbox.tick()
        await two.engine.outbox.tick()
        posts = [posted for bundles in street.alertmanagers.posted.values() for sent in bundles for posted in sent]
        assert len(posts) == len(street.alertmanagers.urls)
        holder = street.table.duties[f"outbox:{street.alertmanagers.urls[0]}"][0]
        survivor = two if holder == "one" else one
        street.clock.advance(61.0)
        await survivor.engine.outbox.tick()
        posts = [posted for bundles in street.alertmanagers.posted.values() for sent in bundles for posted in sent]
        assert len(posts) == 2 * len(street.alertmanagers.urls)


async def test_while_the_claims_are_away_nothing_is_judged_twice_and_it_goes_on_after() -> None:
    street = Street()
    one = street.house("one")
    one.action.hold()
    async with one.running():
        [answer] = await one.hear(alert())
        await one.comes_to(answer["remediation_id"], "running")
        street.table.away = True
        one.action.release()
        await one.comes_to(answer["remediation_id"], "verifying")
        street.table.away = False
        await one.comes_to(answer["remediation_id"], "healed")


async def test_the_brake_is_answered_when_it_has_reached_everybody() -> None:
    street = Street()
    one, two = street.house("one"), street.house("two")
    async with one.running(), two.running():
        answer = await one.engine.switch(SetMode(True, True, "ann"))
        assert "unconfirmed" not in answer and "id" not in answer and answer["dry_run"]
        assert not two.engine.runner.brake.acts


async def test_who_does_not_confirm_the_brake_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mode_module, "CONFIRM", 0.0)
    street = Street()
    one = street.house("one")
    frozen = MemoryClaims(street.table, "frozen")
    frozen.present(presence.LEASE, {"role": "worker"})
    async with one.running():
        assert (await one.engine.switch(SetMode(True, True, "ann")))["unconfirmed"] == ["frozen"]
        frozen.leave()
        assert "unconfirmed" not in await one.engine.switch(SetMode(True, False, "ann"))


async def test_a_probe_of_what_turns_out_to_be_in_good_hands_ends_without_a_verdict() -> None:
    street = Street(within=1e9)
    one = street.house("one")
    worker = MemoryClaims(street.table, "worker")
    one.engine.runner._takes = False
    one.probes.say(URL, "bad")
    async with one.running():
        [answer] = await one.hear(alert())
        rid = answer["remediation_id"]
        await one.play(MayStart(rid, None, "worker"))
        async with one.time_passing(1.0):
            await one.until(lambda: one.engine.verifier._tasks, "the probe of what seems lost")
            worker.present(1e9, {"role": "worker"})
            await one.until(lambda: not one.engine.verifier._tasks, "the probe's end")
        assert one.state(rid) == "running" and not one.of_kind("action_unknown") and not one.of_kind("escalated")
