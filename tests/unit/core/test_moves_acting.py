"""A remediation goes its way: its start, its end, its verdict, and what nobody saw."""

from __future__ import annotations

import pytest

from autoheal.core.moves.acting import (
    AGAIN,
    BUSY,
    KILLED_WITHIN,
    START_WINDOW,
    MayStart,
    Outcome,
    Probed,
    Start,
    Verified,
)
from autoheal.core.moves.service import PolicyLoaded
from autoheal.core.policy import DEFAULT_QUEUE, AttemptBudget, BlastRadius, Limits, VerifySpec
from tests.unit.core.make import T0, Play, alert, http, policy, resolved, rule, step

LADDER = (step("do", "{labels.instance}", verify=http()), step("do", "more", verify=http()))


def test_a_start_carries_what_the_hands_need_and_is_on_record_first() -> None:
    it = Play.live(rule(steps=(step("do", "{labels.instance}", verify=http(), timeout=7.0),)))
    [rid] = it.accepted(alert())
    it.now += 2.0
    start = it.start(rid)
    event = it.events[-1]
    assert start == Start(rid, f"{rid}.0.{event['id']}", "fake", {"do": "i1"}, 7.0, "do i1", T0 + 2.0 + START_WINDOW)
    assert (event["kind"], event["token"], event["cmd"], event["step"]) == ("action_started", start.token, "do i1", 0)
    assert event["verify"] == {"kind": "http", "target": "http://svc/health", "within": 60.0, "every": 5.0}
    assert event["wait_seconds"] == 2.0
    assert it.state.remediations[rid].started_at == T0 + 2.0


def test_the_target_of_a_verification_is_filled_in() -> None:
    verify = VerifySpec("tcp", "{labels.instance}:80", 30.0, 1.0)
    it = Play.live(rule(steps=(step(verify=verify),)))
    [rid] = it.accepted(alert())
    it.start(rid)
    assert it.events[-1]["verify"]["target"] == "i1:80"


def test_nothing_starts_twice_or_without_being_reserved() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    it.start(rid)
    before = len(it.lines)
    assert it.may_start(rid) is None and it.may_start("r999") is None
    assert len(it.lines) == before


def test_with_every_start_held_back_by_the_mode_each_of_a_thousand_ends_cancelled() -> None:
    it = Play.live(rule(cooldown_by=("instance",)))
    ids = it.accepted(*(alert(instance=f"i{n}") for n in range(1000)))
    it.mode(True, True)
    assert [it.may_start(rid) for rid in ids] == [None] * 1000
    assert {(it.row(rid).state, it.row(rid).reason) for rid in ids} == {("cancelled", "dry_run")}
    assert it.of_kind("action_started") == [] and it.state.reserved == {}


def test_switched_off_it_ends_cancelled() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    it.mode(False, False)
    assert it.may_start(rid) is None and it.row(rid).reason == "disabled"


def test_a_rule_that_changed_before_the_start_ends_it() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    it.play(PolicyLoaded(policy(rule(digest="r-2"), digest="p2")))
    assert it.may_start(rid) is None
    assert (it.row(rid).state, it.row(rid).reason) == ("cancelled", "rule_changed")
    assert it.hear(alert())[0]["result"] == "accepted", "its slot is free"


def test_a_start_may_be_held_by_the_blast_radius_and_goes_on_later() -> None:
    limits = Limits(4, BlastRadius(2, 100.0))
    it = Play.live(rule(steps=LADDER), rule("b", "B"), limits=limits)
    one, two = it.accepted(alert(), alert("B"))
    start = it.start(one)
    it.outcome(start, "fail")
    assert it.may_start(one) is None and it.state.remediations[one].state == "held"
    assert list(it.state.escalations) == ["blast_radius"]
    it.start(two)
    it.now += 100.0
    it.wake()
    assert it.start(one).cmd == "do more"


def test_a_step_that_cannot_be_filled_in_is_a_failure_and_the_next_is_tried() -> None:
    steps = (step(verify=http()), step("do", "{labels.team}"), step("do", "last"))
    it = Play.live(rule(steps=steps))
    [rid] = it.accepted(alert())
    it.outcome(it.start(rid), "fail", rc=1)
    assert it.may_start(rid) is None
    assert "labels.team" in it.events[-1]["error"] and it.events[-1]["step"] == 1
    assert [s["result"] for s in it.state.remediations[rid].steps] == ["fail"], "the step that ran keeps its own end"
    assert it.state.remediations[rid].steps[0]["rc"] == 1
    assert it.start(rid).cmd == "do last"


def test_a_verification_that_cannot_be_filled_in_starts_nothing() -> None:
    it = Play.live(rule(steps=(step(verify=VerifySpec("http", "http://{labels.team}", 9.0)),)))
    [rid] = it.accepted(alert())
    assert it.may_start(rid) is None
    assert it.row(rid).state == "failed" and it.row(rid).started_at is None and it.of_kind("action_started") == []
    assert it.hear(alert())[0]["result"] == "accepted", "it never started: the slot is free"


# ---- outcomes -------------------------------------------------------------------------------------------------------


def begun(**values: object) -> tuple[Play, str, Start]:
    it = Play.live(rule(**values))
    [rid] = it.accepted(alert())
    return it, rid, it.start(rid)


def test_ok_then_healed() -> None:
    it, rid, start = begun()
    it.now += 3.0
    assert it.outcome(start, "ok", rc=0, output="out", duration=2.5)
    ok = it.events[-1]
    assert (ok["kind"], ok["state"], ok["rc"], ok["output"], ok["duration_seconds"]) == (
        "action_ok",
        "verifying",
        0,
        "out",
        2.5,
    )
    assert it.state.remediations[rid].verify_until == T0 + 63.0
    it.now += 12.0
    assert it.verdict(start, "healed", "3 in a row")
    done = it.row(rid)
    assert (done.state, done.effect, done.ended_at) == ("healed", "healed", T0 + 15.0)
    assert it.events[-1]["time_to_heal_seconds"] == 15.0
    assert done.steps[0]["verdict"] == "ok" and done.steps[0]["detail"] == "3 in a row"
    assert it.state.remediations == {} and it.state.by_fingerprint == {}


def test_ok_without_a_verification_ends_with_effect_unknown() -> None:
    it, rid, start = begun(steps=(step(),))
    it.outcome(start, "ok")
    assert (it.row(rid).state, it.row(rid).effect) == ("healed", "unknown")


def test_the_second_step_follows_a_failure_and_exhausted_tells_once() -> None:
    it, rid, start = begun(steps=LADDER, escalate="critical")
    it.outcome(start, "fail", rc=3, error="no")
    assert it.state.remediations[rid].state == "reserved" and it.of_kind("escalated") == []
    second = it.start(rid)
    assert second.cmd == "do more" and second.token != start.token
    it.outcome(second, "ok")
    it.verdict(second, "failed")
    done = it.row(rid)
    assert (done.state, done.effect) == ("exhausted", "ineffective")
    assert [s["result"] for s in done.steps] == ["fail", "ok"]
    [told] = it.of_kind("escalated")
    assert (told["severity"], told["reason"], told["remediation_id"]) == ("critical", "exhausted", rid)


def test_a_failed_verification_climbs_too() -> None:
    it, rid, start = begun(steps=LADDER)
    it.outcome(start, "ok")
    it.verdict(start, "failed")
    assert it.start(rid).cmd == "do more"


def test_one_step_that_fails_is_failed() -> None:
    it, rid, start = begun()
    it.outcome(start, "fail")
    assert it.row(rid).state == "failed" and list(it.state.escalations) == [f"remediation:{rid}"]


def test_a_failure_after_the_resolve_pages_nobody() -> None:
    it, rid, start = begun()
    it.hear(resolved())
    it.outcome(start, "fail")
    assert (it.row(rid).state, it.row(rid).effect) == ("failed", "self_resolved")
    assert it.state.escalations == {}


def test_a_failure_after_the_resolve_does_not_climb() -> None:
    it, rid, start = begun(steps=LADDER)
    it.hear(resolved())
    it.outcome(start, "fail")
    assert (it.row(rid).state, it.row(rid).reason, it.row(rid).effect) == ("cancelled", "resolved", "self_resolved")


def test_a_rule_may_climb_on_after_the_resolve() -> None:
    it, rid, start = begun(steps=LADDER, cancel_on_resolve=False)
    it.hear(resolved())
    it.outcome(start, "fail")
    assert it.start(rid).cmd == "do more"


def test_not_started_gives_everything_back() -> None:
    by = rule(max_attempts=AttemptBudget(1, 500.0, ("alertname",)))
    it = Play.live(by, limits=Limits(4, BlastRadius(1, 500.0)))
    [rid] = it.accepted(alert())
    it.outcome(it.start(rid), "not_started")
    assert (it.row(rid).state, it.row(rid).reason, it.row(rid).started_at) == ("expired", "not_started", None)
    assert it.state.slots == {} and not it.state.starts["live"]
    assert it.may_start(it.accepted(alert())[0]) is not None


def test_not_started_gives_back_its_own_attempt_and_not_a_later_one() -> None:
    by = rule(cooldown_by=("instance",), max_attempts=AttemptBudget(2, 100.0, ("alertname",)))
    it = Play.live(by)
    one, two = it.accepted(alert(instance="i1"), alert(instance="i2"))
    first = it.start(one)
    it.now += 5.0
    it.start(two)
    it.outcome(first, "not_started")
    assert it.state.budgets['live|r{alertname="A"}'].times == [T0 + 5.0]


def test_not_started_at_a_later_step_keeps_the_slot() -> None:
    it, rid, start = begun(steps=LADDER)
    it.outcome(start, "fail")
    it.outcome(it.start(rid), "not_started")
    assert it.row(rid).state == "expired" and it.row(rid).started_at == T0
    assert it.hear(alert())[0]["reason"] == "cooldown"
    assert len(it.state.starts["live"]) == 1


def test_another_attempts_outcome_counts_for_nothing() -> None:
    it, rid, start = begun(steps=LADDER)
    assert not it.play(Outcome("r999", start.token, "ok"))
    assert not it.play(Outcome(rid, "other", "ok"))
    it.outcome(start, "fail")
    second = it.start(rid)
    assert not it.outcome(start, "ok"), "the first step has ended already"
    assert it.outcome(second, "ok") and not it.outcome(second, "ok")


# ---- verdicts -------------------------------------------------------------------------------------------------------


def test_inconclusive_holds_and_tells_once_and_healed_settles_it() -> None:
    it, rid, start = begun()
    it.outcome(start, "ok")
    for _ in range(3):
        assert it.verdict(start, "inconclusive", "no data")
    assert it.state.remediations[rid].state == "verifying"
    assert len(it.of_kind("verify_inconclusive")) == len(it.of_kind("escalated")) == 1
    assert it.hear(alert())[0]["reason"] == "in_progress"
    it.verdict(start, "healed")
    assert it.state.escalations == {} and it.row(rid).state == "healed"
    assert it.events[-1]["kind"] == "settled" and it.events[-1]["reason"] == "healed"


def test_inconclusive_then_failed_climbs_and_is_told_anew_at_the_end() -> None:
    it, rid, start = begun()
    it.outcome(start, "ok")
    it.verdict(start, "inconclusive")
    it.verdict(start, "failed")
    assert it.row(rid).state == "failed"
    assert [e["reason"] for e in it.of_kind("escalated")] == ["inconclusive", "failed"]
    assert it.state.escalations[f"remediation:{rid}"].reason == "failed"


def test_a_resolve_ends_a_verification_that_sees_nothing() -> None:
    """Otherwise nobody would be told any more, and the key would be blocked for ever."""
    it, rid, start = begun()
    it.outcome(start, "ok")
    it.verdict(start, "inconclusive")
    it.hear(resolved())
    assert (it.row(rid).state, it.row(rid).effect) == ("cancelled", "unknown") and it.state.escalations == {}


def test_a_resolve_lets_a_verification_that_sees_something_go_on() -> None:
    it, rid, start = begun()
    it.outcome(start, "ok")
    it.hear(resolved())
    assert it.state.remediations[rid].state == "verifying"
    it.verdict(start, "healed")
    assert it.row(rid).effect == "healed"


def test_a_verdict_on_another_attempt_counts_for_nothing() -> None:
    it, rid, start = begun()
    assert not it.verdict(start, "healed"), "it still runs"
    it.outcome(start, "ok")
    assert not it.play(Verified(rid, "other", "healed")) and not it.play(Verified("r9", start.token, "healed"))


def test_healed_settles_what_was_told_of_earlier_attempts() -> None:
    it = Play.live()
    it.act(alert(), verdict="failed")
    it.now += 60.0
    it.act(alert(), verdict="healed")
    assert it.state.escalations == {}


# ---- unknown --------------------------------------------------------------------------------------------------------


def test_unknown_blocks_the_key_until_it_is_settled() -> None:
    it, rid, start = begun()
    it.outcome(start, "unknown", error="timeout")
    assert it.state.remediations[rid].state == "unknown"
    it.now += 1000.0
    assert it.hear(alert())[0]["reason"] == "unsettled"
    assert it.may_start(rid) is None
    it.outcome(start, "unknown")
    assert it.state.remediations[rid].state == "unknown"


def test_a_resolve_settles_unknown_and_wakes_who_waits() -> None:
    it, rid, start = begun()
    other = alert(instance="i2")
    it.outcome(start, "unknown")
    it.play(Probed(rid, start.token, False, "down"))
    it.now += 100.0
    assert it.hear(other)[0]["reason"] == "unsettled"
    it.hear(resolved())
    assert (it.row(rid).state, it.row(rid).reason) == ("cancelled", "resolved") and it.state.escalations == {}
    assert it.due(firing=True)[0]["result"] == "accepted"


def test_a_late_word_that_nothing_was_done_settles_it_and_it_is_decided_again() -> None:
    it, rid, start = begun()
    it.play(Probed(rid, start.token, False, "down"))
    assert it.state.remediations[rid].state == "unknown" and it.state.escalations
    it.outcome(start, "not_started")
    assert (it.row(rid).state, it.row(rid).reason) == ("expired", "not_started") and it.state.escalations == {}
    it.now += AGAIN
    assert it.due(firing=True)[0]["result"] == "accepted"


def test_no_more_start_than_the_policy_lets_act_at_once() -> None:
    it = Play.live(rule(cooldown_by=("instance",)), limits=Limits(concurrent=2))
    first, second, third = it.accepted(*(alert(instance=f"i{n}") for n in range(3)))
    starts = [it.start(first), it.start(second)]
    assert it.play(MayStart(third, None, "elsewhere")) == BUSY
    assert it.row(third).state == "reserved" and b"elsewhere" not in it.lines[-1]
    it.outcome(starts[0], "fail")
    assert it.start(third).remediation_id == third


def test_one_whose_end_is_unknown_keeps_its_place_until_its_time_is_over() -> None:
    it = Play.live(rule(cooldown_by=("instance",)), limits=Limits(concurrent=1))
    first, second = it.accepted(alert(), alert(instance="i2"))
    start = it.start(first)
    it.play(Probed(first, start.token, False, "down"))
    assert it.row(first).state == "unknown" and it.may_start(second) is None
    it.now += start.timeout + KILLED_WITHIN
    assert it.may_start(second) is not None


def test_where_there_is_no_place_the_brake_ends_what_waits_all_the_same() -> None:
    it = Play.live(rule(cooldown_by=("instance",)), limits=Limits(concurrent=1))
    first, second = it.accepted(alert(), alert(instance="i2"))
    it.start(first)
    assert it.play(MayStart(second)) == BUSY
    it.mode(True, True)
    assert it.play(MayStart(second)) is None and it.row(second).state == "cancelled"


def test_what_waits_in_another_queue_is_not_given_to_who_does_not_serve_it() -> None:
    it = Play.live(rule(queue="{labels.region}"))
    [rid] = it.accepted(alert(region="eu"))
    assert it.play(MayStart(rid, None, "w", frozenset({"autoheal", "us"}))) is None
    assert it.row(rid).state == "reserved" and it.row(rid).queue == "eu"
    assert isinstance(it.play(MayStart(rid, None, "w", frozenset({"eu"}))), Start)
    assert it.events[-1]["queue"] == "eu"


def test_what_names_no_queue_waits_in_the_default_one() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    assert it.play(MayStart(rid, None, "w", frozenset({"eu"}))) is None
    assert isinstance(it.play(MayStart(rid, None, "w", frozenset({DEFAULT_QUEUE}))), Start)


@pytest.mark.parametrize("region", [None, "EU!", "-x", "a" * 65])
def test_a_queue_that_cannot_be_filled_in_acts_nowhere(region: str | None) -> None:
    it = Play.live(rule(queue="{labels.region}"))
    [answer] = it.hear(alert(**({"region": region} if region else {})))
    assert (answer["result"], answer["reason"]) == ("skip", "action_not_allowed")


def test_what_outlived_its_time_by_far_takes_no_place() -> None:
    it = Play.live(rule(cooldown_by=("instance",)), limits=Limits(concurrent=1))
    first, second = it.accepted(alert(), alert(instance="i2"))
    start = it.start(first)
    it.now += start.timeout + KILLED_WITHIN - 0.5
    assert it.may_start(second) is None
    it.now += 0.5
    assert it.may_start(second) is not None


def late(status: str) -> tuple[Play, str]:
    it, rid, start = begun()
    it.outcome(start, "unknown")
    it.play(Probed(rid, start.token, False))
    assert it.state.escalations[f"remediation:{rid}"].reason == "unknown"
    it.outcome(start, status)
    return it, rid


def test_a_late_success_is_verified_as_ever() -> None:
    it, rid = late("ok")
    assert it.state.remediations[rid].state == "verifying" and it.state.escalations == {}
    assert it.state.unsettled == {} and it.state.active


def test_a_late_failure_is_told_as_a_failure() -> None:
    it, rid = late("fail")
    assert it.row(rid).state == "failed"
    assert it.state.escalations[f"remediation:{rid}"].reason == "failed", "somebody must still hear of it"


@pytest.mark.parametrize("crashed", [True, False])
def test_a_good_probe_ends_it_as_healed(crashed: bool) -> None:
    it, rid, start = begun()
    if not crashed:
        it.outcome(start, "unknown")
    assert it.play(Probed(rid, start.token, True, "200"))
    assert (it.row(rid).state, it.row(rid).reason, it.row(rid).effect) == ("healed", "probe", "healed")


def test_a_bad_probe_after_a_crash_is_unknown_and_told() -> None:
    it, rid, start = begun()
    assert it.play(Probed(rid, start.token, False, "503"))
    assert it.kinds()[-2:] == ["action_unknown", "escalated"]
    assert it.state.remediations[rid].reason == "interrupted"
    assert it.play(Probed(rid, start.token, False)) and len(it.of_kind("escalated")) == 1
    assert not it.play(Probed(rid, "other", True)) and not it.play(Probed("r9", start.token, True))
