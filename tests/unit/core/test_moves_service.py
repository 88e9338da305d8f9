"""The service itself: its start and the mode, its policy, its timers, its beat."""

from __future__ import annotations

import pytest

from autoheal.core.moves.people import SetMode
from autoheal.core.moves.service import (
    Heartbeat,
    PolicyLoaded,
    PolicyRejected,
    Served,
    Started,
    Stopped,
    Unserved,
    Wake,
    WorkerStarted,
    environment_of,
    wants_wake,
)
from autoheal.core.policy import AttemptBudget
from tests.unit.core.make import T0, Play, alert, policy, resolved, rule


def mode(it: Play) -> tuple[bool, bool, str]:
    return it.state.mode.enabled, it.state.mode.dry_run, it.state.mode.source


def test_the_first_start_takes_the_environments_mode() -> None:
    it = Play()
    it.play(Started("1.0", True, False, "one"))
    assert it.kinds() == ["started", "mode_changed"] and mode(it) == (True, False, "env")
    it.play(Started("1.0", True, False))
    assert it.kinds(2) == ["started"], "nothing has changed"


def test_a_mode_set_by_hand_is_kept_while_the_environment_stays() -> None:
    it = Play()
    it.play(Started("1.0", True, False))
    it.mode(True, True)
    it.state.mode.env = "enabled=true dry_run=false"
    it.play(Started("1.0", True, False))
    assert mode(it) == (True, True, "api")


def test_a_changed_environment_wins_and_it_is_audited() -> None:
    it = Play()
    it.play(Started("1.0", True, False))
    it.mode(True, True)
    it.state.mode.env = "enabled=true dry_run=false"
    it.play(Started("1.0", False, False))
    assert mode(it) == (False, False, "env")
    changed = it.events[-1]
    assert (changed["kind"], changed["actor"]) == ("mode_changed", "environment")
    assert changed["before"] == {"enabled": True, "dry_run": True, "source": "api"}


def test_an_imported_trail_starts_dry() -> None:
    it = Play()
    it.play(Started("1.0", True, False, imported=7))
    assert mode(it) == (True, True, "import") and it.events[0]["imported"] == 7
    it.play(Started("1.0", True, False))
    assert mode(it) == (True, True, "import"), "until somebody says otherwise"


def test_started_tells_what_a_crash_left() -> None:
    it = Play.live()
    it.start(it.accepted(alert())[0])
    it.play(Started("1.0", True, False))
    event = it.of_kind("started")[0]
    assert (event["open"], event["interrupted"]) == (1, 1)


def test_stopped() -> None:
    it = Play.live()
    it.accepted(alert())
    it.play(Stopped("signal", 2))
    last = it.events[-1]
    assert (last["kind"], last["reason"], last["running"], last["open"]) == ("stopped", "signal", 2, 1)


def test_a_policy_takes_the_place_of_the_old_one() -> None:
    it = Play()
    answer = it.play(PolicyLoaded(policy(rule("a", "A"), rule("b", "B"), digest="p2"), "ann"))
    assert answer == {"digest": "p2", "rules": 2, "changed": True}
    assert it.events[-1]["rules"] == ["a", "b"] and it.state.policy["digest"] == "p2"
    assert not it.play(PolicyLoaded(it.policy))["changed"]
    assert it.hear(alert("B"))[0]["result"] == "dry_run"


def test_a_policy_that_was_refused_changes_nothing() -> None:
    it = Play()
    it.play(PolicyRejected(tuple(f"line {n}" for n in range(30)), "ann"))
    [event] = it.events
    assert event["count"] == 30 and event["error"].count("\n") == 19
    assert it.state.policy == {}


def test_a_heartbeat_says_how_it_stands() -> None:
    it = Play.live()
    it.accepted(alert())
    it.hear(alert(instance="i2"))
    it.play(Heartbeat())
    beat = it.events[-1]
    assert (beat["enabled"], beat["dry_run"], beat["open"], beat["deferred"]) == (True, False, 1, 1)


def test_a_heartbeat_forgets_what_nothing_can_need_any_more() -> None:
    it = Play.live(rule(max_attempts=AttemptBudget(9, 60.0, ("alertname",))))
    it.act(alert())
    it.hear(resolved())
    it.play(Heartbeat())
    assert it.state.slots and it.state.budgets and it.state.resolved
    it.now += 4000.0
    it.play(Heartbeat())
    assert it.state.slots and it.state.budgets and not it.state.resolved
    it.now += 366 * 86400.0
    it.play(Heartbeat())
    assert it.state.slots, "a cooldown may be as long as a year"
    it.now += 86400.0
    it.play(Heartbeat())
    assert not it.state.slots and not it.state.budgets
    assert it.restored().slots == {}


def test_wake_is_wanted_only_while_something_waits_for_it() -> None:
    it = Play.live(rule(approval_timeout=9.0), rule("b", "B"))
    assert not wants_wake(it.state)
    it.hear(alert())
    assert wants_wake(it.state)
    it.now += 9.0
    it.wake()
    assert not wants_wake(it.state)
    it.act(alert("B"), verdict="failed")
    assert wants_wake(it.state)
    assert it.play(Wake()) == 0


@pytest.mark.parametrize("changed", [policy(rule("else")), policy(rule())], ids=["rule gone", "budget gone"])
def test_what_was_told_of_a_budget_is_over_when_the_budget_is_gone(changed: object) -> None:
    it = Play.live(rule(max_attempts=AttemptBudget(1, 5000.0, ("alertname",))))
    it.act(alert())
    it.now += 60.0
    it.hear(alert())
    assert len(it.state.escalations) == 1
    it.wake()
    assert len(it.state.escalations) == 1
    it.play(PolicyLoaded(changed))  # type: ignore[arg-type]
    it.wake()
    assert it.state.escalations == {} and it.events[-1]["reason"] == "over"
    assert it.now == T0 + 60.0


LIVE, DRY, OFF = (True, False), (False, True), (False, False)


@pytest.mark.parametrize(
    ("own", "beside", "holds"),
    [
        (LIVE, (LIVE,), LIVE),
        (LIVE, (DRY,), DRY),
        (DRY, (LIVE, LIVE), DRY),
        (LIVE, (DRY, OFF), OFF),
        (OFF, (LIVE,), OFF),
    ],
)
def test_replicas_that_differ_hold_the_safer_mode(
    own: tuple[bool, bool], beside: tuple[tuple[bool, bool], ...], holds: tuple[bool, bool]
) -> None:
    it = Play(policy())
    it.play(Started("1.0", *own, "here", beside=beside))
    assert (it.state.mode.enabled, it.state.mode.dry_run) == holds


def test_replicas_that_go_live_one_after_the_other_are_live_when_the_last_one_is() -> None:
    it = Play(policy())
    it.play(Started("1.0", *DRY, "a"))
    it.play(Started("1.0", *DRY, "b", beside=(DRY,)))
    it.play(Started("1.1", *LIVE, "a2", beside=(DRY,)))
    assert not it.state.mode.acts
    it.play(Started("1.1", *LIVE, "b2", beside=(LIVE,)))
    assert it.state.mode.acts


def test_a_mode_set_at_run_time_is_kept_when_a_replica_of_the_same_environment_starts() -> None:
    it = Play(policy())
    it.play(Started("1.0", *LIVE, "a"))
    it.play(SetMode(True, True, "ann", env=environment_of(*LIVE)))
    it.play(Started("1.0", *LIVE, "b", beside=(LIVE,)))
    assert (it.state.mode.dry_run, it.state.mode.by) == (True, "ann")


def test_a_persons_brake_outlives_a_dry_replica_that_comes_and_goes() -> None:
    it = Play(policy())
    it.play(Started("1.0", *LIVE, "f1", shared=True))
    it.play(SetMode(True, True, "ann", env=environment_of(*LIVE)))
    it.play(Started("1.0", *DRY, "f2", shared=True, beside=(LIVE,)))
    it.play(Started("1.0", *LIVE, "f1b", shared=True, beside=(DRY,)))
    it.play(Started("1.0", *LIVE, "f1c", shared=True))
    assert not it.state.mode.acts and it.state.mode.by == "ann"


def test_an_environment_that_was_changed_to_live_lets_go_of_a_brake_set_before() -> None:
    it = Play(policy())
    it.play(Started("1.0", *DRY, "f1", shared=True))
    it.play(SetMode(True, True, "ann", env=environment_of(*DRY)))
    it.play(Started("1.0", *LIVE, "f1b", shared=True))
    assert it.state.mode.acts


def test_what_others_run_is_not_interrupted_by_a_start() -> None:
    it = Play.live()
    [rid] = it.accepted(alert())
    it.start(rid)
    it.play(Started("1.0", *LIVE, "there", beside=(LIVE,), living=frozenset({"here"})))
    assert [e["interrupted"] for e in it.events if e["kind"] == "started"] == [0]
    it.play(Started("1.0", *LIVE, "third"))
    assert [e["interrupted"] for e in it.events if e["kind"] == "started"] == [0, 1]


def test_a_worker_has_no_say_in_the_mode() -> None:
    it = Play.live()
    it.play(WorkerStarted("1.0", "w1", ("eu",)))
    assert it.state.mode.acts and it.events[-1]["role"] == "worker" and it.events[-1]["queues"] == ["eu"]


def test_a_queue_that_nobody_serves_is_told_once_and_settled() -> None:
    it = Play.live()
    it.play(Unserved("eu", 3))
    it.play(Unserved("eu", 4))
    assert [e["kind"] for e in it.events[-1:]] == ["escalated"] and it.state.escalations[
        "queue:eu"
    ].severity == "critical"
    assert it.kinds().count("escalated") == 1
    it.play(Served("eu"))
    assert it.state.escalations == {}
