"""What people do: approve, reject, cancel, settle, mark, switch, acknowledge; and what they may not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoheal.core.errors import Conflict, NotFound
from autoheal.core.moves.acting import Probed
from autoheal.core.moves.people import Approve, Cancel, Mark, Reject, SetMode, Settle
from autoheal.core.policy import BlastRadius, Limits
from autoheal.core.remediation import Remediation
from tests.unit.core.make import T0, Play, alert, resolved, rule, step


def asked(**values: object) -> tuple[Play, str]:
    it = Play.live(rule(approval_timeout=100.0, **values))
    [answer] = it.hear(alert())
    assert (answer["result"], answer["reason"]) == ("hold", "approval")
    return it, answer["remediation_id"]


def test_an_approval_is_asked_for_given_and_acted_upon() -> None:
    it, rid = asked()
    assert it.kinds()[-2:] == ["decision_hold", "approval_requested"] and it.events[-1]["until"] == T0 + 100.0
    assert it.may_start(rid) is None
    it.now += 50.0
    assert it.play(Approve(rid, "ann", "go")) == "reserved"
    assert it.kinds()[-2:] == ["approved", "decision_act"]
    assert it.events[-2]["actor"] == "ann" and it.events[-2]["note"] == "go"
    assert it.events[-1]["trace"]["approval"] == "approved by ann"
    assert it.start(rid).cmd == "do it"


def test_after_an_approval_all_gates_are_walked_again() -> None:
    it, rid = asked()
    it.mode(True, True)
    assert it.play(Approve(rid, "ann")) == "cancelled" and it.row(rid).reason == "dry_run"


def test_after_an_approval_another_hold_may_follow() -> None:
    it = Play.live(rule(approval_timeout=100.0), rule("b", "B"), limits=Limits(4, BlastRadius(1, 50.0)))
    rid = it.hear(alert())[0]["remediation_id"]
    it.start(it.accepted(alert("B"))[0])
    assert it.play(Approve(rid, "ann")) == "held"
    assert it.state.remediations[rid].hold == "blast_radius"
    with pytest.raises(Conflict, match="held by blast_radius"):
        it.play(Approve(rid, "bob"))
    it.now += 50.0
    it.wake()
    assert it.start(rid) is not None


def test_a_hold_for_the_blast_radius_may_turn_into_a_request_for_approval() -> None:
    it = Play.live(rule(approval_timeout=100.0), rule("b", "B"), limits=Limits(4, BlastRadius(1, 50.0)))
    it.start(it.accepted(alert("B"))[0])
    [answer] = it.hear(alert())
    assert answer["reason"] == "blast_radius"
    it.now += 50.0
    it.wake()
    held = it.state.remediations[answer["remediation_id"]]
    assert (held.hold, held.hold_until) == ("approval", T0 + 150.0)
    assert it.of_kind("approval_requested")


def test_an_approval_that_nobody_gives_expires() -> None:
    it, rid = asked()
    it.now += 99.0
    assert it.wake() == 0
    it.now += 1.0
    assert it.wake() == 1
    assert (it.row(rid).state, it.row(rid).reason) == ("expired", "approval_expired")
    with pytest.raises(NotFound):
        it.play(Approve(rid, "ann"))
    assert it.hear(alert())[0]["result"] == "hold", "its slot is free"


def test_rejected() -> None:
    it, rid = asked()
    assert it.play(Reject(rid, "ann", "not now")) == "rejected"
    assert it.row(rid).state == "rejected" and it.events[-1]["note"] == "not now"


def test_cancel_ends_what_has_not_started_and_frees_its_slot() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    assert it.play(Cancel(rid, "ann")) == "cancelled"
    assert it.may_start(rid) is None and it.hear(alert())[0]["result"] == "accepted"


def test_cancel_stops_waiting_for_a_verification_and_what_was_told_of_it() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    start = it.start(rid)
    with pytest.raises(Conflict, match="is running"):
        it.play(Cancel(rid, "ann"))
    it.outcome(start, "ok")
    it.verdict(start, "inconclusive")
    assert it.play(Cancel(rid, "ann")) == "cancelled" and it.state.escalations == {}


@pytest.mark.parametrize("move", [Approve, Reject, Cancel])
def test_nobody_decides_on_what_is_not_there(move: type[Approve]) -> None:
    with pytest.raises(NotFound, match="r77"):
        Play.live().play(move("r77", "ann"))


@pytest.mark.parametrize("outcome, effect", [("healed", "healed"), ("failed", "ineffective")])
def test_an_unknown_is_settled_by_a_person_and_wakes_who_waits(outcome: Any, effect: str) -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    start = it.start(rid)
    it.outcome(start, "unknown")
    it.play(Probed(rid, start.token, False))
    it.now += 100.0
    other = alert(instance="i2")
    assert it.hear(other)[0]["reason"] == "unsettled"
    assert it.play(Settle(rid, "ann", outcome, "looked")) == outcome
    done = it.row(rid)
    assert (done.state, done.effect, done.reason) == (outcome, effect, "by_hand")
    assert it.state.escalations == {} and it.state.breakers == {}
    assert it.due(firing=True)[0]["result"] == "accepted"


def test_an_escalation_whose_remediation_has_ended_is_settled_too() -> None:
    it = Play.live()
    [rid] = it.act(alert(), verdict="failed")
    assert it.play(Settle(rid, "ann", "healed")) == "settled"
    assert it.state.escalations == {} and it.row(rid).state == "failed"
    with pytest.raises(NotFound):
        it.play(Settle(rid, "ann", "healed"))


def test_what_is_reserved_cannot_be_settled() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    with pytest.raises(Conflict, match="needs unknown or verifying"):
        it.play(Settle(rid, "ann", "healed"))


def test_a_false_positive_is_marked_while_it_runs_or_long_after() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    assert it.play(Mark(rid, "ann")) == "reserved" and it.state.remediations[rid].marked == "false_positive"
    start = it.start(rid)
    it.outcome(start, "ok")
    it.verdict(start, "healed")
    known = replace(it.row(rid), marked=None).as_dict()
    assert it.play(Mark(rid, "bob", known=known)) == "healed"
    assert it.row(rid).marked == "false_positive" and it.events[-1]["rule"] == "r"
    with pytest.raises(NotFound):
        it.play(Mark("r77", "ann"))


def test_a_row_that_another_version_wrote_can_still_be_read() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    data = it.state.remediations[rid].as_dict() | {"no_longer_known": 1}
    assert Remediation.from_dict(data) == it.state.remediations[rid]


def test_the_mode_is_set_and_audited() -> None:
    it = Play()
    answer = it.play(SetMode(True, False, "ann", env="e"))
    assert answer == {"id": 1, "enabled": True, "dry_run": False, "source": "api", "since": T0, "by": "ann"}
    [event] = it.events
    assert event["before"] == {"enabled": False, "dry_run": True, "source": "default"} and event["actor"] == "ann"
    assert it.state.mode.acts and it.state.mode.env == "e"


def test_an_approval_survives_a_restart() -> None:
    it, rid = asked(steps=(step(), step("do", "more")))
    it.play(Approve(rid, "ann"))
    it.state = it.restored()
    start = it.start(rid)
    it.state = it.restored()
    it.outcome(start, "fail")
    it.state = it.restored()
    assert it.start(rid).cmd == "do more", "one approval is for the whole ladder"


def test_a_resolve_ends_the_wait_for_an_approval() -> None:
    it, rid = asked()
    it.hear(resolved())
    with pytest.raises(NotFound):
        it.play(Approve(rid, "ann"))


def test_a_mark_that_races_the_end_is_refused_and_puts_nothing_old_back() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    before = it.state.remediations[rid].as_dict()
    it.play(Cancel(rid, "ann"))
    with pytest.raises(Conflict, match="ended just now"):
        it.play(Mark(rid, "ann", known=before))
