"""Each gate by itself: when it lets pass, and when not, with what reason and until when."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from autoheal.core import gates
from autoheal.core.alert import Alert
from autoheal.core.gates import GATES, RESOLVED_MEMORY, WOULD, Case, Silenced, Verdict
from autoheal.core.policy import AttemptBudget, BlastRadius, BreakerLimit, Limits, Policy, Window
from autoheal.core.remediation import Remediation
from autoheal.core.state import DRY, LIVE, Breaker, Budget, Mode, Slot, State
from tests.unit.core.make import T0, alert, policy, remediation, resolved, rule, step

KEY = 'r{alertname="A"}'
NOW = T0 + 1000.0


@dataclass
class Given:
    """What a gate is asked about; every test changes what it is about."""

    about: Alert
    now: float = NOW
    policy: Policy = field(default_factory=policy)
    mode: Mode | None = None
    state: State | None = None
    own: Remediation | None = None
    silenced: Silenced | None = None

    def case(self) -> Case:
        state = self.state or State()
        state.mode = self.mode or Mode(enabled=True, dry_run=False)
        return Case(self.about, self.now, self.policy, state, own=self.own, silenced=self.silenced)


def given(about: Alert | None = None, **values: Any) -> Given:
    return Given(about or alert(), **values)


def state(*open_ones: Remediation, **values: Any) -> State:
    made = State(**values)
    for one in open_ones:
        made.index(one)
    return made


def ruled(**values: Any) -> Policy:
    return policy(rule(**values), limits=values.pop("limits", None))


def limited(**limits: Any) -> Policy:
    return policy(limits=Limits(4, **limits))


def started(at: float, lane: str = LIVE) -> State:
    return State(slots={f"{lane}|{KEY}": Slot(at, "A", "r", "e")})


def used(*times: float, lane: str = LIVE) -> State:
    return State(budgets={f"{lane}|{KEY}": Budget(list(times))})


def acted(*times: float, lane: str = LIVE) -> State:
    lanes: dict[str, deque[tuple[str, float]]] = {LIVE: deque(), DRY: deque()}
    lanes[lane] = deque((str(n), at) for n, at in enumerate(times))
    return State(starts=lanes)


def failing(failures: int, open_until: float, *open_ones: Remediation) -> State:
    return state(*open_ones, breakers={"live|r": Breaker(failures, open_until)})


BUDGET = {"max_attempts": AttemptBudget(2, 100.0, ("alertname",))}
RADIUS = {"blast_radius": BlastRadius(2, 100.0)}
BREAKER = {"breaker": BreakerLimit(3, 500.0)}
WINDOW = Window("Mon 00:10-Mon 00:20 UTC", 10, 20, ZoneInfo("UTC"))
BEGUN = remediation(started_at=NOW - 5.0)
OTHER = remediation("r9", "running")
MARK = {"starts_at": T0, "at": NOW - 59.0}
LONG_AGO = {"at": NOW - RESOLVED_MEMORY}

PASSES: list[tuple[str, str, Given]] = [
    ("live", "kill_switch", given()),
    ("dry run", "kill_switch", given(mode=Mode(True, True))),
    ("default", "kill_switch", given(mode=Mode(False, True))),
    ("firing", "resolved", given()),
    (
        "resolved long ago",
        "resolved",
        given(state=State(resolved={alert().fingerprint: MARK | LONG_AGO})),
    ),
    (
        "a new episode right after",
        "resolved",
        given(alert(starts_at=T0 + 1), state=State(resolved={alert().fingerprint: MARK})),
    ),
    (
        "its rule goes on after a resolve",
        "resolved",
        given(own=remediation(cancel_on_resolve=False), state=State(resolved={alert().fingerprint: MARK})),
    ),
    ("a rule matches", "rule", given()),
    ("the rule is still the same", "rule", given(own=remediation())),
    ("no annotation asked for", "opt_in", given()),
    ("autoheal: true", "opt_in", given(alert(annotations={"autoheal": " True "}), policy=ruled(opt_in=True))),
    ("autoheal_action", "opt_in", given(alert(annotations={"autoheal_action": "x"}), policy=ruled(opt_in=True))),
    ("no action asked for", "action_allowed", given()),
    ("the rule's name", "action_allowed", given(alert(annotations={"autoheal_action": "r"}))),
    ("the command line", "action_allowed", given(alert(annotations={"autoheal_action": " do it "}))),
    (
        "the rendered command line",
        "action_allowed",
        given(alert(annotations={"autoheal_action": "do i1"}), policy=ruled(steps=(step("do", "{labels.instance}"),))),
    ),
    ("no window", "maintenance", given()),
    ("before the window", "maintenance", given(now=T0 + 599.0, policy=ruled(never_during=(WINDOW,)))),
    ("at its end", "maintenance", given(now=T0 + 1200.0, policy=ruled(never_during=(WINDOW,)))),
    ("not asked yet", "silenced", given()),
    ("out of reach", "silenced", given(silenced=Silenced(False))),
    ("not silenced", "silenced", given(silenced=Silenced(True))),
    ("nothing open", "in_progress", given()),
    ("another key", "in_progress", given(state=state(remediation("r9", "running", key="else")))),
    ("its own", "in_progress", given(state=state(remediation()), own=remediation())),
    ("dry run has a lane of its own", "in_progress", given(mode=Mode(True, True), state=state(OTHER))),
    ("nothing unknown", "unsettled", given()),
    ("another key", "unsettled", given(state=state(remediation("r9", "unknown", key="else")))),
    ("dry run", "unsettled", given(mode=Mode(True, True), state=state(remediation("r9", "unknown")))),
    ("never started", "cooldown", given()),
    ("it has ended", "cooldown", given(state=started(NOW - 60.0))),
    ("its own slot", "cooldown", given(state=started(NOW - 5.0), own=BEGUN)),
    ("the other lane", "cooldown", given(state=started(NOW - 5.0, DRY))),
    ("no budget", "budget", given()),
    ("nothing used", "budget", given(policy=ruled(**BUDGET))),
    ("one left", "budget", given(policy=ruled(**BUDGET), state=used(NOW - 99.0))),
    ("out of the window", "budget", given(policy=ruled(**BUDGET), state=used(NOW - 100.0, NOW - 5.0))),
    ("counted already", "budget", given(policy=ruled(**BUDGET), state=used(NOW - 9.0, NOW - 5.0), own=BEGUN)),
    ("the other lane", "budget", given(policy=ruled(**BUDGET), state=used(NOW - 9.0, NOW - 5.0, lane=DRY))),
    ("no limit", "breaker", given(state=failing(9, NOW + 9))),
    ("never failed", "breaker", given(policy=limited(**BREAKER))),
    ("too few", "breaker", given(policy=limited(**BREAKER), state=failing(2, 0.0))),
    ("half open", "breaker", given(policy=limited(**BREAKER), state=failing(3, NOW))),
    (
        "half open, other rules do not count",
        "breaker",
        given(policy=limited(**BREAKER), state=failing(3, NOW, remediation("r9", rule="else"))),
    ),
    (
        "half open, its own",
        "breaker",
        given(policy=limited(**BREAKER), state=failing(3, NOW, remediation()), own=remediation()),
    ),
    ("no limit", "blast_radius", given(state=acted(NOW, NOW, NOW))),
    ("one left", "blast_radius", given(policy=limited(**RADIUS), state=acted(NOW - 1.0))),
    ("out of the window", "blast_radius", given(policy=limited(**RADIUS), state=acted(NOW - 100.0, NOW - 1.0))),
    ("the other lane", "blast_radius", given(policy=limited(**RADIUS), state=acted(NOW, NOW, lane=DRY))),
    (
        "itself does not wait before itself",
        "blast_radius",
        given(policy=limited(**RADIUS), state=state(remediation(), remediation("r9", key="k")), own=remediation()),
    ),
    (
        "dry run does not wait for the live",
        "blast_radius",
        given(
            policy=limited(**RADIUS),
            mode=Mode(True, True),
            state=state(remediation("r8", key="j"), remediation("r9", key="k")),
        ),
    ),
    ("none asked for", "approval", given()),
    ("approved", "approval", given(policy=ruled(approval_timeout=60.0), own=remediation(approved_by="ann"))),
    ("live", "dry_run", given()),
]

STOPS: list[tuple[str, str, Given, str, float | None, str | None]] = [
    ("off", "kill_switch", given(mode=Mode(False, False)), "disabled", None, None),
    ("resolved", "resolved", given(resolved()), "resolved", None, None),
    (
        "a late copy",
        "resolved",
        given(state=State(resolved={alert().fingerprint: MARK})),
        "resolved",
        MARK["at"] + RESOLVED_MEMORY,
        None,
    ),
    ("no rule", "rule", given(alert("Unheard")), "not_allowlisted", None, None),
    ("about ourselves", "rule", given(alert("AutohealStuck")), "not_allowlisted", None, None),
    ("the rule changed", "rule", given(own=remediation(rule_digest="older")), "rule_changed", None, None),
    ("the rule is gone", "rule", given(alert("Unheard"), own=remediation()), "rule_changed", None, None),
    ("another rule now", "rule", given(own=remediation(rule="older")), "rule_changed", None, None),
    ("no annotation", "opt_in", given(policy=ruled(opt_in=True)), "not_annotated", None, None),
    (
        "another answer",
        "opt_in",
        given(alert(annotations={"autoheal": "yes"}), policy=ruled(opt_in=True)),
        "not_annotated",
        None,
        None,
    ),
    (
        "another action",
        "action_allowed",
        given(alert(annotations={"autoheal_action": "rm -rf /"})),
        "action_not_allowed",
        None,
        None,
    ),
    (
        "a label that is no argument",
        "action_allowed",
        given(alert(instance="--help"), policy=ruled(steps=(step("do", "{labels.instance}"),))),
        "action_not_allowed",
        None,
        None,
    ),
    (
        "inside the window",
        "maintenance",
        given(now=T0 + 600.0, policy=ruled(never_during=(WINDOW,))),
        "maintenance",
        T0 + 1200.0,
        None,
    ),
    ("silenced", "silenced", given(silenced=Silenced(True, ("s",), NOW + 9)), "silenced", NOW + 9, None),
    ("silenced for ever", "silenced", given(silenced=Silenced(True, ("s",))), "silenced", None, None),
    ("another is open", "in_progress", given(state=state(OTHER)), "in_progress", None, KEY),
    ("another, not its own", "in_progress", given(state=state(OTHER), own=remediation()), "in_progress", None, KEY),
    ("one is unknown", "unsettled", given(state=state(remediation("r9", "unknown"))), "unsettled", None, KEY),
    ("a second is missing", "cooldown", given(state=started(NOW - 59.0)), "cooldown", NOW + 1.0, None),
    ("dry", "cooldown", given(mode=Mode(True, True), state=started(NOW, DRY)), "cooldown", NOW + 60.0, None),
    (
        "at least 30 s",
        "cooldown",
        given(policy=ruled(cooldown=0.0), state=started(NOW - 29.0)),
        "cooldown",
        NOW + 1.0,
        None,
    ),
    ("its own, not begun", "cooldown", given(state=started(NOW), own=remediation()), "cooldown", NOW + 60.0, None),
    ("a start in the future", "cooldown", given(state=started(NOW + 1e9)), "cooldown", NOW + 60.0, None),
    ("all used", "budget", given(policy=ruled(**BUDGET), state=used(NOW - 99.0, NOW)), "budget", None, None),
    (
        "open",
        "breaker",
        given(policy=limited(**BREAKER), state=failing(3, NOW + 9)),
        "breaker_open",
        NOW + 9,
        None,
    ),
    (
        "open since a future",
        "breaker",
        given(policy=limited(**BREAKER), state=failing(3, NOW + 1e9)),
        "breaker_open",
        NOW + 500.0,
        None,
    ),
    (
        "half open, the trial runs",
        "breaker",
        given(policy=limited(**BREAKER), state=failing(3, NOW, remediation("r9", "verifying", key="k"))),
        "breaker_open",
        NOW + 10.0,
        None,
    ),
    (
        "both started",
        "blast_radius",
        given(policy=limited(**RADIUS), state=acted(NOW - 500.0, NOW - 90.0, NOW - 20.0)),
        "blast_radius",
        NOW + 10.0,
        None,
    ),
    (
        "both wait",
        "blast_radius",
        given(policy=limited(**RADIUS), state=state(remediation("r8", key="j"), remediation("r9", key="k"))),
        "blast_radius",
        NOW + 5.0,
        None,
    ),
    (
        "never less than a second",
        "blast_radius",
        given(policy=limited(**RADIUS), state=acted(NOW - 99.5, NOW - 99.5)),
        "blast_radius",
        NOW + 1.0,
        None,
    ),
    ("nobody asked", "approval", given(policy=ruled(approval_timeout=60.0)), "approval", NOW + 60.0, None),
    (
        "nobody approved",
        "approval",
        given(policy=ruled(approval_timeout=60.0), own=remediation()),
        "approval",
        NOW + 60.0,
        None,
    ),
    ("dry", "dry_run", given(mode=Mode(True, True)), "dry_run", None, None),
    ("default", "dry_run", given(mode=Mode(False, True)), "dry_run", None, None),
]


def names(rows: list[Any]) -> list[str]:
    return [f"{row[1]}: {row[0]}" for row in rows]


@pytest.mark.parametrize("row", PASSES, ids=names(PASSES))
def test_a_gate_lets_pass(row: tuple[str, str, Given]) -> None:
    _, name, about = row
    assert not isinstance(dict(GATES)[name](about.case()), Verdict)


@pytest.mark.parametrize("row", STOPS, ids=names(STOPS))
def test_a_gate_stops(row: tuple[str, str, Given, str, float | None, str | None]) -> None:
    _, name, about, reason, until, wait_key = row
    verdict = dict(GATES)[name](about.case())
    assert isinstance(verdict, Verdict)
    assert (verdict.reason, verdict.until, verdict.wait_key) == (reason, until, wait_key)
    kind = {"blast_radius": "hold", "approval": "hold", "dry_run": "dry_run"}.get(name, "skip")
    assert verdict.kind == kind and verdict.why


def test_every_gate_is_seen_passing_and_stopping() -> None:
    assert {row[1] for row in PASSES} == {row[1] for row in STOPS} == {name for name, _ in GATES}


def test_the_order_is_the_contracts() -> None:
    assert [name for name, _ in GATES] == [
        "kill_switch",
        "resolved",
        "rule",
        "opt_in",
        "action_allowed",
        "maintenance",
        "silenced",
        "in_progress",
        "unsettled",
        "cooldown",
        "budget",
        "breaker",
        "blast_radius",
        "approval",
        "dry_run",
    ]
    assert all(gate is getattr(gates, name) for name, gate in GATES)
    assert {"budget", "breaker", "blast_radius", "approval"} == WOULD


REMARKS: list[tuple[str, Given, str]] = [
    ("rule", given(), "r"),
    ("silenced", given(silenced=Silenced(False)), "out of reach"),
    ("cooldown", given(state=started(NOW - 5.0), own=BEGUN), "its own slot"),
    ("budget", given(policy=ruled(**BUDGET), state=used(NOW - 5.0)), "attempt 2 of 2"),
    ("breaker", given(policy=limited(**BREAKER), state=failing(3, NOW)), "half open"),
    ("approval", given(policy=ruled(approval_timeout=60.0), own=remediation(approved_by="ann")), "ann"),
    ("action_allowed", given(policy=ruled(steps=(step("do", "{labels.instance}"),))), "do i1"),
]


@pytest.mark.parametrize("name, about, text", REMARKS, ids=[row[0] for row in REMARKS])
def test_the_trace_says_more_than_pass_where_there_is_more_to_say(name: str, about: Given, text: str) -> None:
    remark = dict(GATES)[name](about.case())
    assert isinstance(remark, str) and text in remark


def test_the_first_window_that_now_lies_in_decides() -> None:
    later = replace(WINDOW, text="later", start=15, end=30)
    about = given(now=T0 + 16 * 60.0, policy=ruled(never_during=(later, WINDOW)))
    verdict = gates.maintenance(about.case())
    assert verdict is not None and verdict.until == T0 + 1800.0


def test_a_gate_changes_nothing() -> None:
    calls: list[Callable[[Case], Any]] = [gate for _, gate in GATES]
    about = given(policy=ruled(**BUDGET), state=used(NOW - 5.0)).case()
    first = [gate(about) for gate in calls]
    assert [gate(about) for gate in calls] == first
    assert about.state.touched == {}
