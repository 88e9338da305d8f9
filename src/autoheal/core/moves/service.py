"""The service itself: it starts, beats, loads a policy, wakes what is due, stops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from autoheal.core.cooldowns import cooldown_of, override_of
from autoheal.core.moves.escalate import escalate, settle
from autoheal.core.moves.intake import of
from autoheal.core.moves.people import SetMode, release
from autoheal.core.policy import Policy
from autoheal.core.remediation import HELD
from autoheal.core.state import Mode, State
from autoheal.core.turn import Turn


@dataclass(frozen=True, slots=True)
class Started:
    """The process begins. The environment's mode wins unless a run-time one was set under the same environment.

    `beside`: the (enabled, dry_run) of every other remediator that lives; where they differ the safer one holds.
    `living`: the instances of all other processes that live, so that what they run counts as in good hands.
    """

    version: str
    enabled: bool
    dry_run: bool
    instance: str = ""
    judges: ClassVar[bool] = False
    """Needs no policy, so that it is possible even where the one in force cannot be read."""

    imported: int = 0
    shared: bool = False
    """Other processes may write this ledger: a person's brake outlives an environment that dares no more."""
    beside: tuple[tuple[bool, bool], ...] = ()
    living: frozenset[str] = frozenset()

    def play(self, turn: Turn) -> None:
        lost = [r for r in turn.state.running if turn.state.remediations[r].owner not in self.living]
        interrupted = len(lost)
        turn.emit(
            "started",
            {
                "version": self.version,
                "instance": self.instance or None,
                "beside": len(self.living) or None,
                "open": len(turn.state.remediations),
                "interrupted": interrupted,
                "imported": self.imported or None,
            },
        )
        enabled, dry_run = min([(self.enabled, self.dry_run), *self.beside], key=_dares)
        env = environment_of(enabled, dry_run)
        mode = turn.state.mode
        if self.imported:
            SetMode(enabled, True, "autoheal", "import", env).play(turn)
        elif mode.source in ("api", "import") and (
            mode.env == env or (self.shared and _braked(mode, enabled, dry_run))
        ):
            return
        elif (mode.enabled, mode.dry_run, mode.source) != (enabled, dry_run, "env") or mode.env != env:
            SetMode(enabled, dry_run, "environment", "env", env).play(turn)


def environment_of(enabled: bool, dry_run: bool) -> str:
    """How an environment's setting of the mode is noted, so that a run-time mode can be bound to it."""
    return f"enabled={enabled} dry_run={dry_run}".lower()


def _braked(mode: Mode, enabled: bool, dry_run: bool) -> bool:
    """Whether a person made it as safe as the environment now wants it, or safer, and the environment has not been
    changed since to one that dares more than that under which the person did so."""
    modes = {environment_of(*one): _dares(one) for one in ((True, False), (False, True), (True, True), (False, False))}
    wanted = _dares((enabled, dry_run))
    return _dares((mode.enabled, mode.dry_run)) <= wanted <= modes.get(mode.env, -1)


def _dares(mode: tuple[bool, bool]) -> int:
    """How much a mode, given as (enabled, dry_run), lets happen: off least, live most."""
    enabled, dry_run = mode
    return 2 if enabled and not dry_run else 1 if dry_run else 0


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """A process begins that acts on what others decide, or tells of it; it has no say in the mode and the policy."""

    judges: ClassVar[bool] = False

    version: str
    instance: str
    queues: tuple[str, ...] = ()
    role: str = "worker"

    def play(self, turn: Turn) -> None:
        fields = {"version": self.version, "instance": self.instance, "role": self.role}
        turn.emit("started", fields | {"queues": list(self.queues) or None})


@dataclass(frozen=True, slots=True)
class Stopped:
    judges: ClassVar[bool] = False

    reason: str
    running: int = 0
    instance: str = ""

    def play(self, turn: Turn) -> None:
        fields = {"reason": self.reason, "running": self.running, "open": len(turn.state.remediations)}
        turn.emit("stopped", fields | {"instance": self.instance or None})


@dataclass(frozen=True, slots=True)
class PolicyLoaded:
    """A policy, built whole, takes the place of the old one. What has not started is judged by it at its start."""

    judges: ClassVar[bool] = False

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
        self._drop_cooldowns(turn)
        return {"digest": self.policy.digest, "rules": len(self.policy.rules), "changed": before != self.policy.digest}

    def _drop_cooldowns(self, turn: Turn) -> None:
        """What was set for a rule that is gone, or was written anew, is over, and does not come back with it."""
        for name, override in sorted(turn.state.cooldowns.items(), key=lambda one: one[0]):
            rule = self.policy.rule(name)
            if rule is not None and override_of(rule, turn.state.cooldowns) is not None:
                continue
            turn.emit(
                "cooldown_changed",
                {
                    "rule": name,
                    "cooldown": None if rule is None else cooldown_of(rule, turn.state.cooldowns),
                    "before": override.cooldown,
                    "reset": True,
                    "reason": "rule_changed",
                    "actor": self.actor or None,
                    "rule_digest": None if rule is None else rule.digest,
                },
            )


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
    judges: ClassVar[bool] = False

    instance: str = ""

    def play(self, turn: Turn) -> None:
        mode = turn.state.mode
        turn.emit(
            "heartbeat",
            {
                "instance": self.instance or None,
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


def wants_wake(state: State) -> bool:
    """Whether `Wake` would find something to look at; keeps an idle service from writing."""
    return bool(state.escalations) or any(r.state == HELD for r in state.remediations.values())


@dataclass(frozen=True, slots=True)
class Unserved:
    """Work waits in a queue that no worker takes from, or the broker is gone: a person must know, once."""

    queue: str
    waiting: int
    why: str = "no worker serves it"

    def play(self, turn: Turn) -> None:
        those = "1 remediation waits" if self.waiting == 1 else f"{self.waiting} remediations wait"
        summary = f"{those} in queue {self.queue}: {self.why}"
        escalate(turn, f"queue:{self.queue}", "critical", "unserved", summary, {})


@dataclass(frozen=True, slots=True)
class Served:
    """The queue is served again."""

    queue: str

    def play(self, turn: Turn) -> None:
        settle(turn, f"queue:{self.queue}", "over")
