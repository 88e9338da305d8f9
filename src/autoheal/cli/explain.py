"""The decision for one alert, shown gate by gate, and the smallest change that would flip it."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from autoheal.cli import render

if TYPE_CHECKING:
    from rich.text import Text

    from autoheal.core.policy import Policy, Rule

Explained = Mapping[str, Any]

_RESULTS = {"act": ("it would be healed", "bold green"), "dry_run": ("it would be recorded, not done", "bold cyan")}
_STYLES = {"pass": "green", "skip": "red", "hold": "yellow", "dry_run": "cyan", "not_reached": "dim"}

HINTS = {
    "disabled": "switch Autoheal on: autoheal mode dry-run, or live",
    "resolved": "nothing: only an alert that fires is acted on",
    "rule_changed": "nothing: the alert is decided anew under the rule as it is now",
    "not_annotated": 'add the annotation autoheal: "true" to the alert, or opt_in: false to the rule',
    "maintenance": "wait until the window ends, or change never_during of the rule",
    "silenced": "end the silence: autoheal silence list, autoheal silence expire ID",
    "in_progress": "wait until that one ends, or: autoheal remediations cancel ID",
    "unsettled": "say how that one ended: autoheal remediations settle ID --outcome healed|failed",
    "cooldown": "wait until it is over, or: autoheal cooldown RULE 5m (30s at least)",
    "budget": "wait until an attempt is older than the budget's time, or raise max_attempts of the rule",
    "breaker_open": "find out why it fails, wait until the breaker closes, or change limits.breaker",
    "blast_radius": "wait until fewer have started lately, or raise limits.blast_radius",
    "approval": "once it is held: autoheal remediations approve ID",
    "dry_run": "let it act: autoheal mode live",
}


def show(found: Explained, given: Mapping[str, str], now: float, policy: Policy | None = None) -> None:
    """Print it. With the policy at hand, an alert without a rule is told which one comes nearest."""
    name, style = _RESULTS.get(str(found["result"]), (f"{found['result']} {found['reason']}", "bold yellow"))
    render.say(f"{{{render.labels(given)}}}")
    render.say(
        render.text(f"{name}", style), render.text(f"by rule {found['rule']}" if found.get("rule") else "no rule")
    )
    render.table(("", "GATE", "VERDICT", "WHY"), [_gate(gate, now) for gate in found["gates"]])
    for number, line in enumerate(found.get("cmd") or (), 1):
        render.say(render.text(f"step {number}:", "dim"), line)
    for line in advice(found, given, policy):
        render.say(render.text("to change that:", "bold"), line)
    then = next_in_the_way(found)
    if then:
        render.say(render.text("after that:", "bold"), then)


def _gate(gate: Mapping[str, Any], now: float) -> tuple[Text | str, ...]:
    verdict = str(gate["verdict"])
    decides = bool(gate.get("decides"))
    until = f"(ends {render.when_and_age(gate['until'], now)})" if gate.get("until") else ""
    style = _STYLES.get(verdict, "yellow") + (" bold" if decides else "")
    shown = "not asked" if verdict == "not_reached" else verdict.replace("_", " ")
    return (
        ">" if decides else " ",
        render.text(gate["gate"], "bold" if decides else ""),
        render.text(shown, style),
        (render.joined([str(gate.get("why") or ""), render.text(until, "dim")])),
    )


def advice(found: Explained, given: Mapping[str, str], policy: Policy | None = None) -> list[str]:
    """What would flip the decision, the smallest change first; empty where it would act."""
    reason = str(found.get("reason") or "")
    if reason == "not_allowlisted":
        return _rule_advice(given, policy)
    if reason == "action_not_allowed":
        return [_action_advice(found)]
    return [HINTS[reason]] if reason in HINTS else []


def _action_advice(found: Explained) -> str:
    lines = found.get("cmd") or [""]
    if str(found.get("why", "")).startswith("the action cannot be filled in"):
        return "give the alert that label with a value that fits, or change `allow` or the action of the rule"
    return f"leave the annotation autoheal_action out, or make it {str(found.get('rule'))!r} or {str(lines[0])!r}"


def _rule_advice(given: Mapping[str, str], policy: Policy | None) -> list[str]:
    if given.get("alertname", "").startswith("Autoheal"):
        return ["nothing: alerts about Autoheal itself are never acted on, so that it cannot chase its own tail"]
    if policy is None or not policy.rules:
        return ["add a rule to the policy whose `match` holds for these labels"]
    nearest = min(policy.rules, key=lambda rule: _distance(rule, given))
    wrong = [f"{m} (the alert has {given.get(m.name, '')!r})" for m in nearest.match if not m.matches(given)]
    return [f"rule {nearest.name} would match if this held: {', '.join(wrong)}", "or add a rule that matches"]


def _distance(rule: Rule, given: Mapping[str, str]) -> tuple[int, float]:
    """How many matchers do not hold, and how little the alert's name looks like one that the rule asks for."""
    name = given.get("alertname", "")
    alike = max((SequenceMatcher(None, name, other).ratio() for other in rule.alertnames), default=0.0)
    return sum(not matcher.matches(given) for matcher in rule.match), -alike


def next_in_the_way(found: Explained) -> str:
    """The gate that would decide next if the deciding one passed; empty where there is none, or nobody was asked."""
    behind = False
    for gate in found["gates"]:
        if gate["verdict"] == "not_reached":
            return ""
        if behind and gate["verdict"] in ("skip", "hold", "dry_run"):
            return f"{gate['gate']} would decide: {gate.get('why', '')}"
        behind = behind or bool(gate.get("decides"))
    return ""
