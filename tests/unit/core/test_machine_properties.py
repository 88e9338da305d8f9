"""Whatever comes in whatever order: the promises of the decision hold, and the state is the sum of its events."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from autoheal.core.decision import decide
from autoheal.core.errors import Conflict, Invalid, NotFound
from autoheal.core.gates import RESOLVED_MEMORY, Case, Silenced
from autoheal.core.moves.acting import Outcome, Probed, Start, Verified
from autoheal.core.moves.intake import AlertsArrived, Recheck
from autoheal.core.moves.people import Approve, Cancel, Mark, Reject, SetCooldown, SetMode, Settle
from autoheal.core.moves.service import Heartbeat, PolicyLoaded, Started, Wake
from autoheal.core.remediation import HELD, OPEN, RESERVED, UNKNOWN
from autoheal.core.state import Mode, State
from tests.unit.core.auditor import CHANGED, DECISIONS, FIRST, Auditor, indexes_hold
from tests.unit.core.make import T0, Play, alert, plain, resolved

number = st.integers(0, 40)
names = st.sampled_from(("A", "A", "B", "B", "B", "C", "C", "D", "D", "E", "Other"))
instances = st.sampled_from(("i1", "i2", "i3"))
ago = st.sampled_from((0.0, 0.0, 0.0, 30.0, 200.0))
silences = st.sampled_from(
    (None, None, Silenced(False), Silenced(True), Silenced(True, ("s1",), 500.0), Silenced(True, ("s2",)))
)
cooldowns = st.sampled_from((None, None, 0.0, 30.0, 45.0, 150.0, 400.0))
verdicts = st.sampled_from(("healed", "failed", "failed", "inconclusive"))
statuses = st.sampled_from(("ok", "ok", "fail", "fail", "unknown", "not_started"))


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.auditor = Auditor(self)
        self.it = Play(FIRST, watch=self.auditor.see)
        self.starts_at: dict[tuple[str, str], float] = {}
        self.grants: list[Start] = []
        self.it.mode(True, False)

    # ---- alerts ----------------------------------------------------------------------------------------------

    def _alert(self, name: str, instance: str, back: float) -> Any:
        at = self.starts_at.setdefault((name, instance), self.it.now) - back
        notes = {"autoheal": "true"} if instance != "i3" else {}
        return alert(name, instance, starts_at=at, annotations=notes)

    @rule(first=st.tuples(names, instances, ago), more=st.lists(st.tuples(names, instances, ago), max_size=3))
    def fire(self, first: tuple[str, str, float], more: list[tuple[str, str, float]]) -> None:
        before = len(self.it.lines)
        heard = [self._alert(*what) for what in [first, *more]]
        answers = self.it.play(AlertsArrived(heard, origin="http://am"))
        assert len(answers) == len(heard)
        assert sum(kind in DECISIONS for kind in self.it.kinds(before)) == len(heard)

    @rule(name=names, instance=instances)
    def new_episode(self, name: str, instance: str) -> None:
        self.starts_at[(name, instance)] = self.it.now
        self.fire((name, instance, 0.0), [])

    @rule(which=number, back=ago)
    def resolve(self, which: int, back: float) -> None:
        heard = [*self.starts_at.items(), (("Other", "i1"), self.it.now)]
        (name, instance), at = heard[which % len(heard)]
        before = len(self.it.lines)
        self.it.play(AlertsArrived([resolved(name, instance, at - back)]))
        assert sum(kind in DECISIONS for kind in self.it.kinds(before)) == 1

    # ---- hands -----------------------------------------------------------------------------------------------

    @rule(which=number, silenced=silences)
    def may_start(self, which: int, silenced: Silenced | None) -> None:
        waiting = list(self.it.state.reserved)
        if waiting:
            if silenced is not None and silenced.until is not None:
                silenced = replace(silenced, until=self.it.now + silenced.until)
            granted = self.it.may_start(waiting[which % len(waiting)], silenced)
            self.grants += [granted] if granted is not None else []

    @rule()
    def all_start(self) -> None:
        for rid in list(self.it.state.reserved):
            granted = self.it.may_start(rid)
            self.grants += [granted] if granted is not None else []

    @rule(heard=st.lists(st.tuples(names, instances), min_size=1, max_size=3), status=statuses, verdict=verdicts)
    def whole_way(self, heard: list[tuple[str, str]], status: Any, verdict: Any) -> None:
        """New episodes go from alert to verdict without anything in between."""
        for name, instance in heard:
            self.new_episode(name, instance)
        before = len(self.grants)
        for _ in range(2):
            self.all_start()
            for start in self.grants[before:]:
                self.it.outcome(start, status)
                self.it.verdict(start, verdict)

    @rule(which=number, status=statuses)
    def outcome(self, which: int, status: Any) -> None:
        """Of the last attempts, or of any: late, doubled, for what has ended long ago."""
        if self.grants:
            start = self.grants[-1 - which % min(3 if which < 30 else 40, len(self.grants))]
            self.it.play(Outcome(start.remediation_id, start.token, status, 0, "out", "", 1.0))

    @rule(which=number, verdict=verdicts)
    def verify(self, which: int, verdict: Any) -> None:
        if self.grants:
            start = self.grants[-1 - which % min(4, len(self.grants))]
            self.it.play(Verified(start.remediation_id, start.token, verdict, "seen"))

    @rule(which=number, healthy=st.booleans())
    def probe(self, which: int, healthy: bool) -> None:
        if self.grants:
            start = self.grants[-1 - which % min(4, len(self.grants))]
            self.it.play(Probed(start.remediation_id, start.token, healthy, "probed"))

    # ---- people ----------------------------------------------------------------------------------------------

    @rule(which=number, verb=st.sampled_from(("approve", "approve", "reject", "cancel", "healed", "failed", "mark")))
    def person(self, which: int, verb: str) -> None:
        ids = [*self.it.state.remediations, "r0"]
        rid = ids[which % len(ids)]
        moves: dict[str, Any] = {
            "approve": Approve(rid, "ann"),
            "reject": Reject(rid, "ann"),
            "cancel": Cancel(rid, "ann"),
            "healed": Settle(rid, "ann", "healed"),
            "failed": Settle(rid, "ann", "failed"),
            "mark": Mark(rid, "ann"),
        }
        before = len(self.it.lines)
        try:
            self.it.play(moves[verb])
        except (Conflict, NotFound):
            assert len(self.it.lines) == before

    @rule(mode=st.sampled_from(((True, True), (False, False), (False, True))), then=st.booleans())
    def set_mode(self, mode: tuple[bool, bool], then: bool) -> None:
        self.it.play(SetMode(*mode, "ann"))
        if then:
            self.all_start()
            self.it.play(SetMode(True, False, "ann"))

    @rule(name=st.sampled_from((*(by.name for by in FIRST.rules), "none")), seconds=cooldowns)
    def set_cooldown(self, name: str, seconds: float | None) -> None:
        before = len(self.it.lines)
        try:
            found = self.it.play(SetCooldown(name, seconds, "ann"))
        except (NotFound, Invalid):
            assert len(self.it.lines) == before
            return
        by = self.it.policy.rule(name)
        assert by is not None and found["cooldown"] == self.auditor.cooldown(by)
        if len(self.it.lines) == before:
            return
        for entry in self.it.state.deferred.values():
            slot = self.it.state.slots.get(f"{self.it.state.mode.lane}|{by.key(entry.labels)}")
            if entry.reason == "cooldown" and self.it.policy.rule_for(entry.labels) is by and slot is not None:
                assert entry.until is not None and entry.until <= max(self.it.now, slot.started_at + found["cooldown"])

    @rule(changed=st.booleans())
    def load_policy(self, changed: bool) -> None:
        self.it.play(PolicyLoaded(CHANGED if changed else FIRST))

    # ---- time ------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.0, 1.0, 5.0, 10.0, 29.0, 31.0, 60.0, 61.0, 120.0, 301.0, 7200.0)))
    def time_passes(self, seconds: float) -> None:
        self.it.now += seconds
        self.auditor.elapsed += seconds

    @rule(which=number, early=st.sampled_from((0.0, 1.0, 1.0)))
    def to_the_edge(self, which: int, early: float) -> None:
        """To the moment when something ends, or one second before; then all is heard again and may start."""
        state, now = self.it.state, self.it.now
        rules = {by.name: by for by in self.it.policy.rules}
        lasts = {name: self.auditor.cooldown(by) for name, by in rules.items()}
        edges = [s.started_at + lasts[s.rule] for s in state.slots.values() if s.rule in rules]
        edges += [breaker.open_until for breaker in state.breakers.values()]
        edges += [at + 300.0 for budget in state.budgets.values() for at in budget.times]
        edges += [at + 100.0 for lane in state.starts.values() for _, at in lane]
        edges += [mark["at"] + RESOLVED_MEMORY for mark in state.resolved.values()]
        edges = sorted({at for at in edges if now < at - early < now + 400.0})
        if edges:
            self.time_passes(edges[which % len(edges)] - early - now)
            self.scheduler(True)
            for name, instance in list(self.starts_at):
                self.fire((name, instance, 0.0), [])
                self.all_start()

    @rule(seconds=st.sampled_from((-3.0, -100.0, -86400.0, -315_360_000.0, 86400.0, 315_360_000.0)))
    def clock_jumps(self, seconds: float) -> None:
        self.it.now += seconds
        self.auditor.elapsed += max(0.0, seconds)

    @rule(firing=st.sampled_from((True, True, None, False)))
    def scheduler(self, firing: bool | None) -> None:
        self.it.play(Wake())
        for entry in self.it.state.due(self.it.now):
            self.it.play(Recheck(replace(entry), firing, 3600.0))

    @rule()
    def heartbeat(self) -> None:
        self.it.play(Heartbeat())

    # ---- restarts --------------------------------------------------------------------------------------------

    @rule(dry_run=st.sampled_from((False, False, False, True)), imported=st.sampled_from((0, 0, 0, 0, 7)))
    def restart(self, dry_run: bool, imported: int) -> None:
        self._same_from_everywhere()
        self.it.state = self.it.restored()
        self.it.play(Started("1", True, dry_run, imported=imported))

    @rule()
    def live_again(self) -> None:
        self.it.play(SetMode(True, False, "ann"))

    def _same_from_everywhere(self) -> None:
        living = plain(self.it.state)
        assert plain(self.it.restored()) == living
        assert plain(self.it.folded()) == living

    def teardown(self) -> None:
        self._same_from_everywhere()
        again = Play(FIRST)
        for now, move in self.it.script:
            again.now = now
            with contextlib.suppress(Conflict, NotFound, Invalid):
                again.play(move)
        for ours, theirs in zip(again.lines, self.it.lines, strict=False):
            assert ours == theirs
        assert len(again.lines) == len(self.it.lines)
        assert plain(again.state) == plain(self.it.state)

    # ---- always ----------------------------------------------------------------------------------------------

    @invariant()
    def what_always_holds(self) -> None:
        indexes_hold(self.it.state)
        known = {rid: r.state for rid, r in self.it.state.remediations.items()}
        assert known == {rid: s for rid, s in self.auditor.states.items() if s in OPEN or s == UNKNOWN}
        keys = [r.key for r in self.it.state.remediations.values() if r.state in OPEN]
        assert len(keys) == len(set(keys)), "two open remediations with one key"
        for r in self.it.state.remediations.values():
            starts_at, _, id_ = self.auditor.resolves.get(r.fingerprint, (float("-inf"), 0.0, 0))
            if r.state in (HELD, RESERVED) and r.cancel_on_resolve and r.starts_at <= starts_at:
                assert int(r.id[1:]) > id_, "it waits for its start although it was resolved"
        self._no_wait_lies_beyond_reason()

    def _no_wait_lies_beyond_reason(self) -> None:
        """When the time is on record, nothing waits for one that only a clock gone wrong could have meant."""
        if self.it.lines and self.it.state.last_ts == self.it.now:
            for entry in self.it.state.deferred.values():
                assert entry.until is None or entry.until <= self.it.now + 700.0, entry
            for mark in self.it.state.resolved.values():
                assert mark["at"] <= self.it.now
            for open_one in self.it.state.remediations.values():
                assert (open_one.hold_until or 0.0) <= self.it.now + 700.0, open_one
                assert (open_one.verify_until or 0.0) <= self.it.now + 700.0, open_one


QUICK = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(300)
def test_whatever_comes() -> None:
    run_state_machine_as_test(Machine, settings=QUICK)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_whatever_comes_for_long() -> None:
    thorough = settings(QUICK, max_examples=3000, stateful_step_count=120, derandomize=False)
    run_state_machine_as_test(Machine, settings=thorough)


@given(
    name=names,
    instance=instances,
    status=st.sampled_from(("firing", "firing", "resolved")),
    annotations=st.dictionaries(
        st.sampled_from(("autoheal", "autoheal_action")), st.sampled_from(("true", "no", "ladder", "do it"))
    ),
    now=st.floats(T0 - 1e6, T0 + 1e6),
    silenced=silences,
)
def test_dry_run_and_live_decide_alike(
    name: str, instance: str, status: str, annotations: dict[str, str], now: float, silenced: Silenced | None
) -> None:
    about = alert(name, instance, status, annotations=annotations)
    live, dry = State(mode=Mode(True, False)), State(mode=Mode(True, True))
    acted = decide(Case(about, now, FIRST, live, silenced=silenced))
    would = decide(Case(about, now, FIRST, dry, silenced=silenced))
    for gate, remark in acted.trace.items():
        if gate != "dry_run":
            assert would.trace[gate] in (remark, f"would {acted.result}: {remark}")
    assert would.result == {"act": "dry_run", "hold": "dry_run", "skip": "skip"}[acted.result]
    assert acted.result != "skip" or would.reason == acted.reason
