"""The hands: leave first, then the act; the brake; what is held back; what the store did not take."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest

from autoheal.core.gates import Silenced
from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.moves.people import SetMode
from autoheal.core.moves.service import Heartbeat, PolicyLoaded
from autoheal.core.policy import Limits, Policy
from autoheal.core.remediation import Remediation
from autoheal.engine import head as head_module
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import ActionResult, NotStarted
from autoheal.engine.runner import MAX_OUTPUT, Brake, Runner
from autoheal.testing.clock import ManualClock
from autoheal.testing.fake_world import FakeAction
from autoheal.testing.memory_ledger import Disk, MemoryLedger
from tests.servers import wait_until
from tests.unit.core.make import T0, alert, policy, rule, step
from tests.unit.engine.house import events
from tests.unit.engine.test_head import Do, jammed


class Hands:
    """A head and a runner, without the rest of the engine."""

    def __init__(self, by: Policy | None = None, disk: Disk | None = None, live: bool = True) -> None:
        self.clock = ManualClock(T0)
        self.ledger = MemoryLedger(disk)
        self.action = FakeAction()
        self.silenced: dict[str, Silenced] = {}
        self.head = HeadThread(self.ledger, self.clock, by or many())
        self.runner = Runner(self.head, {"fake": self.action}, self.clock, self.silenced.get, instance="here")
        self.head.start()
        if live:
            self.head.submit(SetMode(True, False, "ann")).result(15)
        self.head.listeners.append(self.runner.listen)
        self.head.followers.append(self.runner.follow)

    def hear(self, count: int = 1) -> list[str]:
        heard = [alert(instance=f"i{n}") for n in range(count)]
        answers = self.head.submit(AlertsArrived(heard)).result(15)
        assert {a["result"] for a in answers} == {"accepted"}, answers
        return [a["remediation_id"] for a in answers]

    def row(self, rid: str) -> Remediation:
        return Remediation.from_dict(orjson.loads(self.ledger.disk.remediations[rid].data))

    def states(self, ids: list[str]) -> list[str]:
        return [self.ledger.disk.remediations[rid].state for rid in ids]

    def come_to(self, ids: list[str], *states: str) -> None:
        wait_until(lambda: all(s in states for s in self.states(ids)), 15, f"{states}")


def many(concurrent: int = 4, **values: Any) -> Policy:
    """Each instance has a slot of its own; nothing is verified."""
    values = {"cooldown_by": ("instance",), "steps": (step("do", "{labels.instance}"),)} | values
    return policy(rule(**values), limits=Limits(concurrent))


@contextmanager
def hands(by: Policy | None = None, start: bool = True, **values: Any) -> Iterator[Hands]:
    made = Hands(by, **values)
    if start:
        made.runner.start()
    try:
        yield made
    finally:
        made.action.release()
        made.ledger.mend()
        made.runner.stop(15)
        made.head.stop()


def test_it_acts_with_leave_on_record_and_reports_the_end() -> None:
    with hands() as it:
        it.action.then(ActionResult("ok", 0, "x" * (MAX_OUTPUT + 5), ""))
        [rid] = it.hear()
        it.come_to([rid], "healed")
        [ran] = it.action.runs
        assert ran.options == {"do": "i0"} and ran.timeout == 60.0
        kinds = [e["kind"] for e in events(it.ledger)]
        assert kinds == ["mode_changed", "webhook_received", "decision_act", "action_started", "action_ok"]
        assert len(events(it.ledger)[-1]["output"]) == MAX_OUTPUT
        assert not it.runner.holds(rid)


def test_what_fails_climbs_its_ladder_to_the_end() -> None:
    with hands(many(steps=(step("do", "a"), step("do", "b"), step("do", "c")))) as it:
        it.action.then(ActionResult("fail", 1), ActionResult("fail", 2))
        [rid] = it.hear()
        it.come_to([rid], "healed")
        assert [run.options["do"] for run in it.action.runs] == ["a", "b", "c"]


def test_never_more_at_once_than_the_policy_lets() -> None:
    with hands(many(concurrent=2)) as it:
        it.action.hold()
        ids = it.hear(8)
        wait_until(lambda: it.action.at_once == 2)
        it.head.submit(Heartbeat()).result(15)
        assert sorted(it.states(ids)) == ["reserved"] * 6 + ["running"] * 2
        it.action.release()
        it.come_to(ids, "healed")
        assert it.action.most_at_once == 2 and len(it.action.runs) == 8


def test_a_policy_lets_more_or_fewer_act_from_now_on() -> None:
    with hands(many(concurrent=4)) as it:
        it.head.submit(PolicyLoaded(many(concurrent=1))).result(15)
        it.action.hold()
        ids = it.hear(6)
        wait_until(lambda: it.action.at_once == 1)
        it.head.submit(PolicyLoaded(many(concurrent=5))).result(15)
        wait_until(lambda: it.action.at_once == 5, what="hands that slept are woken")
        it.action.release()
        it.come_to(ids, "healed")


def test_what_was_reserved_before_it_began_is_picked_up() -> None:
    with hands(start=False) as it:
        ids = it.hear(3)
        it.runner.start()
        it.come_to(ids, "healed")


def test_it_is_asked_whether_the_alert_is_silenced() -> None:
    with hands() as it:
        it.silenced[alert(instance="i1").fingerprint] = Silenced(True, ("s1",), T0 + 60.0)
        ids = it.hear(2)
        it.come_to(ids, "healed", "cancelled")
        assert it.states(ids) == ["healed", "cancelled"] and len(it.action.runs) == 1


# ---- how an action ends ---------------------------------------------------------------------------------------------


def test_a_kind_without_hands_fails() -> None:
    with hands(many(steps=(step(kind="unheard"),))) as it:
        [rid] = it.hear()
        it.come_to([rid], "failed")
        assert "no hands for 'unheard'" in events(it.ledger)[-2]["error"]


def test_an_error_after_the_start_is_unknown_and_before_it_a_failure() -> None:
    with hands() as it:
        it.action.then(RuntimeError("connection lost"))
        [rid] = it.hear()
        it.come_to([rid], "unknown")
        assert it.row(rid).steps[0]["error"] == "RuntimeError: connection lost"

    def broken() -> None:
        raise ValueError("no such container")

    with hands() as it:
        it.action.before_begin = broken
        [rid] = it.hear()
        it.come_to([rid], "failed")
        assert it.action.runs == []


def test_a_start_that_comes_too_late_does_not_happen() -> None:
    with hands() as it:
        it.action.before_begin = lambda: it.clock.advance(10.0)
        [rid] = it.hear()
        it.come_to([rid], "expired")
        assert it.action.runs == [] and it.row(rid).reason == "not_started"


# ---- the brake ------------------------------------------------------------------------------------------------------


def test_the_brake_lets_start_only_while_it_is_off() -> None:
    brake = Brake()
    with pytest.raises(NotStarted):
        brake.begin(lambda: 1, lambda: True)
    brake.set(True)
    assert brake.begin(lambda: 1, lambda: True) == 1
    with pytest.raises(NotStarted):
        brake.begin(lambda: 1, lambda: False)


def test_the_brake_waits_for_the_start_that_is_on_its_way() -> None:
    brake = Brake()
    brake.set(True)
    inside, go, order = threading.Event(), threading.Event(), []

    def start() -> None:
        inside.set()
        assert go.wait(15)
        order.append("started")

    def pull() -> None:
        brake.set(False)
        order.append("braked")

    starter = threading.Thread(target=lambda: brake.begin(start, lambda: True))
    starter.start()
    assert inside.wait(15)
    puller = threading.Thread(target=pull)
    puller.start()
    go.set()
    starter.join(15)
    puller.join(15)
    assert order == ["started", "braked"]


@pytest.mark.parametrize("round_", range(5))
def test_after_the_brake_is_answered_nothing_begins(round_: int) -> None:
    """Many hands at work, a storm of alerts, and the brake somewhere in the middle of it."""
    with hands(many(concurrent=16)) as it:
        pulled = threading.Event()
        reached = 20 + 40 * round_

        def watch() -> None:
            if len(it.action.runs) >= reached:
                pulled.set()

        it.action.before_begin = watch
        storm = it.head.submit(AlertsArrived([alert(instance=f"i{n}") for n in range(400)]))
        assert pulled.wait(30)
        it.head.submit(SetMode(True, True, "ann")).result(15)
        begun = len(it.action.runs)
        ids = [a["remediation_id"] for a in storm.result(15)]
        it.come_to(ids, "healed", "cancelled", "expired")
        assert len(it.action.runs) == begun < 400
        assert it.states(ids).count("healed") == begun
        with it.head.reading() as (state, _):
            assert len(state.starts["live"]) == begun, "what was held back counts for nothing"


def test_a_thousand_that_wait_end_cancelled_when_the_mode_is_dry() -> None:
    with hands(many(concurrent=2)) as it:
        it.action.hold()
        ids = it.hear(1000)
        wait_until(lambda: it.action.at_once == 2)
        it.head.submit(SetMode(True, True, "ann")).result(15)
        it.action.release()
        it.come_to(ids, "healed", "cancelled")
        assert len(it.action.runs) == 2 and it.states(ids).count("cancelled") == 998


def test_a_mode_whose_answer_was_lost_reaches_the_brake() -> None:
    with hands(live=False) as it:
        it.ledger.fail("after_commit")
        assert it.head.submit(SetMode(True, False, "ann")).exception(15) is not None
        assert not it.runner.brake.acts
        it.runner.sweep()
        assert it.runner.brake.acts
        it.come_to(it.hear(), "healed")


# ---- the store fails ------------------------------------------------------------------------------------------------


def test_an_outcome_that_the_store_does_not_take_is_told_later() -> None:
    with hands() as it:
        it.action.hold()
        [rid] = it.hear()
        wait_until(lambda: it.action.at_once == 1)
        it.ledger.fail("begin", times=None)
        it.action.release()
        wait_until(lambda: it.runner._undelivered)
        for _ in range(3):
            it.runner.sweep()
        assert it.states([rid]) == ["running"] and it.runner.holds(rid)
        it.ledger.mend()
        it.runner.sweep()
        it.come_to([rid], "healed")
        assert len(it.action.runs) == 1 and not it.runner.holds(rid)


def test_an_outcome_that_is_not_let_in_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    with hands() as it:
        it.action.hold()
        [rid] = it.hear()
        wait_until(lambda: it.action.at_once == 1)
        with jammed(it.head):
            waiting = it.head.submit(Do(lambda turn: 1))
            monkeypatch.setattr(head_module, "MAX_WAITING", 0.5)
            it.action.release()
            wait_until(lambda: it.runner._undelivered)
        waiting.result(15)
        it.runner.sweep()
        it.come_to([rid], "healed")


def test_a_start_that_cannot_be_recorded_does_not_happen_and_is_tried_again() -> None:
    with hands(start=False) as it:
        [rid] = it.hear()
        it.ledger.fail("commit")
        it.runner.start()
        wait_until(lambda: not it.head.healthy or it.action.runs, what="the commit that fails")
        wait_until(lambda: not it.runner.holds(rid))
        it.runner.sweep()
        it.come_to([rid], "healed")
        assert len(it.action.runs) == 1 and len([e for e in events(it.ledger) if e["kind"] == "action_started"]) == 1


def test_a_start_whose_answer_is_lost_never_happens() -> None:
    with hands(start=False) as it:
        [rid] = it.hear()
        it.ledger.fail("after_commit")
        it.runner.start()
        wait_until(lambda: not it.runner.holds(rid))
        wait_until(lambda: it.runner.sweep() or it.states([rid]) == ["expired"], what="the end")
        assert it.row(rid).reason == "not_started" and it.action.runs == []
        assert list(it.head.state.deferred) == [it.row(rid).fingerprint]


def test_a_head_that_breaks_over_one_does_not_end_the_hands() -> None:
    with hands() as it:

        def broken(fingerprint: str) -> None:
            raise RuntimeError("boom")

        it.runner._silenced = broken
        [rid] = it.hear()
        wait_until(lambda: not it.runner.holds(rid))
        it.runner._silenced = it.silenced.get
        it.runner.sweep()
        it.come_to([rid], "healed")


# ---- the end --------------------------------------------------------------------------------------------------------


def test_stopping_waits_for_what_runs_and_starts_nothing_more() -> None:
    with hands(many(concurrent=1)) as it:
        it.action.hold()
        ids = it.hear(3)
        wait_until(lambda: it.action.at_once == 1)
        assert it.runner.stop(0.0) == 1
        it.action.release()
        assert it.runner.stop(15.0) == 0
        it.head.submit(Heartbeat()).result(15)  # behind the outcome that is on its way
        assert sorted(it.states(ids)) == ["healed", "reserved", "reserved"] and len(it.action.runs) == 1
