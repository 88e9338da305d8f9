"""What people do: approve, reject, cancel, settle, mark, switch the mode, set a cooldown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from autoheal.core.cooldowns import check_cooldown, cooldown_of, shown
from autoheal.core.decision import decide
from autoheal.core.errors import Conflict, NotFound
from autoheal.core.gates import Case
from autoheal.core.moves.acting import not_now
from autoheal.core.moves.escalate import settle
from autoheal.core.moves.intake import of, record_go_or_hold
from autoheal.core.nearest import did_you_mean
from autoheal.core.policy import MIN_COOLDOWN, Rule
from autoheal.core.remediation import FINAL, HELD, RESERVED, UNKNOWN, VERIFYING, Remediation
from autoheal.core.turn import Turn


def _find(turn: Turn, remediation_id: str, verb: str, *states: str) -> Remediation:
    remediation = turn.state.remediations.get(remediation_id)
    if remediation is None:
        raise NotFound(f"no remediation {remediation_id} is open; it may have ended, or never existed")
    if remediation.state not in states:
        raise Conflict(f"remediation {remediation_id} is {remediation.state}; {verb} needs {' or '.join(states)}")
    return remediation


@dataclass(frozen=True, slots=True)
class Approve:
    remediation_id: str
    actor: str
    note: str = ""

    def play(self, turn: Turn) -> str:
        """Approve and walk all gates again with fresh facts; the state it is in then."""
        remediation = _find(turn, self.remediation_id, "approve", HELD)
        if remediation.hold != "approval":
            raise Conflict(f"remediation {remediation.id} is held by {remediation.hold}, not for an approval")
        turn.emit("approved", of(remediation) | {"actor": self.actor, "note": self.note or None})
        release(turn, remediation)
        return remediation.state


def release(turn: Turn, remediation: Remediation) -> bool:
    """A hold may be over: decide again. True when it was let go on, or ended."""
    case = Case(remediation.alert, turn.now, turn.policy, turn.state, own=remediation)
    decision = decide(case)
    if decision.result == "hold" and decision.reason == remediation.hold:
        return False
    if decision.result in ("act", "hold"):
        fields = of(remediation) | {"cmd": remediation.cmd, "trace": decision.trace}
        record_go_or_hold(turn, fields, decision)
    else:
        not_now(turn, remediation, case, decision)
    return True


@dataclass(frozen=True, slots=True)
class Reject:
    remediation_id: str
    actor: str
    note: str = ""

    def play(self, turn: Turn) -> str:
        remediation = _find(turn, self.remediation_id, "reject", HELD)
        fields = {"state": "rejected", "actor": self.actor, "note": self.note or None, "reason": "rejected"}
        turn.emit("rejected", of(remediation) | fields)
        return remediation.state


@dataclass(frozen=True, slots=True)
class Cancel:
    remediation_id: str
    actor: str
    note: str = ""

    def play(self, turn: Turn) -> str:
        """End what has not started, or stop waiting for a verification. What runs, ends by itself."""
        remediation = _find(turn, self.remediation_id, "cancel", HELD, RESERVED, VERIFYING)
        fields = {"state": "cancelled", "actor": self.actor, "note": self.note or None, "reason": "by_hand"}
        turn.emit("cancelled", of(remediation) | fields)
        settle(turn, f"remediation:{remediation.id}", "cancelled", self.actor)
        return remediation.state


@dataclass(frozen=True, slots=True)
class Settle:
    """A person says how an unknown, or a verification without a verdict, really ended."""

    remediation_id: str
    actor: str
    outcome: Literal["healed", "failed"]
    note: str = ""

    def play(self, turn: Turn) -> str:
        key = f"remediation:{self.remediation_id}"
        if self.remediation_id not in turn.state.remediations and key in turn.state.escalations:
            settle(turn, key, "by_hand", self.actor)
            return "settled"
        remediation = _find(turn, self.remediation_id, "settle", UNKNOWN, VERIFYING)
        effect = "healed" if self.outcome == "healed" else "ineffective"
        fields = {"state": self.outcome, "actor": self.actor, "effect": effect, "reason": "by_hand"}
        turn.emit("settled", of(remediation) | fields | {"note": self.note or None})
        settle(turn, key, "by_hand", self.actor)
        return remediation.state


@dataclass(frozen=True, slots=True)
class Mark:
    """Mark a remediation, ended or not, as a false positive. `known`: its row, where it has left the memory."""

    remediation_id: str
    actor: str
    mark: Literal["false_positive"] = "false_positive"
    note: str = ""
    known: dict[str, Any] | None = None

    def play(self, turn: Turn) -> str:
        remediation = turn.state.remediations.get(self.remediation_id)
        if remediation is None and self.known is None:
            raise NotFound(f"there is no remediation {self.remediation_id}")
        subject = remediation or Remediation.from_dict(self.known or {})
        if remediation is None and subject.state not in FINAL:
            raise Conflict(f"remediation {self.remediation_id} ended just now; ask again")
        fields = {"mark": self.mark, "actor": self.actor, "note": self.note or None}
        turn.emit("marked", of(subject) | fields)
        if remediation is None:
            subject.marked = self.mark
            turn.state.ended[subject.id] = subject
            turn.state.touch("remediation", subject.id)
        return subject.state


@dataclass(frozen=True, slots=True)
class SetMode:
    """Switch the mode. `urgent`: the brake goes before whatever waits at the head, and is always let in."""

    urgent: ClassVar[bool] = True
    judges: ClassVar[bool] = False

    enabled: bool
    dry_run: bool
    actor: str
    source: str = "api"
    env: str = ""

    def play(self, turn: Turn) -> dict[str, Any]:
        before = turn.state.mode
        turn.emit(
            "mode_changed",
            {
                "enabled": self.enabled,
                "dry_run": self.dry_run,
                "source": self.source,
                "env": self.env,
                "actor": self.actor,
                "before": {"enabled": before.enabled, "dry_run": before.dry_run, "source": before.source},
            },
        )
        mode = turn.state.mode
        return {
            "id": turn.state.last_id,
            "enabled": mode.enabled,
            "dry_run": mode.dry_run,
            "source": mode.source,
            "since": mode.since,
            "by": mode.by,
        }


@dataclass(frozen=True, slots=True)
class SetCooldown:
    """Let a rule's cooldown be `seconds`, None: what the policy says. It holds until the rule is written anew."""

    rule: str
    seconds: float | None
    actor: str

    def play(self, turn: Turn) -> dict[str, Any]:
        """The rule's cooldown as it is then (see `core.cooldowns.shown`)."""
        rule = turn.policy.rule(self.rule)
        if rule is None:
            near = did_you_mean(self.rule, [one.name for one in turn.policy.rules])
            raise NotFound(f"there is no rule {self.rule[:80]!r}{near}")
        check_cooldown(self.seconds)
        before = cooldown_of(rule, turn.state.cooldowns)
        if self.seconds is not None or rule.name in turn.state.cooldowns:
            after = rule.cooldown if self.seconds is None else self.seconds
            turn.emit(
                "cooldown_changed",
                {
                    "rule": rule.name,
                    "cooldown": max(after, MIN_COOLDOWN),
                    "before": before,
                    "reset": True if self.seconds is None else None,
                    "actor": self.actor,
                    "rule_digest": rule.digest,
                    "deferred": _waiting_for(turn, rule, max(after, MIN_COOLDOWN)) or None,
                },
            )
        return shown(rule, turn.state.cooldowns)


def _waiting_for(turn: Turn, rule: Rule, seconds: float) -> dict[str, float]:
    """The alerts that wait for the end of this rule's cooldown, by fingerprint, and when it ends if it is so long."""
    found: dict[str, float] = {}
    for entry in turn.state.deferred.values():
        if entry.reason != "cooldown" or turn.policy.rule_for(entry.labels) is not rule:
            continue
        slot = turn.state.slots.get(f"{turn.state.mode.lane}|{rule.key(entry.labels)}")
        ends = turn.now if slot is None else min(slot.started_at, turn.now) + seconds
        found[entry.fingerprint] = max(turn.now, ends)
    return dict(sorted(found.items()))
