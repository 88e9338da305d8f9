"""A cooldown set by hand: which one holds, what it does to those who wait, and when it is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoheal.core.alert import Alert
from autoheal.core.cooldowns import MAX_COOLDOWN
from autoheal.core.decision import explain
from autoheal.core.errors import Invalid, NotFound
from autoheal.core.gates import Case
from autoheal.core.moves.people import SetCooldown
from autoheal.core.moves.service import PolicyLoaded
from autoheal.core.state import Override
from tests.unit.core.make import T0, Play, alert, plain, policy, rule

FIRST, SECOND = alert(), alert(instance="i2")


def played() -> Play:
    """A rule of 60 s for each alertname, once healed; the second alert of the kind waits for its end."""
    it = Play.live(rule(), rule("other", "B", cooldown=300.0))
    it.act(FIRST)
    assert it.hear(SECOND)[0]["reason"] == "cooldown"
    return it


def until(it: Play, of: Alert = SECOND) -> float | None:
    entry = it.deferred(of)
    return entry.until if entry is not None else None


def same_from_everywhere(it: Play) -> None:
    living = plain(it.state)
    assert plain(it.restored()) == living == plain(it.folded())


@pytest.mark.parametrize(("seconds", "ends"), [(600.0, T0 + 600.0), (30.0, T0 + 30.0), (None, T0 + 60.0)])
def test_who_waits_for_its_end_waits_for_the_new_one(seconds: float | None, ends: float) -> None:
    it = played()
    it.now += 10.0
    answer = it.play(SetCooldown("r", seconds, "ann"))
    assert until(it) == ends
    assert answer == {
        "rule": "r",
        "cooldown": seconds or 60.0,
        "policy": 60.0,
        "by": "ann" if seconds else None,
        "since": T0 + 10.0 if seconds else None,
    }
    same_from_everywhere(it)
    it.now = ends - 1.0
    assert it.due() == []
    it.now = ends
    assert [answer["result"] for answer in it.due()] == ["accepted"]


def test_what_is_over_already_is_decided_at_once() -> None:
    it = played()
    it.play(SetCooldown("r", 600.0, "ann"))
    it.now += 100.0
    it.play(SetCooldown("r", 30.0, "ann"))
    assert until(it) == it.now and [answer["result"] for answer in it.due()] == ["accepted"]
    assert [(e["before"], e["cooldown"]) for e in it.of_kind("cooldown_changed")] == [(60.0, 600.0), (600.0, 30.0)]


def test_other_rules_and_who_waits_for_something_else_are_left_alone() -> None:
    it = played()
    it.act(alert("B"))
    other = alert("B", "i2")
    it.hear(other)
    before = until(it, other)
    it.play(SetCooldown("r", 30.0, "ann"))
    assert until(it, other) == before == T0 + 300.0
    assert it.events[-1]["deferred"] == {SECOND.fingerprint: T0 + 30.0}


def test_the_gate_and_explain_say_what_was_set() -> None:
    it = played()
    it.play(SetCooldown("r", 600.0, "ann"))

    def cooldown_gate(of: Alert) -> dict[str, object]:
        found = explain(Case(of, it.now, it.policy, it.state))["gates"]
        return next(dict(row) for row in found if row["gate"] == "cooldown")

    assert cooldown_gate(SECOND)["why"] == "600 s of 600 s remain (set to 600 s by ann, the policy says 60 s)"
    it.now += 600.0
    assert cooldown_gate(SECOND)["why"] == "set to 600 s by ann, the policy says 60 s"
    assert cooldown_gate(alert("B"))["why"] == ""
    [rid] = it.accepted(alert(instance="i3", starts_at=it.now))
    assert it.state.remediations[rid].trace["cooldown"] == "set to 600 s by ann, the policy says 60 s"


@pytest.mark.parametrize("seconds", [0.0, -5.0, 29.999, float("nan"), float("inf"), MAX_COOLDOWN + 1])
def test_no_cooldown_can_be_so_long_or_so_short(seconds: float) -> None:
    it = played()
    with pytest.raises(Invalid) as refused:
        it.play(SetCooldown("r", seconds, "ann"))
    assert refused.value.field == "cooldown" and it.state.cooldowns == {}


def test_an_unknown_rule_is_named_with_what_was_meant() -> None:
    with pytest.raises(NotFound, match=r"no rule 'oter' \(did you mean \"other\"\?\)"):
        played().play(SetCooldown("oter", 60.0, "ann"))


def test_a_reset_of_what_nobody_has_set_changes_nothing() -> None:
    it = played()
    count = len(it.events)
    assert it.play(SetCooldown("r", None, "ann"))["cooldown"] == 60.0
    assert len(it.events) == count


def test_a_policy_that_is_loaded_ends_what_was_set_for_another_rule() -> None:
    it = played()
    for name in ("r", "other"):
        it.play(SetCooldown(name, 600.0, "ann"))
    it.play(PolicyLoaded(it.policy, "bob"))
    assert it.state.cooldowns.keys() == {"r", "other"}, "the rules are the same"
    before = it.policy
    it.play(PolicyLoaded(policy(replace(rule(), cooldown=45.0, digest="r-2"), digest="p2"), "bob"))
    assert it.state.cooldowns == {}
    gone, one = it.of_kind("cooldown_changed")[2:]
    assert (one["rule"], one["cooldown"], one["before"], one["reset"]) == ("r", 45.0, 600.0, True)
    assert (one["reason"], one["actor"]) == ("rule_changed", "bob")
    assert gone["rule"] == "other" and "cooldown" not in gone and "rule_digest" not in gone
    it.play(PolicyLoaded(before, "bob"))
    assert it.state.cooldowns == {}, "it does not come back"
    same_from_everywhere(it)


def test_what_was_set_for_another_digest_does_not_hold() -> None:
    it = played()
    it.state.cooldowns["r"] = Override(600.0, "another", T0, "ann")
    it.now += 60.0
    assert [answer["result"] for answer in it.due()] == ["accepted"]
