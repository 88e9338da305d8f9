"""What people do: approve, reject, cancel, settle, mark, switch the mode, acknowledge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from autoheal.core.decision import decide
from autoheal.core.errors import Conflict, NotFound
from autoheal.core.gates import Case
from autoheal.core.moves.acting import not_now
from autoheal.core.moves.escalate import settle
from autoheal.core.moves.intake import of, record_go_or_hold
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
class Acked:
    """A silence of ours exists; from now on it is watched (safety rule 7)."""

    silence_id: str
    labels: dict[str, str]
    ends_at: float
    actor: str
    duration: str = ""
    comment: str = ""
    reason: str | None = None

    def play(self, turn: Turn) -> None:
        if self.silence_id in turn.state.acks:
            return
        turn.emit(
            "ack",
            {
                "alertname": self.labels.get("alertname"),
                "labels": self.labels,
                "duration": self.duration or None,
                "silence_id": self.silence_id,
                "ends_at": self.ends_at,
                "actor": self.actor,
                "comment": self.comment or None,
                "reason": self.reason,
            },
        )


@dataclass(frozen=True, slots=True)
class AckHides:
    """What was last seen behind a silence of ours; see `core.state.Ack`."""

    silence_id: str
    hides: dict[str, dict[str, Any]]
    seen: bool = False

    def play(self, turn: Turn) -> None:
        known = turn.state.acks.get(self.silence_id)
        if known is None:
            return
        seen = known.seen or self.seen or bool(self.hides)
        if (known.hides, known.seen) != (self.hides, seen):
            known.hides, known.seen = self.hides, seen
            turn.state.touch("ack", self.silence_id)


@dataclass(frozen=True, slots=True)
class AckEnded:
    silence_id: str
    reason: Literal["expired", "resolved", "by_hand"]
    actor: str = ""

    def play(self, turn: Turn) -> bool:
        known = turn.state.acks.get(self.silence_id)
        if known is None and self.reason != "by_hand":
            return False
        turn.emit(
            "ack_ended",
            {
                "alertname": known.labels.get("alertname") if known else None,
                "labels": known.labels if known else None,
                "silence_id": self.silence_id,
                "reason": self.reason,
                "actor": self.actor or None,
            },
        )
        return known is not None
