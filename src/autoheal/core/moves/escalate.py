"""Tell a person: an escalation is made once and sent until it is settled."""

from __future__ import annotations

from typing import Any

from autoheal.core.gates import Case
from autoheal.core.turn import Turn


def escalate(turn: Turn, key: str, severity: str, reason: str, summary: str, about: dict[str, Any]) -> None:
    """Raise one escalation under `key`; while it stands, no second one is made."""
    if key in turn.state.escalations:
        return
    fields = {"escalation": key, "severity": severity, "reason": reason, "summary": summary}
    turn.emit("escalated", {name: value for name, value in about.items() if value is not None} | fields)


def settle(turn: Turn, key: str, reason: str, actor: str | None = None) -> None:
    """End one escalation, if it stands."""
    escalation = turn.state.escalations.get(key)
    if escalation is None:
        return
    turn.emit(
        "settled",
        {
            "escalation": key,
            "reason": reason,
            "actor": actor,
            "remediation_id": escalation.remediation_id or None,
            "alertname": escalation.alertname or None,
            "rule": escalation.rule or None,
        },
    )


def budget_used_up(turn: Turn, case: Case, why: str) -> None:
    name = f"{turn.state.mode.lane}|{case.budget_key}"
    used = turn.state.budgets.get(name)
    if used is None or used.told or turn.state.mode.dry_run:
        return
    about = {
        "alertname": case.alert.alertname,
        "fingerprint": case.alert.fingerprint,
        "starts_at": case.alert.starts_at,
        "rule": case.ruled.name,
    }
    severity = case.ruled.escalate or "warning"
    escalate(turn, f"budget:{name}", severity, "budget", f"{case.key}: {why}; a person must look.", about)
