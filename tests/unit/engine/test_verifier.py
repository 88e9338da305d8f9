"""The eyes: healed, failed, inconclusive; and what reality says after a crash."""

from __future__ import annotations

from typing import Any

import pytest

from autoheal.core.moves.acting import AGAIN, MayStart, Outcome, Probed, Start
from autoheal.core.moves.people import Cancel, SetMode, Settle
from autoheal.core.policy import Policy, VerifySpec
from autoheal.engine.ports import ActionResult, Active, Seen
from autoheal.testing.fake_world import FakeAlertmanagers
from autoheal.testing.memory_ledger import Disk
from tests.unit.core.make import Play, alert, policy, resolved, rule, step
from tests.unit.engine.house import House, recorded

pytestmark = pytest.mark.anyio
URL = "http://svc/health"


def looked_at(kind: str = "http", within: float = 30.0, every: float = 0.01, **values: Any) -> Policy:
    return policy(rule(steps=(step(verify=VerifySpec(kind, URL, within, every)),), **values))


async def test_three_good_answers_over_ten_seconds_are_healed() -> None:
    house = House(looked_at())
    house.probes.say(URL, "bad", "good", "bad", "good")
    async with house.running():
        [answer] = await house.hear(alert())
        done = await house.comes_to(answer["remediation_id"], "healed")
        assert done.effect == "healed" and len(house.probes.asked) == 6
    assert [e["kind"] for e in house.events if "remediation_id" in e] == [
        "decision_act",
        "action_started",
        "action_ok",
        "verify_ok",
    ]


async def test_bad_until_the_end_is_failed() -> None:
    house = House(looked_at())
    house.probes.say(URL, "good", "bad")
    async with house.running():
        [answer] = await house.hear(alert())
        done = await house.comes_to(answer["remediation_id"], "failed")
        assert done.steps[0]["verdict"] == "fail" and len(house.probes.asked) == 6


async def test_a_row_of_good_answers_that_has_begun_may_be_completed_after_the_end() -> None:
    house = House(looked_at(within=10.0))
    house.probes.say(URL, "bad", "good")
    async with house.running():
        [answer] = await house.hear(alert())
        await house.comes_to(answer["remediation_id"], "healed")
    assert house.of_kind("escalated") == []


@pytest.mark.parametrize("answer", ["none", RuntimeError("a probe of ours broke")])
async def test_nothing_to_see_is_inconclusive_is_told_and_looked_at_on(answer: Any) -> None:
    house = House(looked_at())
    house.probes.say(URL, answer)
    async with house.running():
        [heard] = await house.hear(alert())
        rid = heard["remediation_id"]
        await house.until(lambda: house.of_kind("escalated"))
        asked = len(house.probes.asked)
        await house.until(lambda: len(house.probes.asked) > asked + 5, "it looks on")
        assert house.state(rid) == "verifying"
        house.probes.say(URL, "good")
        await house.comes_to(rid, "healed")
    assert len(house.of_kind("verify_inconclusive")) == len(house.of_kind("escalated")) == 1
    assert house.of_kind("settled")[0]["reason"] == "healed"


async def test_after_inconclusive_it_may_still_fail() -> None:
    house = House(looked_at())
    house.probes.say(URL, "none")
    async with house.running():
        [heard] = await house.hear(alert())
        await house.until(lambda: house.of_kind("verify_inconclusive"))
        house.probes.say(URL, "bad")
        await house.comes_to(heard["remediation_id"], "failed")


async def test_a_clock_that_is_set_back_meanwhile_changes_nothing() -> None:
    house = House(looked_at())
    house.probes.say(URL, "bad")
    async with house.running():
        [heard] = await house.hear(alert())
        await house.until(lambda: house.probes.asked)
        house.clock.jump(-315_360_000.0)
        await house.comes_to(heard["remediation_id"], "failed")


async def test_a_verification_that_somebody_cancels_ends() -> None:
    house = House(looked_at(within=1e9))
    house.probes.say(URL, "bad")
    async with house.running():
        [heard] = await house.hear(alert())
        rid = heard["remediation_id"]
        await house.comes_to(rid, "verifying")
        await house.play(Cancel(rid, "ann"))
        await house.until(lambda: not house.engine.verifier._tasks)
        assert house.state(rid) == "cancelled"


async def test_a_verdict_that_the_store_does_not_take_is_told_later() -> None:
    house = House(looked_at())
    house.probes.say(URL, "bad")
    async with house.running():
        [heard] = await house.hear(alert())
        await house.comes_to(heard["remediation_id"], "verifying")
        house.ledger.fail("commit", times=None)
        house.probes.say(URL, "good")
        await house.until(lambda: not house.head.healthy)
        house.ledger.mend()
        await house.comes_to(heard["remediation_id"], "healed")
    assert len(house.of_kind("verify_ok")) == 1


# ---- resolved -------------------------------------------------------------------------------------------------------


async def test_resolved_asks_alertmanager_silenced_ones_included() -> None:
    cluster = FakeAlertmanagers()
    house = House(looked_at("resolved", within=1e6), alertmanagers=cluster)
    cluster.fire(alert().fingerprint, alert().labels, alert().starts_at)
    async with house.running(), house.time_passing():
        [heard] = await house.hear(alert())
        rid = heard["remediation_id"]
        await house.comes_to(rid, "verifying")
        cluster.fire(alert().fingerprint, alert().labels, alert().starts_at, ("s1",))
        asked = cluster.asked
        await house.until(lambda: cluster.asked > asked + 5)
        assert house.state(rid) == "verifying", "silenced is not gone"
        cluster.firing.clear()
        await house.comes_to(rid, "healed")


async def test_resolved_with_alertmanager_out_of_reach_is_inconclusive() -> None:
    cluster = FakeAlertmanagers()
    house = House(looked_at("resolved"), alertmanagers=cluster)
    cluster.down = set(cluster.urls)
    async with house.running(), house.time_passing():
        [heard] = await house.hear(alert())
        await house.until(lambda: house.of_kind("verify_inconclusive"))
        assert house.state(heard["remediation_id"]) == "verifying"
        assert "out of reach" in house.of_kind("verify_inconclusive")[0]["detail"]


async def test_resolved_with_an_alertmanager_that_restarted_lately_is_not_believed() -> None:
    cluster = FakeAlertmanagers(complete=False)
    house = House(looked_at("resolved"), alertmanagers=cluster)
    async with house.running(), house.time_passing():
        [heard] = await house.hear(alert())
        await house.until(lambda: house.of_kind("verify_inconclusive"))
        cluster.complete = True
        await house.comes_to(heard["remediation_id"], "healed")


async def test_resolved_without_an_alertmanager_believes_the_webhook_and_is_hastened_by_it() -> None:
    house = House(looked_at("resolved", within=600.0, every=3600.0))
    async with house.running():
        [heard] = await house.hear(alert())
        rid = heard["remediation_id"]
        await house.comes_to(rid, "verifying")
        await house.until(lambda: house.engine.verifier._tasks)
        for _ in range(3):
            house.clock.advance(5.0)
            await house.hear(resolved())
            await house.until(lambda: taken_up(house), "an hour lies between two looks, but it looks at once")
        await house.comes_to(rid, "healed")
    assert not house.probes.asked


def taken_up(house: House) -> bool:
    return not any(watch.nudge.is_set() for watch in house.engine.verifier._watches.values())


# ---- after a crash --------------------------------------------------------------------------------------------------


def crashed(by: Policy, *states: str) -> tuple[Disk, list[str]]:
    """What a killed process leaves: remediations in these states, one for each instance."""
    it = Play(by)
    it.play(SetMode(True, False, "environment", "env", "enabled=true dry_run=false"))
    ids = it.accepted(*(alert(instance=f"i{n}") for n in range(len(states))))
    for rid, state in zip(ids, states, strict=True):
        start = it.play(MayStart(rid))
        assert isinstance(start, Start)
        if state != "running":
            it.play(Outcome(rid, start.token, "ok" if state == "verifying" else "unknown"))
        if state == "told":
            it.play(Probed(rid, start.token, False))
    return recorded(it), ids


def left(*states: str, verify: bool = True) -> tuple[House, list[str]]:
    by = looked_at(cooldown_by=("instance",))
    if not verify:
        by = policy(rule(cooldown_by=("instance",), steps=(step(),)))
    disk, ids = crashed(by, *states)
    return House(by, disk=disk), ids


async def test_what_ran_is_probed_and_ends_as_healed_when_all_is_well() -> None:
    house, [rid] = left("running")
    async with house.running():
        done = await house.comes_to(rid, "healed")
        assert (done.reason, done.effect) == ("probe", "healed") and len(house.probes.asked) == 3
    assert house.action.runs == [] and house.of_kind("started")[0]["interrupted"] == 1


async def test_what_ran_and_does_not_look_well_is_unknown_told_and_never_run_again() -> None:
    house, [rid] = left("running")
    house.probes.say(URL, "bad")
    async with house.running():
        await house.comes_to(rid, "unknown")
        await house.until(lambda: house.of_kind("escalated"))
        assert (await house.hear(alert(instance="i0")))[0]["reason"] == "unsettled"
        await house.play(Settle(rid, "ann", "failed"))
    assert house.action.runs == [] and len(house.of_kind("action_unknown")) == 1


async def test_what_ran_without_a_verification_is_unknown_at_once() -> None:
    house, [rid] = left("running", verify=False)
    async with house.running():
        await house.comes_to(rid, "unknown")
        await house.until(lambda: house.of_kind("escalated"))
    assert house.of_kind("action_unknown")[0]["detail"] == "there is no verify to ask"


async def test_a_verification_is_taken_up_again() -> None:
    house, [rid] = left("verifying")
    async with house.running():
        await house.comes_to(rid, "healed")
    assert house.action.runs == []


async def test_an_unknown_of_which_nobody_was_told_is_probed_one_that_was_told_waits() -> None:
    house, [untold, told] = left("unknown", "told")
    async with house.running():
        done = await house.comes_to(untold, "healed")
        assert done.reason == "probe" and len(house.probes.asked) == 3
        assert house.state(told) == "unknown"


async def test_a_timeout_without_a_confirmed_kill_is_probed() -> None:
    house = House(looked_at())
    house.action.then(ActionResult("unknown", error="timeout"))
    house.probes.say(URL, "bad", "good")
    async with house.running():
        [heard] = await house.hear(alert())
        done = await house.comes_to(heard["remediation_id"], "healed")
        assert done.reason == "probe"
    assert len(house.of_kind("action_unknown")) == 1 and house.of_kind("escalated") == []


async def test_a_late_success_is_verified_though_a_probe_is_under_way() -> None:
    house = House(looked_at(within=1e9))
    house.action.then(ActionResult("unknown", error="timeout"))
    house.probes.say(URL, "bad")
    async with house.running():
        [heard] = await house.hear(alert())
        rid = heard["remediation_id"]
        row = await house.comes_to(rid, "unknown")
        await house.until(lambda: house.probes.asked)
        assert await house.play(Outcome(rid, str(row.token), "ok"))
        house.probes.say(URL, "good")
        done = await house.comes_to(rid, "healed")
        assert done.reason != "probe" and done.steps[0]["verdict"] == "ok"


# ---- what a commit leaves whose answer was lost ---------------------------------------------------------------------


async def test_an_end_whose_answer_was_lost_is_verified_all_the_same() -> None:
    house = House(looked_at())

    def succeed() -> ActionResult:
        house.ledger.fail("after_commit")
        return ActionResult("ok", 0)

    house.action.then(succeed)
    async with house.running():
        [heard] = await house.hear(alert())
        await house.comes_to(heard["remediation_id"], "healed")
    assert len(house.of_kind("action_ok")) == 1


async def test_a_start_whose_answer_was_lost_did_not_happen_and_is_decided_again() -> None:
    house = House(looked_at(), alertmanagers=FakeAlertmanagers())
    lost: list[int] = []
    heard = alert()

    class LosesTheStart(FakeAlertmanagers):
        async def alerts(self, matchers: Any = ()) -> Any:
            if not lost:
                lost.append(1)
                house.ledger.fail("after_commit")
            return Active([Seen(heard.fingerprint, heard.labels, heard.starts_at)])

    house.engine.book.alertmanagers = LosesTheStart()
    async with house.running():
        [answer] = await house.hear(heard)
        done = await house.comes_to(answer["remediation_id"], "expired")
        assert done.reason == "not_started" and house.action.runs == []
        house.clock.advance(AGAIN)
        again = await house.until(lambda: house.of_kind("decision_act")[1:])
        await house.comes_to(again[0]["remediation_id"], "healed")
        assert len(house.action.runs) == 1


async def test_what_is_in_hand_is_not_probed() -> None:
    house = House(looked_at())
    house.action.hold()
    async with house.running():
        [heard] = await house.hear(alert())
        await house.comes_to(heard["remediation_id"], "running")
        for _ in range(5):
            await house.engine.verifier.sweep()
        assert house.engine.verifier._tasks == {} and house.probes.asked == []
        house.action.release()
        await house.comes_to(heard["remediation_id"], "healed")


async def test_before_the_loop_is_known_nothing_is_listened_to() -> None:
    house = House(looked_at())
    house.engine.verifier.listen([{"kind": "action_ok", "remediation_id": "r1"}], [], 0.0)
    house.engine.verifier.listen([{"kind": "heartbeat"}], [], 0.0)
    assert house.engine.verifier._tasks == {}
