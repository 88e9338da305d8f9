"""The fold and the snapshot: the state is the sum of its events, wherever one begins to read."""

from __future__ import annotations

import pytest

from autoheal.core.errors import Conflict
from autoheal.core.fold import fold
from autoheal.core.moves.people import Mark
from autoheal.core.moves.service import Heartbeat
from autoheal.core.policy import AttemptBudget
from autoheal.core.remediation import FINAL, LEGAL, OPEN, UNKNOWN, Remediation
from autoheal.core.state import MAX_STARTS, Deferred, Mode, State
from tests.unit.core.make import T0, Play, alert, plain, remediation, resolved, rule, step


def test_every_state_is_open_final_or_unknown_and_final_is_final() -> None:
    assert set(LEGAL) == OPEN | {UNKNOWN}
    assert set().union(*LEGAL.values()) <= OPEN | FINAL | {UNKNOWN}
    assert not OPEN & FINAL


@pytest.mark.parametrize("state", sorted(FINAL))
def test_what_has_ended_does_not_move_any_more(state: str) -> None:
    with pytest.raises(Conflict, match=f"is {state}; it cannot become running"):
        remediation(state=state).to("running")


def busy() -> Play:
    """A run that leaves something of everything."""
    ladder = rule(
        steps=(step(), step("do", "more")),
        cooldown_by=("instance",),
        max_attempts=AttemptBudget(5, 900.0, ("alertname",)),
    )
    it = Play.live(ladder, rule("asks", "C", approval_timeout=60.0))
    one, two = it.accepted(alert(instance="i1"), alert(instance="i2"))
    it.hear(alert("C"), alert("A", "i1"), resolved("C", "i7"))
    it.outcome(it.start(one), "unknown")
    it.outcome(it.start(two), "fail")
    it.now -= 1.5
    it.outcome(it.start(two), "fail")
    it.hear(alert(instance="i2"), alert("Unheard"))
    it.mode(True, True)
    it.hear(alert(instance="i3"))
    it.play(Heartbeat())
    return it


def test_the_living_state_its_snapshot_and_its_lines_agree() -> None:
    it = busy()
    living = plain(it.state)
    assert plain(it.restored()) == living == plain(it.folded())
    assert it.state.deferred and it.state.unsettled and it.state.escalations and it.state.starts["dry"]


def test_a_snapshot_names_every_fact_that_was_saved() -> None:
    it = busy()
    assert {(space, key) for space, key, _ in it.state.snapshot()} - set(it.facts) <= {("policy", "policy")}
    again = State.load(
        it.state.last_id,
        it.state.last_ts,
        it.state.snapshot(),
        (r.as_dict() for r in it.state.remediations.values()),
    )
    assert plain(again) == plain(it.state)


def test_facts_of_other_products_are_passed_over() -> None:
    state = State.load(0, 0.0, [("thread", "t1", {"channel": "c"}), ("mode", "mode", {"enabled": True})], [])
    assert state.mode == Mode(enabled=True) and plain(state) == plain(State(mode=Mode(enabled=True)))


def test_remediations_come_back_in_the_order_of_their_ids_whatever_the_clock_said() -> None:
    rows = [remediation(f"r{n}", key=f"k{n}", created_at=T0 - n).as_dict() for n in (10, 9, 100)]
    assert list(State.load(0, 0.0, [], rows).remediations) == ["r9", "r10", "r100"]


def test_events_of_a_beginning_that_is_gone_are_passed_over() -> None:
    """A trail that was rotated away begins in the middle."""
    it = busy()
    state = State()
    for event in it.events[10:]:
        fold(state, event)
    assert state.last_id == it.state.last_id and state.mode == it.state.mode


def test_a_kind_that_is_not_known_moves_only_the_head() -> None:
    state = State()
    fold(state, {"id": 1, "ts": T0, "kind": "from_the_future"})
    assert (state.last_id, state.last_ts) == (1, T0) and plain(state) == plain(State(last_id=1, last_ts=T0))


def test_process_starts_are_remembered_up_to_a_limit_and_a_day() -> None:
    state = State()
    about = {"kind": "action_dry_run", "key": "k", "alertname": "A", "rule": "r", "episode": "e", "fingerprint": "f"}
    for n in range(1, MAX_STARTS + 3):
        fold(state, about | {"id": n, "ts": T0})
    assert len(state.starts["dry"]) == MAX_STARTS and state.starts["dry"][0] == ("3", T0)
    fold(state, about | {"id": 5000, "ts": T0 + 86401.0})
    assert list(state.starts["dry"]) == [("5000", T0 + 86401.0)]
    assert ("start:dry", "3") in state.touched and state.fact("start:dry", "3") == (None, None)


def test_marking_leaves_the_rest_as_it_was() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    before = it.state.remediations[rid].as_dict()
    it.play(Mark(rid, "ann"))
    after = it.state.remediations[rid].as_dict()
    assert after == before | {"marked": "false_positive"} and Remediation.from_dict(after) == it.state.remediations[rid]


# ---- what waits -----------------------------------------------------------------------------------------------------


def entry(name: str, until: float | None = None, wait_key: str | None = None) -> Deferred:
    return Deferred(name, {"alertname": "A"}, {}, T0, T0, "cooldown", "", until, wait_key)


def test_what_is_due_comes_in_order_and_stays_until_it_is_decided() -> None:
    state = State()
    for name, until in (("c", 30.0), ("a", 10.0), ("b", 20.0), ("z", 99.0)):
        state.defer(entry(name, until))
    state.defer(entry("w", wait_key="k"))
    assert [e.fingerprint for e in state.due(30.0)] == ["a", "b", "c"]
    assert [e.fingerprint for e in state.due(30.0)] == ["a", "b", "c"]
    assert [e.fingerprint for e in state.due(30.0, limit=2)] == ["a", "b"]
    state.undefer("a")
    assert [e.fingerprint for e in state.due(30.0)] == ["b", "c"]
    assert state.due(9.0) == []


def test_one_that_is_deferred_again_waits_for_its_new_time_only() -> None:
    state = State()
    state.defer(entry("a", 10.0))
    state.defer(entry("a", 50.0))
    assert state.due(20.0) == [] and [e.until for e in state.due(50.0)] == [50.0]


def test_who_waits_for_a_key_is_found_by_it_and_only_once() -> None:
    state = State()
    state.defer(entry("a", wait_key="k"))
    state.defer(entry("b", wait_key="k"))
    state.defer(entry("a", 10.0))
    assert state.waiting == {"k": {"b"}}
    assert state.undefer("b") is not None and state.undefer("b") is None
    assert state.waiting == {}


def test_a_fact_that_is_gone_is_to_be_deleted() -> None:
    state = State()
    assert state.fact("slot", "gone") == (None, None) and state.fact("resolved", "gone") == (None, None)
    state.defer(entry("a", 10.0))
    data, due = state.fact("deferred", "a")
    assert due == 10.0 and data == entry("a", 10.0)
