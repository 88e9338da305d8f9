"""The pure conversation: what is told, once, in order, and whether the parent's truth is the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoheal.config.regex import compile_regex
from autoheal.core.alert import FIRING, RESOLVED, Alert, fingerprint
from autoheal.core.matcher import parse_matchers
from autoheal.core.threads import Flapping, Route, Routed, ThreadPolicy
from autoheal.threader.conversation import (
    ASK_AFTER,
    LATE,
    MAX_MEMBERS,
    MAX_UNSAID,
    MOST_UNSAID,
    Conversation,
    Line,
    ack_ended,
    acked,
    answered,
    behind,
    bounded,
    doubtful,
    due,
    from_data,
    heal,
    hear,
    replaced,
    tick,
)

T0 = 1_795_000_000.0
CALM = ThreadPolicy(flapping=Flapping(1000, 600))
STALE = 14_700.0


def conversation(channel: str = "#alerts-warning") -> Conversation:
    return Conversation("k", "http://am", "hook", "g", {"alertname": "Down"}, channel, T0)


def alert(name: str = "a", status: str = FIRING, starts: float = T0, severity: str = "warning", **labels: str) -> Alert:
    given = {"alertname": "Down", "instance": name, "severity": severity, **labels}
    ends = None if status == FIRING else starts + 1
    return Alert(status, given, {"summary": f"{name} is down"}, starts, fingerprint(given), ends)


def kinds(lines: Sequence[Line]) -> list[str]:
    return [line.kind for line in lines]


# ---- what is told ---------------------------------------------------------------------------------------------------


def test_the_first_alerts_are_told_by_the_parent() -> None:
    c = conversation()
    assert hear(c, [alert("a"), alert("b")], T0, CALM) == []
    assert (c.number, len(c.firing), c.worst, c.fired_at) == (1, 2, "warning", T0)


def test_more_alerts_partial_resolve_resolve_and_refire() -> None:
    c = conversation()
    hear(c, [alert("a")], T0, CALM)
    joined = hear(c, [alert("a"), alert("b"), alert("d")], T0 + 10, CALM)
    some = hear(c, [alert("a"), alert("b", RESOLVED)], T0 + 20, CALM)
    rest = hear(c, [alert("a", RESOLVED), alert("d", RESOLVED)], T0 + 30, CALM)
    again = hear(c, [alert("a", starts=T0 + 40)], T0 + 40, CALM)
    assert kinds(joined + some + rest + again) == ["joined", "resolved_some", "resolved", "refired"]
    assert (joined[0].count, some[0].count, some[0].left, rest[0].count) == (2, 1, 2, 2)
    assert (again[0].fired, again[0].broadcast, c.times) == (2, True, 2)
    assert not joined[0].broadcast
    assert [line.first for line in joined + some + rest + again] == [2, 3, 4, 5]
    assert c.open and c.resolved_at is None


def test_what_is_missing_has_not_resolved() -> None:
    c = conversation()
    hear(c, [alert("a"), alert("b")], T0, CALM)
    assert hear(c, [alert("a")], T0 + 300, CALM) == []
    assert len(c.firing) == 2


def test_a_late_copy_of_what_has_resolved_changes_nothing_and_a_later_one_does() -> None:
    c = conversation()
    hear(c, [alert("a")], T0, CALM)
    hear(c, [alert("a", RESOLVED)], T0 + 10, CALM)
    assert hear(c, [alert("a")], T0 + 25, CALM) == []
    assert not c.open
    assert kinds(hear(c, [alert("a")], T0 + 11 + LATE, CALM)) == ["refired"]


def test_a_resolve_of_an_older_episode_changes_nothing() -> None:
    c = conversation()
    hear(c, [alert("a", starts=T0 + 100)], T0 + 100, CALM)
    assert hear(c, [alert("a", RESOLVED, starts=T0)], T0 + 101, CALM) == []
    assert c.open


def test_a_resolve_that_nobody_heard_the_beginning_of_tells_nothing() -> None:
    c = conversation()
    hear(c, [alert("a")], T0, CALM)
    assert hear(c, [alert("x", RESOLVED)], T0 + 1, CALM) == []


def test_one_ends_and_another_begins_in_one_message_and_so_it_never_was_over() -> None:
    c = conversation()
    hear(c, [alert("a")], T0, CALM)
    lines = hear(c, [alert("b", starts=T0 + 9, severity="critical"), alert("a", RESOLVED)], T0 + 10, CALM)
    assert kinds(lines) == ["resolved_some", "joined", "rose"]
    assert (c.open, c.fired_at, c.times, len(c.flips)) == (True, T0, 1, 1)


def test_what_fires_again_just_after_its_resolve_is_asked_about() -> None:
    """It ran out in Alertmanager while its sender was away, and comes back as the same episode."""
    c = conversation()
    hear(c, [alert("a"), alert("b")], T0, CALM)
    hear(c, [alert("a", RESOLVED), alert("b", RESOLVED)], T0 + 10, CALM)
    assert hear(c, [alert("a"), alert("b")], T0 + 20, CALM) == []
    assert due(c, CALM, STALE) == T0 + 20 + ASK_AFTER and doubtful(c, T0 + 20) == []
    a, b = alert("a").fingerprint, alert("b").fingerprint
    assert sorted(doubtful(c, T0 + 26)) == sorted([a, b])
    assert doubtful(c, T0 + 30) == []  # asked again only later
    lines = answered(c, {a: True, b: False}, T0 + 31, CALM)
    assert kinds(lines) == ["refired"] and lines[0].names == ["a is down"]
    assert doubtful(c, T0 + 999) == []


def test_beyond_the_bound_what_has_resolved_makes_room_for_what_fires() -> None:
    c = conversation()
    first = [alert(f"n{i}") for i in range(MAX_MEMBERS)]
    hear(c, first, T0, CALM)
    still = [alert(f"x{i}") for i in range(100)]
    gone = [alert(f"n{i}", RESOLVED) for i in range(MAX_MEMBERS)]
    lines = hear(c, [*still, *gone], T0 + 10, CALM)
    assert kinds(lines) == ["resolved_some", "joined"]
    assert (len(c.firing), c.truncated, lines[1].left) == (100, 0, 100)


def test_a_higher_severity_is_told_aloud_and_to_the_channel_that_it_belongs_to() -> None:
    c = conversation()
    hear(c, [alert("a")], T0, CALM)
    lines = hear(c, [alert("a"), alert("b", severity="critical")], T0 + 5, CALM)
    assert kinds(lines) == ["joined", "rose"]
    assert (lines[1].detail, lines[1].broadcast, lines[1].elsewhere) == ("critical", True, "#alerts-critical")
    assert c.worst == "critical"


def test_who_is_called_comes_from_the_route() -> None:
    route = Route(tuple(parse_matchers('alertname="Down"', compile_regex)), "#db", ("<@U1>",))
    c = conversation("#db")
    policy = ThreadPolicy(routes=(route,), flapping=Flapping(1000, 600))
    hear(c, [alert("a")], T0, policy)
    hear(c, [alert("a", RESOLVED)], T0 + 10, policy)
    (line,) = hear(c, [alert("a", starts=T0 + 20)], T0 + 20, policy)
    assert (line.mentions, line.elsewhere) == (["<@U1>"], "")


def test_news_after_quiet_is_shown_in_the_channel() -> None:
    c = conversation()
    hear(c, [alert("a")], T0, CALM)
    (soon,) = hear(c, [alert("b")], T0 + 10, CALM)
    (late,) = hear(c, [alert("d")], T0 + 10 + CALM.news_after, CALM)
    assert (soon.broadcast, late.broadcast) == (False, True)


def test_too_many_alerts_are_counted() -> None:
    c = conversation()
    hear(c, [alert(f"n{i}") for i in range(MAX_MEMBERS + 5)], T0, CALM)
    assert (len(c.members), c.truncated) == (MAX_MEMBERS, 5)


# ---- flapping -------------------------------------------------------------------------------------------------------


def test_a_flapping_group_is_told_in_digests_that_count_everything_and_in_the_end_it_is_calm() -> None:
    policy = ThreadPolicy(flapping=Flapping(3, 60))
    c = conversation()
    hear(c, [alert("a")], T0, policy)
    said: list[Line] = []
    for n in range(1, 9):
        status = RESOLVED if n % 2 else FIRING
        said += hear(c, [alert("a", status, starts=T0 + n - n % 2)], T0 + n, policy)
    assert kinds(said) == ["resolved", "refired"]  # and from the fourth change on, nothing for now
    assert c.flapping
    told = tick(c, T0 + 65, policy, STALE)
    assert kinds(told) == ["digest"] and (told[0].first, told[0].last, told[0].count) == (4, 9, 6)
    assert (told[0].fired, told[0].ended) == (3, 3)
    assert kinds(tick(c, T0 + 130, policy, STALE)) == ["calm"]
    assert not c.flapping and due(c, policy, STALE) is not None


def test_a_rise_while_it_flaps_is_told_at_once_and_after_what_was_put_aside() -> None:
    policy = ThreadPolicy(flapping=Flapping(1, 60))
    c = conversation()
    hear(c, [alert("a")], T0, policy)
    assert hear(c, [alert("a", RESOLVED)], T0 + 1, policy) == []
    assert hear(c, [alert("a", starts=T0 + 2)], T0 + 2, policy) == []
    lines = hear(c, [alert("b", severity="critical")], T0 + 3, policy)
    assert [(line.kind, line.first, line.last) for line in lines] == [("digest", 2, 4), ("rose", 5, 5)]


def test_what_comes_between_is_told_after_what_was_put_aside() -> None:
    policy = ThreadPolicy(flapping=Flapping(1, 60))
    c = conversation()
    hear(c, [alert("a")], T0, policy)
    assert hear(c, [alert("a", RESOLVED)], T0 + 1, policy) == []
    hear(c, [alert("a", starts=T0 + 2)], T0 + 2, policy)
    lines = acked(c, "s1", {"instance": "a"}, T0 + 7200, "alice", T0 + 3)
    assert kinds(lines) == ["digest", "acked"]
    assert [(line.first, line.last) for line in lines] == [(2, 3), (4, 4)]


def test_a_rise_by_a_refire_while_it_flaps_is_told_at_once() -> None:
    policy = ThreadPolicy(flapping=Flapping(1, 60))
    c = conversation()
    hear(c, [alert("a")], T0, policy)
    hear(c, [alert("a", RESOLVED)], T0 + 1, policy)
    lines = hear(c, [alert("b", starts=T0 + 2, severity="critical")], T0 + 2, policy)
    assert kinds(lines) == ["digest", "rose"] and lines[1].elsewhere == "#alerts-critical"


# ---- acknowledgements -----------------------------------------------------------------------------------------------


def open_conversation(*names: str) -> Conversation:
    c = conversation()
    hear(c, [alert(name) for name in names or ("a",)], T0, CALM)
    return c


def test_an_acknowledgement_is_told_once_and_an_extension_too() -> None:
    c = open_conversation("a", "b")
    (line,) = acked(c, "s1", {"instance": "a"}, T0 + 1800, "alice", T0 + 1, "looking")
    assert (line.kind, line.who, line.detail, line.count) == ("acked", "alice", "looking", 1)
    assert acked(c, "s1", {"instance": "a"}, T0 + 1800, "alice", T0 + 1) == []
    (longer,) = acked(c, "s1", {"instance": "a"}, T0 + 9000, "bob", T0 + 60)
    assert (longer.kind, longer.who, c.acks["s1"].until) == ("extended", "bob", T0 + 9000)


def test_an_acknowledgement_that_goes_on_under_another_id_or_is_made_shorter_is_still_the_same() -> None:
    c = open_conversation("a")
    acked(c, "s1", {"instance": "a"}, T0 + 1800, "alice", T0 + 1)
    replaced(c, "s1", "s2")
    assert kinds(acked(c, "s2", {"instance": "a"}, T0 + 9000, "bob", T0 + 60)) == ["extended"]
    assert list(c.acks) == ["s2"] and c.members[alert("a").fingerprint].behind == "s2"
    assert acked(c, "s2", {"instance": "a"}, T0 + 700, "carol", T0 + 90) == []
    assert c.acks["s2"].until == T0 + 700
    assert kinds(ack_ended(c, "s2", "expired", "", T0 + 700)) == ["ack_expired"]


def test_an_acknowledgement_of_something_else_is_not_ours() -> None:
    c = open_conversation("a")
    assert acked(c, "s1", {"instance": "z"}, T0 + 1800, "alice", T0 + 1) == []
    assert not c.acks


def test_a_reminder_before_the_end_once_and_none_for_one_that_was_short_from_the_start() -> None:
    c = open_conversation("a")
    acked(c, "s1", {"instance": "a"}, T0 + 7200, "alice", T0)
    assert due(c, CALM, STALE) == T0 + 7200 - CALM.remind_before
    assert tick(c, T0 + 100, CALM, STALE) == []
    assert kinds(tick(c, T0 + 6700, CALM, STALE)) == ["ack_ending"]
    assert tick(c, T0 + 6800, CALM, STALE) == []
    short = open_conversation("a")
    acked(short, "s2", {"instance": "a"}, T0 + 300, "alice", T0)
    assert tick(short, T0 + 10, CALM, STALE) == []


def test_resolved_behind_an_acknowledgement_is_told_and_so_is_its_end() -> None:
    c = open_conversation("a")
    acked(c, "s1", {"instance": "a"}, T0 + 7200, "alice", T0)
    (line,) = hear(c, [alert("a", RESOLVED)], T0 + 60, CALM, watched=True)
    assert (line.kind, line.who) == ("resolved_acked", "alice")
    assert kinds(ack_ended(c, "s1", "resolved", "", T0 + 360)) == ["ack_ended"]
    assert ack_ended(c, "s1", "resolved", "", T0 + 361) == []


def test_an_acknowledgement_that_ends_while_it_fires_is_told_aloud() -> None:
    c = open_conversation("a")
    acked(c, "s1", {"instance": "a"}, T0 + 7200, "alice", T0)
    (line,) = ack_ended(c, "s1", "expired", "", T0 + 7200)
    assert (line.kind, line.broadcast, line.left) == ("ack_expired", True, 1)
    assert c.members[alert("a").fingerprint].behind == ""


def test_an_acknowledgement_of_one_alert_says_nothing_of_the_others() -> None:
    c = open_conversation("a", "b")
    acked(c, "s1", {"instance": "a"}, T0 + 7200, "alice", T0)
    hear(c, [alert("a", RESOLVED)], T0 + 60, CALM, watched=True)
    (over,) = ack_ended(c, "s1", "resolved", "", T0 + 360)
    assert (over.kind, over.broadcast) == ("ack_ended", False)
    again = open_conversation("a", "b")
    acked(again, "s1", {"instance": "a"}, T0 + 7200, "alice", T0)
    hear(again, [alert("a", RESOLVED)], T0 + 60, CALM, watched=True)
    (last,) = hear(again, [alert("b", RESOLVED)], T0 + 70, CALM)
    assert (last.kind, last.who) == ("resolved", "")


def test_a_rise_behind_an_acknowledgement_is_told_aloud() -> None:
    c = open_conversation("a")
    acked(c, "s1", {"alertname": "Down"}, T0 + 7200, "alice", T0)
    worse = alert("b", starts=T0 + 50, severity="critical")
    lines = behind(c, "s1", {worse.fingerprint: {"labels": dict(worse.labels), "starts_at": T0 + 50}}, T0 + 60, CALM)
    assert kinds(lines) == ["hidden", "rose"]
    assert (lines[1].broadcast, lines[1].elsewhere) == (True, "#alerts-critical")


def test_the_end_of_an_acknowledgement_is_told_where_what_still_fires_belongs() -> None:
    c = open_conversation("a")
    acked(c, "s1", {"instance": "a"}, T0 + 7200, "alice", T0)
    (line,) = ack_ended(c, "s1", "expired", "", T0 + 7200, Routed("#db", ("<@U1>",)))
    assert (line.who, line.mentions, line.elsewhere) == ("alice", ["<@U1>"], "#db")
    assert not c.stale and c.heard_at == T0 + 7200  # it was watched all the time


def test_what_only_the_watch_has_seen_is_let_go_with_the_silence() -> None:
    c = open_conversation("a")
    acked(c, "s1", {"alertname": "Down"}, T0 + 7200, "alice", T0)
    new, other = alert("b", starts=T0 + 50), alert("z", starts=T0 + 50, pod="z")
    seen = {one.fingerprint: {"labels": dict(one.labels), "starts_at": T0 + 50} for one in (new, other)}
    assert kinds(behind(c, "s1", seen, T0 + 60, CALM)) == ["hidden"]
    assert other.fingerprint not in c.members  # it is made of other labels: another group's
    hear(c, [alert("a", RESOLVED)], T0 + 70, CALM)
    ack_ended(c, "s1", "by_hand", "bob", T0 + 80)
    assert new.fingerprint not in c.members and not c.open


def test_alerts_that_come_behind_an_acknowledgement_are_seen() -> None:
    c = open_conversation("a")
    acked(c, "s1", {"alertname": "Down"}, T0 + 7200, "alice", T0)
    new, other = alert("b", starts=T0 + 50), alert("x", starts=T0 + 50)
    seen = {
        alert("a").fingerprint: {"labels": dict(alert("a").labels), "starts_at": T0},
        new.fingerprint: {"labels": dict(new.labels), "starts_at": T0 + 50},
        other.fingerprint: {"labels": {**other.labels, "alertname": "Else"}, "starts_at": T0 + 50},
    }
    (line,) = behind(c, "s1", seen, T0 + 60, CALM)
    assert (line.kind, line.count, line.left) == ("hidden", 1, 2)
    assert behind(c, "s1", seen, T0 + 75, CALM) == []
    assert other.fingerprint not in c.members


# ---- healing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"kind": "action_started", "state": "running", "cmd": "docker restart crm"}, "healing"),
        ({"kind": "action_ok", "state": "verifying"}, None),
        ({"kind": "action_ok", "state": "healed"}, "done"),
        ({"kind": "action_fail", "state": "failed", "error": "exit 1"}, "action_failed"),
        ({"kind": "verify_ok", "state": "healed"}, "healed"),
        ({"kind": "verify_fail", "state": "failed"}, "ineffective"),
        ({"kind": "verify_inconclusive", "state": "verifying"}, "inconclusive"),
        ({"kind": "action_unknown", "state": "unknown"}, "unknown"),
        ({"kind": "approval_requested"}, "approval"),
        ({"kind": "decision_hold", "state": "held", "reason": "approval"}, None),
        ({"kind": "decision_hold", "state": "held", "reason": "blast_radius"}, "held"),
        ({"kind": "decision_act", "state": "reserved"}, None),
        ({"kind": "action_dry_run"}, "dry_run"),
        ({"kind": "escalated", "summary": "a person must look"}, "escalated"),
        ({"kind": "settled", "escalation": "remediation:r7", "reason": "healed"}, None),
        ({"kind": "settled", "state": "healed", "actor": "bob"}, "settled"),
        ({"kind": "heartbeat"}, None),
    ],
)
def test_each_event_of_a_remediation(event: dict[str, str], kind: str | None) -> None:
    c = open_conversation("a")
    lines = heal(c, {"ts": T0 + 5, "remediation_id": "r7", "rule": "r", "fingerprint": "f", **event})
    assert kinds(lines) == ([kind] if kind else [])


def test_the_state_of_a_remediation_is_kept_for_the_parent() -> None:
    c = open_conversation("a")
    base = {"ts": T0 + 5, "remediation_id": "r7", "rule": "r", "fingerprint": "f"}
    heal(c, base | {"kind": "action_started", "state": "running", "cmd": "docker restart crm"})
    heal(c, base | {"kind": "verify_ok", "state": "healed", "ts": T0 + 20})
    assert (c.healing["r7"].state, c.healing["r7"].cmd, c.healing["r7"].at) == ("healed", "docker restart crm", T0 + 20)


# ---- silence of the sender ------------------------------------------------------------------------------------------


def test_an_alert_that_nobody_repeats_is_marked() -> None:
    c = open_conversation("a")
    assert due(c, CALM, STALE) == T0 + STALE + 1
    tick(c, T0 + STALE + 2, CALM, STALE)
    assert c.stale and due(c, CALM, STALE) is None
    hear(c, [alert("a")], T0 + STALE + 10, CALM)
    assert not c.stale


# ---- bounds ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_too_many_lines_are_put_together_and_none_is_lost(bursts: list[int]) -> None:
    unsaid: list[Line] = []
    number = 1
    for burst in bursts:
        lines = []
        for _ in range(burst):
            number += 1
            lines.append(Line("refired" if number % 2 else "resolved", number, number, T0 + number))
        unsaid = bounded(unsaid, lines)
    assert len(unsaid) <= MAX_UNSAID
    assert _covered(unsaid) == list(range(2, number + 1))


def test_who_asks_for_a_person_is_not_put_together_with_others() -> None:
    lines = [Line("refired" if n % 2 else "resolved", n, n, T0) for n in range(2, 202)]
    asked = Line("approval", 202, 202, T0, detail="restart", mentions=["<!here>"])
    unsaid = bounded([*lines, asked], [Line("resolved", n, n, T0) for n in range(203, 300)])
    assert len(unsaid) <= MAX_UNSAID and asked in unsaid
    assert _covered(unsaid) == list(range(2, 300))
    only = bounded([], [Line("approval", n, n, T0) for n in range(2, 2 + MOST_UNSAID + 20)])
    assert len(only) == MOST_UNSAID


def _covered(lines: Sequence[Line]) -> list[int]:
    return [n for line in lines for n in range(line.first, line.last + 1)]


# ---- any course of things -------------------------------------------------------------------------------------------


@dataclass
class World:
    """What is true, told in the order in which Alertmanager would tell it."""

    now: float = T0
    firing: dict[str, float] = field(default_factory=dict)


NAMES_ = ("a", "b", "d", "e")
SEVERITIES = ("info", "warning", "critical", "warning")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["fire", "resolve", "repeat", "old", "ack", "unack", "tick", "heal"]),
        st.sampled_from(NAMES_),
        st.floats(0.5, 400.0),
    ),
    max_size=60,
)


def one(name: str, status: str, starts: float) -> Alert:
    return alert(name, status, starts, SEVERITIES[NAMES_.index(name)])


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 8))
def test_every_transition_is_told_once_in_order_and_the_truth_is_kept(
    steps: list[tuple[str, str, float]], changes: int
) -> None:
    policy = ThreadPolicy(flapping=Flapping(changes, 600))
    c, world = conversation(), World()
    said: list[Line] = []
    sent: list[tuple[float, Alert]] = []
    for what, name, passed in steps:
        world.now += passed
        if what == "fire" and name not in world.firing:
            world.firing[name] = world.now
            sent.append((world.now, one(name, FIRING, world.now)))
            said += hear(c, [sent[-1][1]], world.now, policy)
        elif what == "resolve" and name in world.firing:
            sent.append((world.now, one(name, RESOLVED, world.firing.pop(name))))
            said += hear(c, [sent[-1][1]], world.now, policy)
        elif what == "repeat":
            again = [one(each, FIRING, since) for each, since in world.firing.items()]
            assert hear(c, again, world.now, policy) == []
        elif what == "old":  # the peer of a pair sends what it had, a little later
            late = [each for at, each in sent if world.now - at < LATE / 2]
            before = c.number
            said += hear(c, late, world.now, policy)
            assert c.number == before
        elif what == "ack":
            said += acked(c, f"s{name}", {"instance": name}, world.now + 1000, "alice", world.now)
        elif what == "unack":
            said += ack_ended(c, f"s{name}", "expired", "", world.now)
        elif what == "tick":
            said += tick(c, world.now, policy, STALE)
        elif what == "heal":
            event = {"kind": "action_started", "ts": world.now, "remediation_id": "r1", "state": "running"}
            if c.members:
                said += heal(c, event)
        c = from_data(orjson.loads(orjson.dumps(c)))
        assert {member.labels["instance"] for member in c.firing} == set(world.firing)
    pending = [c.digest] if c.digest is not None else []
    assert _covered([*said, *pending]) == list(range(2, c.number + 1))
