"""The decision: an alert walks the gates; what comes out, and the trace that explains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from autoheal.core.errors import Invalid
from autoheal.core.gates import GATES, WOULD, Case, Verdict
from autoheal.core.policy import Rule

PASS = "pass"


@dataclass(slots=True)
class Decision:
    """`trace` maps each gate up to the deciding one to "pass", a remark, or why it did not pass."""

    result: Literal["act", "skip", "hold", "dry_run"]
    reason: str
    trace: dict[str, str]
    rule: Rule | None = None
    why: str = ""
    until: float | None = None
    wait_key: str | None = None


def decide(case: Case) -> Decision:
    """Walk the gates in order; the first that does not pass decides."""
    trace: dict[str, str] = {}
    would = case.mode.dry_run
    for name, gate in GATES:
        verdict = gate(case)
        if verdict is None:
            trace[name] = PASS
        elif isinstance(verdict, str):
            trace[name] = verdict
        elif would and name in WOULD:
            trace[name] = f"would {verdict.kind}: {verdict.why}"
        else:
            trace[name] = verdict.why
            return Decision(
                verdict.kind, verdict.reason, trace, case.rule, verdict.why, verdict.until, verdict.wait_key
            )
    return Decision("act", "", trace, case.rule)


def explain(case: Case) -> dict[str, Any]:
    """The decision that would be taken now, and every gate's own verdict, those behind the deciding one included."""
    decision = decide(case)
    gates: list[dict[str, Any]] = []
    decided = False
    for name, gate in GATES:
        if case.rule is None and name not in ("kill_switch", "resolved", "rule", "dry_run"):
            gates.append({"gate": name, "verdict": "not_reached", "why": "there is no rule to ask"})
            continue
        verdict = gate(case)
        row = _row(name, verdict, case.mode.dry_run and name in WOULD)
        row["decides"] = not decided and row["verdict"] in ("skip", "hold", "dry_run")
        decided = decided or row["decides"]
        gates.append(row)
    return {
        "result": decision.result,
        "reason": decision.reason,
        "why": decision.why,
        "until": decision.until,
        "rule": decision.rule.name if decision.rule else None,
        "key": case.key if case.rule else None,
        "cmd": command_lines(case),
        "gates": gates,
    }


def _row(name: str, verdict: Verdict | str | None, would: bool) -> dict[str, Any]:
    if isinstance(verdict, Verdict):
        kind = f"would_{verdict.kind}" if would else verdict.kind
        return {"gate": name, "verdict": kind, "reason": verdict.reason, "why": verdict.why, "until": verdict.until}
    return {"gate": name, "verdict": PASS, "why": verdict or ""}


def command_lines(case: Case) -> list[str]:
    """The ladder as it would be run; a line that cannot be filled in says why."""
    lines = []
    for step in case.rule.steps if case.rule else ():
        try:
            lines.append(step.action.line(case.alert, case.ruled.allowed))
        except Invalid as error:
            lines.append(f"(cannot be filled in: {error})")
    return lines
