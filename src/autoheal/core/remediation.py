"""One remediation from decision to end: its states, its legal moves, what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from autoheal.core.alert import FIRING, Alert
from autoheal.core.errors import Conflict

HELD = "held"
RESERVED = "reserved"
RUNNING = "running"
VERIFYING = "verifying"
HEALED = "healed"
FAILED = "failed"
EXHAUSTED = "exhausted"
UNKNOWN = "unknown"
CANCELLED = "cancelled"
REJECTED = "rejected"
EXPIRED = "expired"

OPEN = frozenset({HELD, RESERVED, RUNNING, VERIFYING})
"""In progress: its key is taken."""
FINAL = frozenset({HEALED, FAILED, EXHAUSTED, CANCELLED, REJECTED, EXPIRED})
"""Ended for good. `unknown` is neither: it has ended, but a person must settle it."""

LEGAL: dict[str, frozenset[str]] = {
    HELD: frozenset({HELD, RESERVED, CANCELLED, REJECTED, EXPIRED}),
    RESERVED: frozenset({RUNNING, RESERVED, HELD, CANCELLED, EXPIRED, FAILED, EXHAUSTED}),
    RUNNING: frozenset({VERIFYING, RESERVED, HEALED, FAILED, EXHAUSTED, UNKNOWN, EXPIRED}),
    VERIFYING: frozenset({VERIFYING, RESERVED, HEALED, FAILED, EXHAUSTED, UNKNOWN, CANCELLED}),
    UNKNOWN: frozenset({VERIFYING, HEALED, FAILED, EXHAUSTED, RESERVED, CANCELLED, EXPIRED}),
}


@dataclass(slots=True)
class Remediation:
    """Times are Unix seconds. `step` counts from 0; `token` names the attempt that runs or ran last, `owner` the
    process that runs it, and `run_until` when that has ended at the latest, for no action outlives its timeout by
    much. `queue` is the one that the work waits in, empty for the default, `queued_at` since when."""

    id: str
    state: str
    rule: str
    rule_digest: str
    key: str
    alertname: str
    fingerprint: str
    episode: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: float
    received_at: float
    created_at: float
    origin: str = ""
    attempt: int = 1
    step: int = 0
    ladder: int = 1
    escalate: str = "warning"
    cancel_on_resolve: bool = True
    budget_key: str | None = None
    budget_per: float = 0.0
    hold: str | None = None
    hold_until: float | None = None
    approved_by: str | None = None
    token: str | None = None
    owner: str = ""
    run_until: float | None = None
    queue: str = ""
    queued_at: float | None = None
    cmd: str = ""
    started_at: float | None = None
    step_ended_at: float | None = None
    verify: dict[str, Any] | None = None
    verify_until: float | None = None
    inconclusive: bool = False
    resolved_at: float | None = None
    ended_at: float | None = None
    reason: str | None = None
    effect: str | None = None
    marked: str | None = None
    trace: dict[str, str] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def alert(self) -> Alert:
        """The alert that caused it, as it was when heard."""
        return Alert(FIRING, self.labels, self.annotations, self.starts_at, self.fingerprint)

    def to(self, state: str) -> None:
        """Move on; Conflict where the move is not legal."""
        if state not in LEGAL.get(self.state, frozenset()):
            raise Conflict(f"remediation {self.id} is {self.state}; it cannot become {state}")
        self.state = state

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _NAMES}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Remediation:
        return cls(**{name: data[name] for name in _NAMES if name in data})


_NAMES = tuple(f.name for f in fields(Remediation))
