"""Alerts arrive: each is decided and recorded once; what was skipped for a time is decided again."""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from autoheal.core.decision import Decision
from autoheal.core.gates import RESOLVED_MEMORY, Case, Silenced
from autoheal.core.moves import intake
from autoheal.core.moves.intake import AlertsArrived, Recheck, Refused, Rejected
from autoheal.core.moves.service import PolicyLoaded
from autoheal.core.policy import AttemptBudget, BlastRadius, Limits, Window
from autoheal.core.remediation import Remediation
from tests.unit.core.make import T0, Play, alert, policy, resolved, rule, step

WINDOW = Window("Mon 00:10-Mon 00:20 UTC", 10, 20, ZoneInfo("UTC"))


def test_a_batch_is_received_decided_and_answered_in_order() -> None:
    it = Play.live()
    bad = Refused(1, "labels", "is no mapping", "Odd", "f00")
    move = AlertsArrived([alert(), bad, alert("Unheard")], "alertmanager", "http://am", "autoheal", "{}:{}")
    answers = it.play(move)
    assert [(a["alertname"], a["result"], a["reason"]) for a in answers] == [
        ("A", "accepted", None),
        ("Odd", "rejected", "labels: is no mapping"),
        ("Unheard", "skip", "not_allowlisted"),
    ]
    assert it.kinds(1) == ["webhook_received", "webhook_rejected", "decision_act", "decision_skip"]
    received, refused, act, skip = it.events[1:]
    assert (received["alerts"], received["receiver"], received["group_key"]) == (3, "autoheal", "{}:{}")
    assert refused["count"] == 1 and refused["problems"][0]["field"] == "labels"
    assert answers[0]["remediation_id"] == act["remediation_id"] == f"r{act['id']}"
    assert answers[1]["remediation_id"] is None and answers[2]["remediation_id"] is None
    assert act["trace"]["rule"] == "r" and act["cmd"] == "do it" and act["origin"] == "http://am"
    assert "rule" not in skip


def test_a_refusal_without_a_field_says_the_problem_alone() -> None:
    [answer] = Play.live().play(AlertsArrived([Refused(0, "", "is no object")]))
    assert answer["reason"] == "is no object"


def test_many_refused_are_counted_and_the_first_ten_named() -> None:
    it = Play()
    it.play(Rejected("too_large", [], count=7))
    it.play(Rejected("alert", [Refused(n, "labels", "bad") for n in range(30)]))
    first, second = it.events
    assert first["count"] == 7 and "problems" not in first
    assert second["count"] == 30 and len(second["problems"]) == 10


def test_dry_run_records_what_it_would_do_and_has_a_slot_of_its_own() -> None:
    it = Play()
    assert it.hear(alert())[0] == {
        "alertname": "A",
        "fingerprint": alert().fingerprint,
        "result": "dry_run",
        "reason": "dry_run",
        "remediation_id": None,
    }
    assert it.hear(alert())[0]["reason"] == "cooldown"
    it.mode(True, False)
    assert it.hear(alert())[0]["result"] == "accepted"


def test_an_alert_that_comes_again_is_in_progress_then_in_cooldown_then_attempt_two() -> None:
    it = Play.live()
    [first] = it.accepted(alert())
    assert it.hear(alert())[0]["reason"] == "in_progress"
    start = it.start(first)
    it.outcome(start, "ok")
    assert it.hear(alert())[0]["reason"] == "in_progress"
    it.verdict(start, "failed")
    assert it.hear(alert())[0]["reason"] == "cooldown"
    it.now += 60.0
    [second] = it.accepted(alert())
    assert it.state.remediations[second].attempt == 2


def test_a_new_episode_counts_from_one() -> None:
    it = Play.live()
    it.act(alert(), verdict="failed")
    it.now += 60.0
    [second] = it.accepted(alert(starts_at=it.now))
    assert it.state.remediations[second].attempt == 1


def test_two_instances_under_one_name_the_second_when_the_cooldown_ends() -> None:
    it = Play.live()
    one, two = alert(instance="i1"), alert(instance="i2")
    [first] = it.accepted(one)
    assert [a["reason"] for a in it.hear(two, one)] == ["in_progress", "in_progress"]
    waits = it.deferred(two)
    assert waits is not None and waits.wait_key == 'r{alertname="A"}' and waits.until is None
    it.now += 10.0
    start = it.start(first)
    it.outcome(start, "ok")
    it.now += 15.0
    it.verdict(start, "healed")
    assert it.deferred(one) is None, "it has healed; nobody needs to decide it again"
    [answer] = it.due(firing=True)
    assert (answer["fingerprint"], answer["reason"]) == (two.fingerprint, "cooldown")
    waits = it.deferred(two)
    assert waits is not None and waits.until == T0 + 70.0
    it.now = T0 + 69.0
    assert it.due(firing=True) == []
    it.now = T0 + 70.0
    [answer] = it.due(firing=True)
    assert answer["result"] == "accepted" and it.deferred(two) is None
    assert it.start(answer["remediation_id"]).cmd == "do it"


def test_maintenance_is_decided_again_at_its_end() -> None:
    it = Play.live(rule(never_during=(WINDOW,)))
    it.now = T0 + 700.0
    assert it.hear(alert())[0]["reason"] == "maintenance"
    it.now = T0 + 1199.0
    assert it.due(firing=True) == []
    it.now = T0 + 1200.0
    assert it.due(firing=True)[0]["result"] == "accepted"


@pytest.mark.parametrize("until, again", [(500.0, 500.0), (None, 60.0)])
def test_silenced_at_its_start_it_is_cancelled_and_decided_again(until: float | None, again: float) -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    silenced = Silenced(True, ("s1",), None if until is None else T0 + until)
    assert it.may_start(rid, silenced) is None
    assert (it.row(rid).state, it.row(rid).reason) == ("cancelled", "silenced")
    waits = it.deferred(alert())
    assert waits is not None and waits.until == T0 + again
    it.now = T0 + again
    assert it.due(firing=True)[0]["result"] == "accepted", "cancelled before its start, it left the slot free"


def test_out_of_reach_passes_and_the_trace_says_so() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    assert it.may_start(rid, Silenced(False)) is not None


@pytest.mark.parametrize(
    "firing, seen_ago, result",
    [(True, 9e9, "accepted"), (None, 100.0, "accepted"), (None, 5000.0, "stale"), (False, 0.0, "resolved")],
)
def test_only_what_still_fires_is_decided_again(firing: bool | None, seen_ago: float, result: str) -> None:
    it = Play.live()
    it.act(alert(), verdict="failed")
    it.hear(alert())
    entry = it.state.deferred[alert().fingerprint]
    it.now += max(seen_ago, 60.0)
    answer = it.play(Recheck(replace(entry), firing, 4000.0))
    if result == "accepted":
        assert answer["result"] == "accepted"
    else:
        assert answer is None
        assert [e for e in it.of_kind("decision_skip") if e["reason"] == result]
    assert it.deferred(alert()) is None


def test_a_recheck_that_comes_too_early_or_for_another_episode_does_nothing() -> None:
    it = Play.live()
    it.act(alert(), verdict="failed")
    it.hear(alert())
    entry = replace(it.state.deferred[alert().fingerprint])
    before = len(it.lines)
    assert it.play(Recheck(entry, True, 1e9)) is None
    it.now += 60.0
    assert it.play(Recheck(replace(entry, starts_at=T0 + 1), True, 1e9)) is None
    assert it.play(Recheck(replace(entry, fingerprint="else"), True, 1e9)) is None
    assert len(it.lines) == before
    assert it.play(Recheck(entry, True, 1e9))["result"] == "accepted"


def test_a_recheck_that_learns_of_the_end_ends_what_waits_for_a_person() -> None:
    it = Play.live(rule(max_attempts=AttemptBudget(1, 9999.0, ("alertname",))))
    it.act(alert(), verdict="failed")
    it.hear(alert())
    assert list(it.state.escalations) == ["remediation:r3"]
    it.now += 60.0
    it.due(firing=False)
    assert it.state.escalations == {}


# ---- resolved -------------------------------------------------------------------------------------------------------


def test_a_resolve_cancels_what_has_not_started() -> None:
    it = Play.live(rule(), rule("asks", "B", approval_timeout=60.0))
    [first] = it.accepted(alert())
    held = it.hear(alert("B"))[0]["remediation_id"]
    assert [a["reason"] for a in it.hear(resolved(), resolved("B"))] == ["resolved", "resolved"]
    for rid in (first, held):
        row = it.row(rid)
        assert (row.state, row.reason, row.effect) == ("cancelled", "resolved", "self_resolved")
    assert it.may_start(first) is None and it.of_kind("action_started") == []


def test_a_resolve_of_an_older_episode_cancels_nothing() -> None:
    it = Play.live()
    [rid] = it.accepted(alert(starts_at=T0 + 5.0))
    it.hear(resolved(starts_at=T0))
    assert it.state.remediations[rid].state == "reserved"


def test_a_resolve_drops_what_was_to_be_decided_again() -> None:
    it = Play.live()
    it.act(alert(), verdict="failed")
    it.hear(alert())
    it.hear(resolved())
    assert it.deferred(alert()) is None and it.state.escalations == {}


def test_a_late_copy_of_a_resolved_episode_does_not_act_a_new_episode_does() -> None:
    it = Play.live()
    it.hear(alert(), resolved())
    it.now += 15.0
    assert it.hear(alert())[0]["reason"] == "resolved"
    assert it.hear(alert(starts_at=it.now))[0]["result"] == "accepted"


def test_an_older_resolve_that_comes_late_does_not_forget_the_newer_one() -> None:
    it = Play.live()
    it.hear(resolved(starts_at=T0 + 50.0))
    it.now += 60.0 - 1
    it.hear(resolved(starts_at=T0))
    assert it.hear(alert(starts_at=T0 + 50.0))[0]["reason"] == "resolved"


def test_a_resolve_heard_while_autoheal_is_off_counts() -> None:
    """Found by the property test: the ladder went on, and a deferred alert acted, after a resolve unheard of."""
    it = Play.live(rule(steps=(step(), step("do", "more"))))
    [rid] = it.accepted(alert())
    start = it.start(rid)
    it.mode(False, False)
    assert it.hear(resolved())[0]["reason"] == "disabled"
    it.mode(True, False)
    it.now += 100.0
    it.outcome(start, "fail")
    assert (it.row(rid).state, it.row(rid).effect) == ("cancelled", "self_resolved")


def test_a_resolve_reaches_what_waits_although_its_rule_is_gone() -> None:
    it = Play.live()
    it.act(alert(), verdict="failed")
    it.hear(alert())
    it.play(PolicyLoaded(policy(rule("other", "B"))))
    it.hear(resolved())
    it.play(PolicyLoaded(policy()))
    it.now += 70.0
    assert it.due() == []


def test_a_resolve_of_what_nobody_knows_leaves_no_mark() -> None:
    it = Play.live()
    it.hear(resolved("Unheard"))
    assert it.state.resolved == {}


def test_a_rule_that_goes_on_after_a_resolve_starts_at_once_or_later() -> None:
    it = Play.live(rule(cancel_on_resolve=False), rule("b", "B", cancel_on_resolve=False))
    one, two = it.accepted(alert(), alert("B"))
    it.hear(resolved(), resolved("B"))
    assert it.may_start(one) is not None
    it.now += 61.0
    assert it.may_start(two) is not None


# ---- limits ---------------------------------------------------------------------------------------------------------


def test_the_blast_radius_holds_tells_once_and_lets_go_in_order() -> None:
    it = Play.live(rule(cooldown_by=("instance",)), limits=Limits(4, BlastRadius(2, 100.0)))
    every = [alert(instance=f"i{n}") for n in range(5)]
    answers = it.hear(*every)
    assert [a["result"] for a in answers] == ["accepted", "accepted", "hold", "hold", "hold"]
    ids = [a["remediation_id"] for a in answers]
    assert len(it.of_kind("escalated")) == 1 and list(it.state.escalations) == ["blast_radius"]
    it.outcome(it.start(ids[0]), "ok")
    it.now += 40.0
    start = it.start(ids[1])
    it.outcome(start, "ok")
    it.verdict(start, "healed")
    assert it.wake() == 0, "nothing is free yet"
    it.now = T0 + 100.0
    it.wake()
    assert [it.state.remediations[i].state for i in ids[2:]] == ["reserved", "held", "held"]
    it.start(ids[2])
    it.now = T0 + 140.0
    it.wake()
    assert [it.state.remediations[i].state for i in ids[2:]] == ["running", "reserved", "held"]
    assert len(it.of_kind("escalated")) == 1
    it.start(ids[3])
    it.now = T0 + 200.0
    it.wake()
    it.wake()
    assert "blast_radius" not in it.state.escalations and it.state.remediations[ids[4]].state == "reserved"


def test_the_blast_radius_stays_told_when_one_of_the_held_resolves() -> None:
    it = Play.live(rule(cooldown_by=("instance",)), limits=Limits(4, BlastRadius(1, 100.0)))
    it.hear(*(alert(instance=f"i{n}") for n in range(3)))
    it.hear(resolved(instance="i1"))
    assert list(it.state.escalations) == ["blast_radius"]
    it.hear(resolved(instance="i2"))
    it.wake()
    assert it.state.escalations == {}


def budgeted() -> Play:
    return Play.live(rule(max_attempts=AttemptBudget(2, 500.0, ("alertname",)), escalate="critical"))


def test_a_used_up_budget_skips_and_tells_once() -> None:
    it = budgeted()
    for _ in range(2):
        it.act(alert(), verdict="healed")
        it.now += 60.0
    for _ in range(3):
        assert it.hear(alert())[0]["reason"] == "budget"
    told = [e for e in it.of_kind("escalated") if e["reason"] == "budget"]
    assert len(told) == 1 and told[0]["severity"] == "critical"
    assert it.deferred(alert()) is None
    it.now = T0 + 500.0
    it.wake()
    assert it.state.escalations == {}, "an attempt is free again"
    it.act(alert(), verdict="healed")
    it.now = T0 + 560.0
    it.act(alert(), verdict="healed")
    it.now += 60.0
    assert it.hear(alert())[0]["reason"] == "budget"
    assert len([e for e in it.of_kind("escalated") if e["reason"] == "budget"]) == 2


def test_a_budget_used_up_between_decision_and_start_is_told_too() -> None:
    by = rule(cooldown_by=("instance",), max_attempts=AttemptBudget(1, 500.0, ("alertname",)))
    it = Play.live(by)
    one, two = it.accepted(alert(instance="i1"), alert(instance="i2"))
    it.start(one)
    assert it.may_start(two) is None
    assert (it.row(two).state, it.row(two).reason) == ("cancelled", "budget")
    assert [e["reason"] for e in it.of_kind("escalated")] == ["budget"]


def test_dry_run_tells_nobody() -> None:
    it = budgeted()
    it.mode(True, True)
    for _ in range(4):
        assert it.hear(alert())[0]["result"] == "dry_run"
        it.now += 60.0
    assert it.of_kind("escalated") == []
    assert it.of_kind("action_dry_run")[-1]["trace"]["budget"].startswith("would skip")


def test_the_decision_carries_all_that_the_remediation_needs() -> None:
    it = Play.live(rule(max_attempts=AttemptBudget(2, 500.0, ("instance",)), steps=(step(), step()), escalate="page"))
    [rid] = it.accepted(alert())
    made = it.state.remediations[rid]
    assert isinstance(made, Remediation)
    assert (made.budget_key, made.budget_per, made.ladder, made.escalate) == ('r{instance="i1"}', 500.0, 2, "page")
    assert made.alert == alert() and made.episode == alert().episode and made.received_at == T0


def test_an_alert_that_cannot_be_decided_harms_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    it, honest = Play.live(), intake.decide

    def breaks(case: Case) -> Decision:
        if case.alert.alertname == "Bad":
            raise RuntimeError("a gate is broken")
        return honest(case)

    monkeypatch.setattr(intake, "decide", breaks)
    answers = it.play(AlertsArrived([alert("Unheard"), alert("Bad"), alert("Unheard")]))
    assert [answer["result"] for answer in answers] == ["skip", "rejected", "skip"]
    assert "a gate is broken" in answers[1]["reason"]
    assert it.kinds(1) == ["webhook_received", "decision_skip", "webhook_rejected", "decision_skip"]


@pytest.mark.parametrize(("firing", "result"), [(True, "accepted"), (False, None), (None, None)])
def test_a_late_copy_is_decided_again_only_on_alertmanagers_word(firing: bool | None, result: str | None) -> None:
    it = Play.live()
    it.hear(resolved(), origin="http://am")
    assert it.hear(alert(), origin="http://am")[0]["reason"] == "resolved"
    it.now += RESOLVED_MEMORY
    [entry] = it.state.due(it.now)
    answer = it.play(Recheck(replace(entry), firing, 1e9))
    assert (answer["result"] if answer else None) == result
    assert not it.state.deferred
