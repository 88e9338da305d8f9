"""The contract in other words: watches the events of a run, counts by itself, and objects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol
from zoneinfo import ZoneInfo

from autoheal.core.events import KINDS, Event
from autoheal.core.gates import RESOLVED_MEMORY
from autoheal.core.policy import AttemptBudget, BlastRadius, BreakerLimit, Limits, Rule, Window
from autoheal.core.remediation import LEGAL, OPEN, RESERVED, UNKNOWN
from autoheal.core.state import State
from tests.unit.core.make import Play, http, policy
from tests.unit.core.make import rule as a_rule
from tests.unit.core.make import step as a_step

LIMITS = Limits(4, BlastRadius(4, 100.0), BreakerLimit(2, 200.0))
WINDOW = Window("Mon 00:10-Mon 00:20 UTC", 10, 20, ZoneInfo("UTC"))


def ladder() -> tuple[Rule, ...]:
    """One rule of each kind."""
    return (
        a_rule("ladder", "A", steps=(a_step(verify=http()), a_step("do", "more", verify=http(0.0)))),
        a_rule(
            "counted",
            "B",
            steps=(a_step("do", "{labels.instance}"),),
            cooldown=20.0,
            cooldown_by=("alertname", "instance"),
            max_attempts=AttemptBudget(3, 300.0, ("alertname",)),
        ),
        a_rule("asks", "C", approval_timeout=100.0, never_during=(WINDOW,), cooldown_by=("instance",)),
        a_rule("stubborn", "D", steps=(a_step(), a_step("do", "again")), cancel_on_resolve=False, cooldown=90.0),
        a_rule("shy", "E", opt_in=True, cooldown=0.0, steps=(a_step("do", "{labels.missing}"), a_step())),
    )


FIRST = policy(*ladder(), limits=LIMITS, digest="p1")
CHANGED = policy(
    replace(ladder()[0], cooldown=45.0, digest="ladder-2"),
    replace(ladder()[1], cooldown_by=("alertname",), digest="counted-2"),
    *ladder()[3:],
    limits=LIMITS,
    digest="p2",
)
COOLDOWN = {"ladder": 45.0, "counted": 30.0, "asks": 60.0, "stubborn": 90.0, "shy": 30.0}
"""The shortest that either policy gives each rule; never less than 30 s."""
DECISIONS = frozenset({"decision_act", "decision_skip", "decision_hold", "action_dry_run"})


@dataclass
class Began:
    remediation_id: str
    token: str
    key: str
    rule: str
    budget_key: str | None
    first: bool
    at: float
    slot_freed: bool = False
    """A later start took its slot over and gave it back: the present policy's longer cooldown does not reach it."""


class Run(Protocol):
    """What is watched."""

    it: Play


@dataclass
class Auditor:
    """Watches the events and holds them against the contract, with a count of its own for everything."""

    machine: Run
    elapsed: float = 0.0
    last_id: int = 0
    states: dict[str, str] = field(default_factory=dict)
    about: dict[str, Event] = field(default_factory=dict)
    began: list[Began] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    open_until: dict[str, float] = field(default_factory=dict)
    resolves: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    standing: set[str] = field(default_factory=set)
    cooldowns: dict[str, tuple[float, str]] = field(default_factory=dict)
    """What was set by hand, and for which digest of the rule."""
    ever_set: set[str] = field(default_factory=set)

    def see(self, event: Event) -> None:
        assert event["id"] == self.last_id + 1
        self.last_id = event["id"]
        assert event["ts"] == self.machine.it.now
        assert event["kind"] in KINDS
        assert None not in event.values()
        if event["kind"] == "escalated":
            assert event["escalation"] not in self.standing, "told twice while it stands"
            self.standing.add(event["escalation"])
        elif "escalation" in event:
            self.standing.discard(event["escalation"])
        if event["kind"] == "cooldown_changed":
            self._cooldown(event)
        if "resolves" in event:
            self.resolves[event["fingerprint"]] = (event["resolves"], self.elapsed, event["id"])
        if "state" in event:
            self._moved(event)

    def _cooldown(self, event: Event) -> None:
        rule = event["rule"]
        self.ever_set.add(rule)
        if event.get("reset"):
            assert self.cooldowns.pop(rule), "nothing was set"
        else:
            by = self.machine.it.policy.rule(rule)
            assert by is not None and event["rule_digest"] == by.digest and event["cooldown"] >= 30.0
            self.cooldowns[rule] = event["cooldown"], by.digest

    def cooldown(self, by: Rule) -> float:
        """What is set counts for the very rule that it was set for."""
        seconds, digest = self.cooldowns.get(by.name, (0.0, ""))
        return seconds if digest == by.digest else max(by.cooldown, 30.0)

    def _moved(self, event: Event) -> None:
        rid, state, kind = event["remediation_id"], event["state"], event["kind"]
        before = self.states.get(rid)
        if before is None:
            assert kind in ("decision_act", "decision_hold")
            self.about[rid] = event
            assert event["starts_at"] > self._just_resolved(event["fingerprint"])
        else:
            assert state in LEGAL[before], f"{rid}: {before} → {state} by {kind}"
        if kind == "action_started":
            self._started(event)
        elif kind.startswith("action_") and "token" in event:
            tokens = [b.token for b in self.began if b.remediation_id == rid]
            assert event["token"] == tokens[-1], "another attempt's end"
        if event.get("not_started"):
            self.began = [b for b in self.began if b.token != event["token"]]
            for begun in self.began:
                begun.slot_freed |= begun.key == self.about[rid]["key"]
        self.states[rid] = state
        self._breaker(event)

    def _just_resolved(self, fingerprint: str) -> float:
        starts_at, at, _ = self.resolves.get(fingerprint, (float("-inf"), 0.0, 0))
        return starts_at if self.elapsed < at + RESOLVED_MEMORY else float("-inf")

    def _started(self, event: Event) -> None:
        about = self.about[event["remediation_id"]]
        mode = self.machine.it.state.mode
        assert mode.enabled and not mode.dry_run, "a start while not live"
        assert self.elapsed >= self.open_until.get(event["rule"], 0.0), "a start behind an open breaker"
        starts_at, _, id_ = self.resolves.get(about["fingerprint"], (float("-inf"), 0.0, 0))
        if about["cancel_on_resolve"] and about["starts_at"] <= starts_at:
            assert about["id"] > id_, "a start for an episode that was resolved"
        for rid, state in self.states.items():
            other = self.about[rid]
            if other["key"] == about["key"] and rid != event["remediation_id"]:
                assert state not in OPEN and state != UNKNOWN, f"a start beside {rid}, which is {state}"
        first = event["step"] == 0
        if first:
            self._first_start(about)
        recent = [b for b in self.began if b.at > self.elapsed - 100.0]
        assert len(recent) < 4, "beyond the blast radius"
        begun = Began(
            about["remediation_id"],
            event["token"],
            about["key"],
            about["rule"],
            about.get("budget_key"),
            first,
            self.elapsed,
        )
        assert begun.token not in {b.token for b in self.began}
        self.began.append(begun)

    def _first_start(self, about: Event) -> None:
        for begun in self.began:
            if not begun.first:
                continue
            assert begun.remediation_id != about["remediation_id"], "started twice"
            if begun.key == about["key"]:
                by = self.machine.it.policy.rule(about["rule"])
                shortest = 30.0 if about["rule"] in self.ever_set else COOLDOWN[about["rule"]]
                cooldown = shortest if begun.slot_freed or by is None else self.cooldown(by)
                assert self.elapsed - begun.at >= cooldown, "two starts in one cooldown slot"
        budget = about.get("budget_key")
        if budget is not None:
            counted = [b for b in self.began if b.first and b.budget_key == budget and b.at > self.elapsed - 300.0]
            assert len(counted) < 3, "more attempts than the budget has"

    def _breaker(self, event: Event) -> None:
        name, kind = event["rule"], event["kind"]
        if event["state"] in ("failed", "exhausted") and kind != "settled":
            self.failures[name] = self.failures.get(name, 0) + 1
            if self.failures[name] >= 2:
                self.open_until[name] = self.elapsed + 200.0
        elif event["state"] == "healed":
            self.failures.pop(name, None)
            self.open_until.pop(name, None)


def indexes_hold(state: State) -> None:
    every = state.remediations
    assert state.active == {r.key: rid for rid, r in every.items() if r.state in OPEN}
    assert state.unsettled == {r.key: rid for rid, r in every.items() if r.state == UNKNOWN}
    assert set(state.reserved) == {rid for rid, r in every.items() if r.state == RESERVED}
    by_fingerprint: dict[str, set[str]] = {}
    for rid, r in every.items():
        by_fingerprint.setdefault(r.fingerprint, set()).add(rid)
    assert state.by_fingerprint == by_fingerprint
    waiting: dict[str, set[str]] = {}
    for name, entry in state.deferred.items():
        assert (entry.until is None) != (entry.wait_key is None), "it waits for one thing"
        if entry.wait_key is not None:
            assert entry.wait_key in state.active or entry.wait_key in state.unsettled, "nothing will wake it"
            waiting.setdefault(entry.wait_key, set()).add(name)
        else:
            assert (entry.until, name) in state.alarms
    assert state.waiting == waiting
