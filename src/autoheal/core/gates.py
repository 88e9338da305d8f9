"""The gates: one small pure function each, in one visible order. The first that does not pass decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from autoheal.core.alert import Alert
from autoheal.core.cooldowns import cooldown_of, override_of
from autoheal.core.errors import Invalid
from autoheal.core.policy import Policy, Rule, key_of
from autoheal.core.remediation import Remediation
from autoheal.core.state import LIVE, Mode, State

RESOLVED_MEMORY = 300.0
"""Seconds for which a resolve outweighs a copy of the same episode's firing. A pair's peer is about 15 s late, a
cut-off one more; but an alert that ran out in Alertmanager while Prometheus was away comes back as the same episode,
so the copy is not forgotten: it is decided again at the end, if Alertmanager says that it fires."""


@dataclass(frozen=True, slots=True)
class Silenced:
    """What Alertmanager said when asked before a start. `asked` False: it was out of reach."""

    asked: bool
    by: tuple[str, ...] = ()
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a gate did not pass. `until`: when time ends it; `wait_key`: it ends when what holds this key ends."""

    kind: Literal["skip", "hold", "dry_run"]
    reason: str
    why: str
    until: float | None = None
    wait_key: str | None = None


@dataclass(slots=True)
class Case:
    """One alert before the gates. `own`: the remediation that asks to start or go on; its own slot is excepted."""

    alert: Alert
    now: float
    policy: Policy
    state: State
    own: Remediation | None = None
    silenced: Silenced | None = None
    rule: Rule | None = field(init=False)
    ruled: Rule = field(init=False)
    """The same, for the gates behind the rule gate, which have one."""
    mode: Mode = field(init=False)
    _key: str | None = None

    def __post_init__(self) -> None:
        self.mode = self.state.mode
        self.rule = self.policy.rule_for(self.alert.labels)
        if self.rule is not None:
            self.ruled = self.rule

    @property
    def key(self) -> str:
        if self._key is None:
            self._key = self.ruled.key(self.alert.labels)
        return self._key

    @property
    def lane_key(self) -> str:
        return f"{self.mode.lane}|{self.key}"

    @property
    def budget_key(self) -> str | None:
        budget = self.ruled.max_attempts
        return key_of(self.ruled.name, budget.by, self.alert.labels) if budget else None

    def cmd(self) -> str:
        """Step 1's command line, rendered; Invalid where a value may not be used."""
        return self.ruled.steps[0].action.line(self.alert, self.ruled.allowed)


Gate = Callable[[Case], Verdict | str | None]
"""Passes with None, or with a remark for the trace; otherwise its verdict."""


def kill_switch(case: Case) -> Verdict | None:
    if case.mode.off:
        return Verdict("skip", "disabled", "autoheal is off (enabled=false, dry_run=false)")
    return None


def resolved(case: Case) -> Verdict | str | None:
    alert = case.alert
    if alert.resolved:
        return Verdict("skip", "resolved", "the alert is resolved")
    if case.own is not None and not case.own.cancel_on_resolve:
        return "its rule goes on after a resolve"
    mark = case.state.resolved.get(alert.fingerprint)
    if mark is not None and alert.starts_at <= mark["starts_at"] and case.now < mark["at"] + RESOLVED_MEMORY:
        until = mark["at"] + RESOLVED_MEMORY
        return Verdict("skip", "resolved", "a late copy: this episode was resolved moments ago", until=until)
    return None


def rule(case: Case) -> Verdict | str:
    found, own = case.rule, case.own
    if own is not None and (found is None or found.name != own.rule or found.digest != own.rule_digest):
        return Verdict("skip", "rule_changed", f"rule {own.rule} changed since this was decided")
    if found is not None:
        return found.name
    if case.alert.alertname.startswith("Autoheal"):
        return Verdict("skip", "not_allowlisted", "alerts about Autoheal itself match no rule")
    return Verdict("skip", "not_allowlisted", "no rule of the policy matches these labels")


def opt_in(case: Case) -> Verdict | str | None:
    if not case.ruled.opt_in:
        return "the rule asks for no annotation"
    notes = case.alert.annotations
    if notes.get("autoheal", "").strip().lower() == "true" or notes.get("autoheal_action"):
        return None
    return Verdict("skip", "not_annotated", 'neither annotation autoheal: "true" nor autoheal_action')


def action_allowed(case: Case) -> Verdict | str | None:
    asked = case.alert.annotations.get("autoheal_action", "").strip()
    try:
        line = case.cmd()
        case.ruled.queue_for(case.alert)
    except Invalid as error:
        return Verdict("skip", "action_not_allowed", f"the action cannot be filled in: {error}")
    if not asked or asked in (case.ruled.name, line):
        return line
    return Verdict("skip", "action_not_allowed", f"autoheal_action is neither {case.ruled.name!r} nor {line!r}")


def maintenance(case: Case) -> Verdict | None:
    for window in case.ruled.never_during:
        until = window.until(case.now)
        if until is not None:
            return Verdict("skip", "maintenance", f"inside {window.text}", until=until)
    return None


def silenced(case: Case) -> Verdict | str | None:
    asked = case.silenced
    if asked is None:
        return "asked before a start"
    if not asked.asked:
        return "Alertmanager is out of reach: passes"
    if asked.by:
        return Verdict("skip", "silenced", f"silenced in Alertmanager by {', '.join(asked.by)}", until=asked.until)
    return None


def in_progress(case: Case) -> Verdict | None:
    if case.mode.lane != LIVE:
        return None
    other = case.state.active.get(case.key)
    if other is None or (case.own is not None and other == case.own.id):
        return None
    return Verdict("skip", "in_progress", f"remediation {other} with this key has not ended", wait_key=case.key)


def unsettled(case: Case) -> Verdict | None:
    if case.mode.lane != LIVE:
        return None
    other = case.state.unsettled.get(case.key)
    if other is None:
        return None
    return Verdict("skip", "unsettled", f"remediation {other} ended unknown; settle it first", wait_key=case.key)


def cooldown(case: Case) -> Verdict | str | None:
    by, overrides = case.ruled, case.state.cooldowns
    seconds, found = cooldown_of(by, overrides), override_of(by, overrides)
    said = f"set to {seconds:.0f} s by {found.by}, the policy says {by.cooldown:.0f} s" if found else ""
    slot = case.state.slots.get(case.lane_key)
    if slot is None:
        return said or None
    if case.own is not None and case.own.started_at is not None:
        return "its own slot"
    until = min(slot.started_at, case.now) + seconds
    if case.now < until:
        why = f"{until - case.now:.0f} s of {seconds:.0f} s remain"
        return Verdict("skip", "cooldown", f"{why} ({said})" if said else why, until=until)
    return said or None


def budget(case: Case) -> Verdict | str | None:
    limit = case.ruled.max_attempts
    if limit is None:
        return None
    if case.own is not None and case.own.started_at is not None:
        return "this attempt is counted already"
    used = case.state.budgets.get(f"{case.mode.lane}|{case.budget_key}")
    count = sum(1 for at in used.times if at > case.now - limit.per) if used else 0
    if count >= limit.count:
        return Verdict("skip", "budget", f"{count} of {limit.count} attempts in {limit.per:.0f} s are used")
    return f"attempt {count + 1} of {limit.count}"


def breaker(case: Case) -> Verdict | str | None:
    limit = case.policy.limits.breaker
    state = case.state.breakers.get(f"{case.mode.lane}|{case.ruled.name}")
    if limit is None or state is None or state.failures < limit.failures:
        return None
    if case.now < state.open_until:
        until = min(state.open_until, case.now + limit.open_for)
        why = f"{state.failures} failures in a row; closed again in {until - case.now:.0f} s"
        return Verdict("skip", "breaker_open", why, until=until)
    for other_id in case.state.active.values():
        other = case.state.remediations[other_id]
        if other.rule == case.ruled.name and (case.own is None or other.id != case.own.id):
            return Verdict("skip", "breaker_open", f"half open: {other.id} is the one trial", until=case.now + 10)
    return "half open: this is the one trial"


def blast_radius(case: Case) -> Verdict | str | None:
    limit = case.policy.limits.blast_radius
    if limit is None:
        return None
    recent: list[float] = []
    for _, at in reversed(case.state.starts[case.mode.lane]):
        if at <= case.now - limit.per or len(recent) == limit.actions:
            break
        recent.append(at)
    waiting = 0
    if case.mode.lane == LIVE:
        waiting = len(case.state.reserved) - (case.own is not None and case.own.id in case.state.reserved)
    if len(recent) + waiting < limit.actions:
        return None
    until = min(recent[-1], case.now) + limit.per if recent else case.now + 5
    why = f"{len(recent)} started and {waiting} waiting of {limit.actions} in {limit.per:.0f} s"
    return Verdict("hold", "blast_radius", why, until=max(until, case.now + 1))


def approval(case: Case) -> Verdict | str | None:
    timeout = case.ruled.approval_timeout
    if timeout is None:
        return None
    if case.own is not None and case.own.approved_by is not None:
        return f"approved by {case.own.approved_by}"
    return Verdict("hold", "approval", f"somebody must approve within {timeout:.0f} s", until=case.now + timeout)


def dry_run(case: Case) -> Verdict | None:
    if case.mode.acts:
        return None
    return Verdict("dry_run", "dry_run", "dry run: recorded, not done")


GATES: tuple[tuple[str, Gate], ...] = (
    ("kill_switch", kill_switch),
    ("resolved", resolved),
    ("rule", rule),
    ("opt_in", opt_in),
    ("action_allowed", action_allowed),
    ("maintenance", maintenance),
    ("silenced", silenced),
    ("in_progress", in_progress),
    ("unsettled", unsettled),
    ("cooldown", cooldown),
    ("budget", budget),
    ("breaker", breaker),
    ("blast_radius", blast_radius),
    ("approval", approval),
    ("dry_run", dry_run),
)

WOULD = frozenset({"budget", "breaker", "blast_radius", "approval"})
"""In dry run these are traced as "would" and passed: nobody is asked or paged."""
