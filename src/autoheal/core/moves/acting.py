"""A remediation goes its way: may it start, how did it end, did it help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from autoheal.core.decision import Decision, decide
from autoheal.core.errors import Invalid
from autoheal.core.gates import Case, Silenced
from autoheal.core.moves.escalate import budget_used_up, escalate, settle
from autoheal.core.moves.intake import of, record_go_or_hold
from autoheal.core.policy import DEFAULT_QUEUE, Rule
from autoheal.core.remediation import RESERVED, RUNNING, UNKNOWN, VERIFYING, Remediation
from autoheal.core.template import render
from autoheal.core.turn import Turn

BUSY: Literal["busy"] = "busy"
"""The answer to who may start, but not yet: as many as the policy lets act are acting, over all processes."""
KILLED_WITHIN = 10.0
"""Seconds after its timeout by which an action has ended, even where the one who ran it is gone."""
AGAIN = 5.0
"""Seconds after which a start that was granted and did not happen is decided again."""
START_WINDOW = 10.0
"""Seconds within which a granted start must reach its process; later it is not started any more."""


@dataclass(frozen=True, slots=True)
class Start:
    """Leave to start one step, on record. `token` names this attempt; after `start_before` it must not begin."""

    remediation_id: str
    token: str
    kind: str
    options: Any
    timeout: float
    cmd: str
    start_before: float


@dataclass(frozen=True, slots=True)
class MayStart:
    """`instance` has a free hand: may this remediation's next step start now? All gates are walked again.

    `queues`: those that it serves, None for all: what waits in another one is acted elsewhere.
    """

    remediation_id: str
    silenced: Silenced | None = None
    instance: str = ""
    queues: frozenset[str] | None = None

    def play(self, turn: Turn) -> Start | Literal["busy"] | None:
        remediation = turn.state.remediations.get(self.remediation_id)
        if remediation is None or remediation.state != RESERVED:
            return None
        if self.queues is not None and (remediation.queue or DEFAULT_QUEUE) not in self.queues:
            return None
        case = Case(remediation.alert, turn.now, turn.policy, turn.state, own=remediation, silenced=self.silenced)
        decision = decide(case)
        if decision.result == "act":
            if turn.state.busy(turn.now) >= turn.policy.limits.concurrent:
                return BUSY
            return _start(turn, remediation, case.ruled, self.instance)
        if decision.result == "hold":
            record_go_or_hold(turn, of(remediation) | {"cmd": remediation.cmd, "trace": decision.trace}, decision)
            return None
        not_now(turn, remediation, case, decision)
        return None


def not_now(turn: Turn, remediation: Remediation, case: Case, decision: Decision) -> None:
    """It was decided, but what holds now says no: it ends, and time may bring it back."""
    turn.emit(
        "cancelled",
        of(remediation)
        | {
            "state": "cancelled",
            "reason": decision.reason,
            "trace": decision.trace,
            "until": decision.until or (turn.now + 60 if decision.reason == "silenced" else None),
        },
    )
    if decision.reason == "budget":
        budget_used_up(turn, case, decision.why)


def _start(turn: Turn, remediation: Remediation, rule: Rule, instance: str) -> Start | None:
    step = rule.steps[remediation.step]
    alert = remediation.alert
    try:
        options = render(step.action.options, alert, rule.allowed)
        cmd = step.action.line(alert, rule.allowed)
        target = render(step.verify.target, alert, rule.allowed) if step.verify else None
    except Invalid as error:
        step_failed(
            turn, remediation, "action_fail", {"error": f"cannot be filled in: {error}", "cmd": remediation.cmd}
        )
        return None
    verify = None
    if step.verify is not None:
        spec = step.verify
        verify = {"kind": spec.kind, "target": target, "within": spec.within, "every": spec.every}
    token = f"{remediation.id}.{remediation.step}.{turn.state.last_id + 1}"
    turn.emit(
        "action_started",
        of(remediation)
        | {
            "state": RUNNING,
            "step": remediation.step,
            "attempt": remediation.attempt,
            "cmd": cmd,
            "action": step.action.kind,
            "token": token,
            "timeout": step.timeout,
            "run_until": turn.now + step.timeout + KILLED_WITHIN,
            "instance": instance or None,
            "queue": remediation.queue or None,
            "verify": verify,
            "wait_seconds": round(turn.now - remediation.received_at, 6),
            "queued_seconds": round(turn.now - (remediation.queued_at or turn.now), 6),
        },
    )
    return Start(remediation.id, token, step.action.kind, options, step.timeout, cmd, turn.now + START_WINDOW)


def step_failed(turn: Turn, remediation: Remediation, kind: str, fields: Mapping[str, Any]) -> None:
    """The step did not help: the next one of the ladder, or the end and a person."""
    record = of(remediation) | {"step": remediation.step, **fields}
    if remediation.step + 1 < remediation.ladder:
        turn.emit(kind, record | {"state": RESERVED, "next_step": remediation.step + 1})
        if remediation.resolved_at is not None and remediation.cancel_on_resolve:
            end = {"state": "cancelled", "reason": "resolved", "effect": "self_resolved"}
            turn.emit("cancelled", of(remediation) | end)
        return
    state = "exhausted" if remediation.ladder > 1 else "failed"
    gone = remediation.resolved_at is not None
    record |= {
        "state": state,
        "effect": "self_resolved" if gone else "ineffective",
        "breaker_open_until": _breaker_opens(turn, remediation.rule),
    }
    turn.emit(kind, record)
    if not gone:
        tell(turn, remediation, state, f"{remediation.rule} could not heal {remediation.alertname}: {state}")


def _breaker_opens(turn: Turn, rule: str) -> float | None:
    limit = turn.policy.limits.breaker
    if limit is None:
        return None
    known = turn.state.breakers.get(f"live|{rule}")
    failures = (known.failures if known else 0) + 1
    return turn.now + limit.open_for if failures >= limit.failures else None


def tell(turn: Turn, remediation: Remediation, reason: str, summary: str) -> None:
    about = of(remediation) | {"starts_at": remediation.starts_at, "cmd": remediation.cmd}
    escalate(turn, f"remediation:{remediation.id}", remediation.escalate, reason, summary, about)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. A late one, after it was given up as unknown, still counts by its token."""

    remediation_id: str
    token: str
    status: Literal["ok", "fail", "unknown", "not_started"]
    rc: int | None = None
    output: str = ""
    error: str = ""
    duration: float = 0.0

    def play(self, turn: Turn) -> bool:
        remediation = turn.state.remediations.get(self.remediation_id)
        if remediation is None or remediation.token != self.token or remediation.state not in (RUNNING, UNKNOWN):
            return False
        fields = {
            "step": remediation.step,
            "cmd": remediation.cmd,
            "token": self.token,
            "rc": self.rc,
            "output": self.output or None,
            "error": self.error or None,
            "duration_seconds": round(self.duration, 6),
        }
        late = remediation.state == UNKNOWN
        if late and self.status in ("ok", "fail"):
            settle(turn, f"remediation:{remediation.id}", "late_outcome")
        if self.status == "ok":
            self._ok(turn, remediation, fields)
        elif self.status == "fail":
            step_failed(turn, remediation, "action_fail", fields)
        elif self.status == "unknown" and not late:
            turn.emit("action_unknown", of(remediation) | fields | {"state": UNKNOWN, "effect": "unknown"})
        elif self.status == "not_started":
            if late:
                settle(turn, f"remediation:{remediation.id}", "late_outcome")
            end = {"state": "expired", "reason": "not_started", "not_started": True}
            again = turn.now + AGAIN if turn.state.mode.acts else None
            turn.emit("cancelled", of(remediation) | fields | end | {"until": again})
        return True

    def _ok(self, turn: Turn, remediation: Remediation, fields: dict[str, Any]) -> None:
        verify = remediation.verify
        if verify is None:
            turn.emit("action_ok", of(remediation) | fields | {"state": "healed", "effect": "unknown"})
        else:
            end = {"state": VERIFYING, "verify_until": turn.now + verify["within"]}
            turn.emit("action_ok", of(remediation) | fields | end)


@dataclass(frozen=True, slots=True)
class Verified:
    """The verification's verdict on one attempt."""

    remediation_id: str
    token: str
    verdict: Literal["healed", "failed", "inconclusive"]
    detail: str = ""

    def play(self, turn: Turn) -> bool:
        remediation = turn.state.remediations.get(self.remediation_id)
        if remediation is None or remediation.token != self.token or remediation.state != VERIFYING:
            return False
        fields = {"step": remediation.step, "detail": self.detail or None}
        if self.verdict == "healed":
            _healed(turn, remediation, fields)
        elif self.verdict == "failed":
            settle(turn, f"remediation:{remediation.id}", "verdict")
            step_failed(turn, remediation, "verify_fail", fields)
        elif not remediation.inconclusive:
            turn.emit("verify_inconclusive", of(remediation) | fields | {"state": VERIFYING})
            summary = f"{remediation.cmd}: whether it helped cannot be seen ({self.detail or 'no data'})"
            tell(turn, remediation, "inconclusive", summary)
        return True


def _healed(turn: Turn, remediation: Remediation, fields: dict[str, Any]) -> None:
    turn.emit(
        "verify_ok",
        of(remediation)
        | fields
        | {
            "state": "healed",
            "effect": "healed",
            "time_to_heal_seconds": round(turn.now - remediation.received_at, 3),
        },
    )
    settle(turn, f"remediation:{remediation.id}", "healed")
    for escalation in list(turn.state.escalations.values()):
        if escalation.rule == remediation.rule and escalation.fingerprint == remediation.fingerprint:
            settle(turn, escalation.key, "healed")


@dataclass(frozen=True, slots=True)
class Probed:
    """After a crash, or an end that nobody saw: what the verification, run as a probe, says of reality."""

    remediation_id: str
    token: str
    healthy: bool
    detail: str = ""

    def play(self, turn: Turn) -> bool:
        remediation = turn.state.remediations.get(self.remediation_id)
        if remediation is None or remediation.token != self.token or remediation.state not in (RUNNING, UNKNOWN):
            return False
        fields = {"step": remediation.step, "detail": self.detail or None}
        if self.healthy:
            _healed(turn, remediation, fields | {"reason": "probe"})
            return True
        if remediation.state == RUNNING:
            lost = {"state": UNKNOWN, "effect": "unknown", "reason": "interrupted", "token": self.token}
            turn.emit("action_unknown", of(remediation) | fields | {"cmd": remediation.cmd} | lost)
        summary = f"{remediation.cmd}: nobody knows whether it ran to its end; settle {remediation.id}"
        tell(turn, remediation, "unknown", summary)
        return True
