"""All wired together: the start, what comes round, the brake in a storm, the store that fails, the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autoheal.core.gates import Silenced
from autoheal.core.moves.people import Approve, SetMode
from autoheal.core.policy import BlastRadius, Limits, Policy, VerifySpec
from autoheal.engine import engine as engine_module
from autoheal.engine.ports import StoreUnavailable
from autoheal.testing.fake_world import FakeAlertmanagers
from tests.unit.core.make import T0, alert, policy, resolved, rule, step
from tests.unit.engine.house import House

pytestmark = pytest.mark.anyio
FROM = "http://am-1:9093"


def quick(**values: Any) -> Policy:
    """Nothing is verified."""
    return policy(rule(steps=(step(),), **values))


def clustered(by: Policy | None = None) -> tuple[House, FakeAlertmanagers]:
    cluster = FakeAlertmanagers()
    return House(by or quick(), alertmanagers=cluster), cluster


async def test_a_start_is_on_record_in_order() -> None:
    house = House()
    async with house.running():
        assert [e["kind"] for e in house.events] == ["started", "mode_changed", "policy_loaded", "heartbeat"]
        assert house.head.healthy and house.engine.runner.brake.acts
    assert [e["kind"] for e in house.events][-1] == "stopped"


async def test_it_does_not_start_without_its_ledger() -> None:
    house = House()
    house.ledger.fail("load")
    with pytest.raises(StoreUnavailable):
        await house.engine.start()
    house.head.stop()


async def test_from_alert_to_healed() -> None:
    house = House(policy(rule(steps=(step(verify=VerifySpec("http", "u", 60.0, 0.01)),))))
    async with house.running():
        [answer] = await house.hear(alert())
        done = await house.comes_to(answer["remediation_id"], "healed")
        assert done.effect == "healed"
    assert [e["kind"] for e in house.events if e.get("remediation_id")] == [
        "decision_act",
        "action_started",
        "action_ok",
        "verify_ok",
    ]


async def test_the_environment_decides_whether_it_acts() -> None:
    house = House(quick(), mode=(True, True))
    async with house.running():
        assert (await house.hear(alert()))[0]["result"] == "dry_run"
    assert house.action.runs == []


async def test_what_was_reserved_is_started_by_the_next_process() -> None:
    house = House(quick(cooldown_by=("instance",)))
    house.action.hold()
    async with house.running():
        heard = await house.hear(*(alert(instance=f"i{n}") for n in range(9)))
        await house.until(lambda: house.action.at_once == 4)
        house.engine.runner._stopping = True
    ids = [a["remediation_id"] for a in heard]
    assert sorted(house.state(rid) for rid in ids) == ["healed"] * 4 + ["reserved"] * 5
    after = house.again()
    async with after.running():
        for rid in ids:
            await after.comes_to(rid, "healed")
    assert len(house.action.runs) == 4 and len(after.action.runs) == 5


# ---- what comes round -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["", FROM])
async def test_what_was_skipped_for_its_cooldown_acts_when_that_ends(origin: str) -> None:
    house, cluster = clustered()
    two = alert(instance="i2")
    cluster.fire(two.fingerprint, two.labels, two.starts_at)
    async with house.running():
        one, other = await house.hear(alert(), two, origin=origin)
        assert other["reason"] == "in_progress"
        await house.comes_to(one["remediation_id"], "healed")
        await house.until(lambda: [e for e in house.of_kind("decision_skip") if e["reason"] == "cooldown"])
        assert len(house.action.runs) == 1
        house.clock.advance(60.0)
        await house.until(lambda: len(house.action.runs) == 2)
    assert house.of_kind("decision_act")[1]["labels"]["instance"] == "i2"


async def test_what_does_not_fire_any_more_is_not_decided_again() -> None:
    house, _ = clustered()
    async with house.running():
        await house.hear(alert(), alert(instance="i2"), origin=FROM)
        await house.until(lambda: "resolves" in house.events[-1] or house.of_kind("decision_skip")[-1].get("resolves"))
        house.clock.advance(600.0)
    assert len(house.action.runs) == 1


async def test_while_alertmanager_does_not_know_yet_what_fires_nothing_is_decided_again() -> None:
    house, cluster = clustered()
    cluster.complete = False
    two = alert(instance="i2")
    async with house.running():
        one, _ = await house.hear(alert(), two, origin=FROM)
        await house.comes_to(one["remediation_id"], "healed")
        house.clock.advance(600.0)
        asked = cluster.asked
        await house.until(lambda: cluster.asked > asked)
        assert len(house.of_kind("decision_skip")) == 1
        cluster.fire(two.fingerprint, two.labels, two.starts_at)
        house.clock.advance(2.0)
        await house.until(lambda: len(house.action.runs) == 2)


async def test_out_of_reach_of_alertmanager_what_was_heard_lately_is_decided_again() -> None:
    house, cluster = clustered()
    cluster.down = set(cluster.urls)
    async with house.running():
        await house.hear(alert(), alert(instance="i2"), origin=FROM)
        await house.until(lambda: len(house.action.runs) == 1)
        await house.until(lambda: [e for e in house.of_kind("decision_skip") if e["reason"] == "cooldown"])
        house.clock.advance(60.0)
        await house.until(lambda: len(house.action.runs) == 2)


async def test_silenced_is_asked_before_a_start_and_decided_again_when_the_silence_ends() -> None:
    house, cluster = clustered()
    silence = await cluster.create_silence(alert().labels, T0, T0 + 100.0, "bob", "")
    cluster.fire(alert().fingerprint, alert().labels, T0, (silence,))
    async with house.running():
        [answer] = await house.hear(alert(), origin=FROM)
        row = await house.comes_to(answer["remediation_id"], "cancelled")
        assert row.reason == "silenced"
        cluster.fire(alert().fingerprint, alert().labels, T0)
        house.clock.advance(100.0)
        await house.until(lambda: len(house.action.runs) == 1)


async def test_alertmanager_out_of_reach_before_a_start_passes_and_the_trace_says_so() -> None:
    house, cluster = clustered()
    cluster.down = set(cluster.urls)
    async with house.running():
        assert await asyncio.to_thread(house.engine._silenced, "f") == Silenced(False)
        [answer] = await house.hear(alert(), origin=FROM)
        await house.comes_to(answer["remediation_id"], "healed")


async def test_without_an_alertmanager_nobody_is_asked() -> None:
    house = House()
    assert house.engine._silenced("f") is None
    assert await house.engine.book.silenced("f") is None and await house.engine.book.page() is None


async def test_an_approval_runs_out_by_itself() -> None:
    house = House(quick(approval_timeout=100.0))
    async with house.running():
        [answer] = await house.hear(alert())
        assert answer["reason"] == "approval"
        house.clock.advance(100.0)
        await house.comes_to(answer["remediation_id"], "expired")


async def test_an_approval_lets_it_act() -> None:
    house = House(quick(approval_timeout=100.0))
    async with house.running():
        [answer] = await house.hear(alert())
        assert await house.play(Approve(answer["remediation_id"], "ann")) == "reserved"
        await house.comes_to(answer["remediation_id"], "healed")


async def test_the_blast_radius_lets_go_by_itself() -> None:
    by = policy(rule(steps=(step(),), cooldown_by=("instance",)), limits=Limits(4, BlastRadius(2, 100.0)))
    house = House(by)
    async with house.running():
        heard = await house.hear(*(alert(instance=f"i{n}") for n in range(5)))
        await house.until(lambda: len(house.action.runs) == 2)
        for reached in (4, 5):
            house.clock.advance(100.0)
            await house.until(lambda reached=reached: len(house.action.runs) == reached)  # type: ignore[misc]
        for answer in heard:
            await house.comes_to(answer["remediation_id"], "healed")
        await house.until(lambda: house.of_kind("settled"))
    assert len(house.of_kind("escalated")) == 1


async def test_a_heart_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(options={})
    object.__setattr__(house.engine.options, "heartbeat", 0.01)
    async with house.running():
        await house.until(lambda: len(house.of_kind("heartbeat")) > 3)


async def test_a_timer_that_breaks_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(quick(approval_timeout=100.0))
    broken = [RuntimeError("boom"), StoreUnavailable("down")]

    def sometimes(*about: Any) -> bool:
        if broken:
            raise broken.pop()
        return True

    monkeypatch.setattr(engine_module, "wants_wake", sometimes)
    async with house.running():
        [answer] = await house.hear(alert())
        house.clock.advance(100.0)
        await house.comes_to(answer["remediation_id"], "expired")


# ---- the brake, the store, the end ----------------------------------------------------------------------------------


async def test_the_brake_in_a_storm_of_a_thousand() -> None:
    house = House(quick(cooldown_by=("instance",)))
    async with house.running():
        storm = asyncio.ensure_future(house.hear(*(alert(instance=f"i{n}") for n in range(1000))))
        await house.until(lambda: len(house.action.runs) > 30)
        await house.play(SetMode(True, True, "ann"))
        begun = len(house.action.runs)
        ids = [a["remediation_id"] for a in await storm]
        await house.until(lambda: all(house.state(rid) in ("healed", "cancelled", "expired") for rid in ids))
        assert len(house.action.runs) == begun < 1000


async def test_when_the_store_is_back_all_is_well_by_itself() -> None:
    house = House(quick())
    async with house.running():
        house.ledger.fail("begin", times=None, error=OSError("no space left on device"))
        with pytest.raises(StoreUnavailable, match="no space"):
            await house.hear(alert())
        assert not house.head.healthy
        house.ledger.mend()
        await house.until(lambda: house.head.healthy)
        [answer] = await house.hear(alert())
        await house.comes_to(answer["remediation_id"], "healed")
    assert len(house.action.runs) == 1


async def test_an_end_waits_for_what_runs() -> None:
    house = House(quick())
    house.action.hold()
    async with house.running():
        [answer] = await house.hear(alert())
        await house.comes_to(answer["remediation_id"], "running")
    assert house.state(answer["remediation_id"]) == "healed"
    assert house.events[-1]["kind"] == "stopped" and house.events[-1]["running"] == 0


async def test_an_end_is_bounded_and_says_what_still_ran() -> None:
    house = House(quick(), options={"drain": 0.0})
    house.action.hold()
    await house.engine.start()
    [answer] = await house.hear(alert())
    await house.comes_to(answer["remediation_id"], "running")
    await house.engine.stop("test")
    assert (house.events[-1]["reason"], house.events[-1]["running"]) == ("test", 1)
    house.action.release()
    await house.until(lambda: not any(t.is_alive() for t in house.engine.runner._threads))
    assert house.state(answer["remediation_id"]) == "running", "its end came too late to be recorded"


async def test_an_end_without_a_store_ends_too() -> None:
    house = House()
    async with house.running():
        pass
    house = House()
    await house.engine.start()
    house.ledger.fail("begin", times=None)
    await house.engine.stop()
    assert house.events[-1]["kind"] != "stopped"


async def test_a_resolve_while_it_waits_for_its_turn_prevents_the_start() -> None:
    house = House(quick(cooldown_by=("instance",)))
    house.action.hold()
    async with house.running():
        heard = await house.hear(*(alert(instance=f"i{n}") for n in range(5)))
        await house.until(lambda: house.action.at_once == 4)
        [waiting] = [
            (n, a["remediation_id"]) for n, a in enumerate(heard) if house.state(a["remediation_id"]) == "reserved"
        ]
        await house.hear(resolved(instance=f"i{waiting[0]}"))
        house.action.release()
        for answer in heard:
            rid = answer["remediation_id"]
            await house.until(lambda rid=rid: house.state(rid) in ("healed", "cancelled"))  # type: ignore[misc]
        assert house.state(waiting[1]) == "cancelled" and len(house.action.runs) == 4
