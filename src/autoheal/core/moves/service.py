"""The service itself: it starts, beats, loads a policy, wakes what is due, stops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autoheal.core.moves.escalate import settle
from autoheal.core.moves.intake import of
from autoheal.core.moves.people import SetMode, release
from autoheal.core.policy import Policy
from autoheal.core.remediation import HELD
from autoheal.core.turn import Turn


@dataclass(frozen=True, slots=True)
class Started:
    """The process begins. The environment's mode wins unless a run-time one was set under the same environment."""

    version: str
    enabled: bool
    dry_run: bool
    instance: str = ""
    imported: int = 0

    def play(self, turn: Turn) -> None:
        interrupted = sum(1 for r in turn.state.remediations.values() if r.state == "running")
        turn.emit(
            "started",
            {
                "version": self.version,
                "instance": self.instance or None,
                "open": len(turn.state.remediations),
                "interrupted": interrupted,
                "imported": self.imported or None,
            },
        )
        env = f"enabled={self.enabled} dry_run={self.dry_run}".lower()
        mode = turn.state.mode
        if self.imported:
            SetMode(self.enabled, True, "autoheal", "import", env).play(turn)
        elif mode.source in ("api", "import") and mode.env == env:
            return
        elif (mode.enabled, mode.dry_run, mode.source) != (self.enabled, self.dry_run, "env") or mode.env != env:
            SetMode(self.enabled, self.dry_run, "environment", "env", env).play(turn)


@dataclass(frozen=True, slots=True)
class Stopped:
    reason: str
    running: int = 0

    def play(self, turn: Turn) -> None:
        turn.emit("stopped", {"reason": self.reason, "running": self.running, "open": len(turn.state.remediations)})


@dataclass(frozen=True, slots=True)
class PolicyLoaded:
    """A policy, built whole, takes the place of the old one. What has not started is judged by it at its start."""

    policy: Policy
    actor: str = ""

    def play(self, turn: Turn) -> dict[str, Any]:
        before = turn.state.policy.get("digest")
        turn.policy = self.policy
        turn.emit(
            "policy_loaded",
            {
                "digest": self.policy.digest,
                "rules": [rule.name for rule in self.policy.rules],
                "path": self.policy.source or None,
                "changed": before != self.policy.digest,
                "actor": self.actor or None,
            },
        )
        return {"digest": self.policy.digest, "rules": len(self.policy.rules), "changed": before != self.policy.digest}


@dataclass(frozen=True, slots=True)
class PolicyRejected:
    errors: tuple[str, ...]
    actor: str = ""

    def play(self, turn: Turn) -> None:
        turn.emit(
            "policy_rejected",
            {"error": "\n".join(self.errors[:20]), "count": len(self.errors), "actor": self.actor or None},
        )


@dataclass(frozen=True, slots=True)
class Heartbeat:
    def play(self, turn: Turn) -> None:
        mode = turn.state.mode
        turn.emit(
            "heartbeat",
            {
                "enabled": mode.enabled,
                "dry_run": mode.dry_run,
                "open": len(turn.state.remediations),
                "deferred": len(turn.state.deferred),
            },
        )


@dataclass(frozen=True, slots=True)
class Wake:
    """Timers: approvals that ran out, holds that may go on, escalations whose cause is over."""

    def play(self, turn: Turn) -> int:
        before = len(turn.events)
        blast_free = True
        for remediation in list(turn.state.remediations.values()):
            if remediation.state != HELD:
                continue
            if remediation.hold == "approval" and (remediation.hold_until or 0) <= turn.now:
                end = {"state": "expired", "reason": "approval_expired"}
                turn.emit("cancelled", of(remediation) | end)
            elif remediation.hold == "blast_radius" and blast_free:
                blast_free = release(turn, remediation)
        for key in list(turn.state.escalations):
            if self._over(turn, key):
                settle(turn, key, "over")
        return len(turn.events) - before

    def _over(self, turn: Turn, key: str) -> bool:
        if key == "blast_radius":
            return not any(r.hold == "blast_radius" and r.state == HELD for r in turn.state.remediations.values())
        if not key.startswith("budget:"):
            return False
        name = key.removeprefix("budget:")
        used = turn.state.budgets.get(name)
        rule = turn.policy.rule(name.partition("|")[2].partition("{")[0])
        if used is None or rule is None or rule.max_attempts is None:
            return True
        limit = rule.max_attempts
        return sum(1 for at in used.times if at > turn.now - limit.per) < limit.count


def wants_wake(turn_state: Any, now: float) -> bool:
    """Whether `Wake` would find something to look at; keeps an idle service from writing."""
    return bool(turn_state.escalations) or any(r.state == HELD for r in turn_state.remediations.values())
