"""The policy in force as `autoheal smoke` sees it: its cooldowns, and what would be decided for one of its alerts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autoheal.cli.finding import Finding, bad, ok, skip
from autoheal.core.errors import AutohealError, Invalid

if TYPE_CHECKING:
    from autoheal.clients.autoheal import AutohealClient

LEAST = 30.0
"""Seconds: the shortest cooldown that the service keeps."""
TRIED = 20
"""Rules that are tried for an alert that can be made up."""
DOES_NOT_FIT = ("not_allowlisted", "not_annotated", "action_not_allowed")
"""Reasons that say more about the made-up alert than about the rule."""

Rules = Sequence[Mapping[str, Any]] | None


def check_cooldowns(rules: Rules, home: Mapping[str, Any]) -> Finding:
    if rules is None:
        return skip("cooldowns", "this Autoheal does not tell its rules (GET /rules); it is older than this command")
    if not rules:
        fix = "set AUTOHEAL_POLICY_FILE, then autoheal policy check"
        return bad("cooldowns", "the policy in force has no rule: nothing would ever be healed", fix)
    short = [str(rule["name"]) for rule in rules if _seconds(rule) < LEAST]
    if short:
        return bad("cooldowns", f"shorter than {LEAST:g} s: {', '.join(short)}", "raise `cooldown` in the policy")
    shown = [f"{rule['name']} {_seconds(rule):g} s" for rule in rules[:6]]
    more = f" and {len(rules) - 6} more" if len(rules) > 6 else ""
    return ok("cooldowns", ", ".join(shown) + more)


def _seconds(rule: Mapping[str, Any]) -> float:
    from autoheal.core.duration import parse_seconds

    cooldown = rule["cooldown"]
    return float(cooldown) if isinstance(cooldown, int | float) else parse_seconds(str(cooldown))


# ---- what would be decided --------------------------------------------------------------------------------------


def check_decision(client: AutohealClient, rules: Rules, home: Mapping[str, Any], mode: str) -> Finding:
    """Ask, for an alert of the policy, what would be done in this mode. Nothing is sent but the question."""
    try:
        for labels in _made_up(rules, home):
            said = explain(client, labels)
            if said["reason"] not in DOES_NOT_FIT:
                return _judged(labels["alertname"], said, mode)
    except AutohealError as error:
        return bad("decision", str(error), "see its log")
    return skip("decision", "no alert could be made up from the rules' matchers; try autoheal policy explain")


def explain(client: AutohealClient, labels: Mapping[str, str]) -> dict[str, Any]:
    asked = {"labels": json.dumps(dict(labels)), "annotations": '{"autoheal":"true"}'}
    return client.get("/explain", asked)


def _judged(name: str, said: Mapping[str, Any], mode: str) -> Finding:
    """Which gates let it through must be what the mode says, even where another gate, such as a cooldown, decides."""
    verdicts = {gate["gate"]: gate["verdict"] for gate in said["gates"]}
    line = (said.get("cmd") or ["?"])[0]
    expected = {
        "off": {"kill_switch": ("skip",)},
        "dry run": {"kill_switch": ("pass",), "dry_run": ("dry_run",)},
        "live": {"kill_switch": ("pass",), "dry_run": ("pass",)},
    }[mode]
    wrong = [gate for gate, fine in expected.items() if verdicts.get(gate) not in fine]
    if wrong or (mode != "live" and said["result"] == "act"):
        told = f"{mode}, but {name} would end in {said['result']} {said['reason'] or ''}".rstrip()
        return bad("decision", told, "autoheal mode dry-run, then find out who changed the mode: autoheal audit")
    if said["result"] == "act":
        return ok("decision", f"live: {name} would run {line!r}")
    if said["result"] == "dry_run":
        return ok("decision", f"dry run: {name} would be recorded and not done: {line!r}")
    return ok("decision", f"{mode}: {name} would now be met by {said['result']} {said['reason']}: {said['why']}")


def _made_up(rules: Rules, home: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Labels that the rules' matchers may hold for; the service's answer says whether they do."""
    if rules is None:
        yield from ({"alertname": str(name)} for name in list(home.get("actions") or ())[:TRIED])
        return
    for rule in rules[:TRIED]:
        labels = _labels(rule.get("match") or ())
        if "alertname" in labels:
            yield labels


def _labels(matchers: Sequence[str]) -> dict[str, str]:
    from autoheal.core.matcher import parse_matchers

    labels: dict[str, str] = {}
    for text in matchers:
        try:
            parsed = parse_matchers(text)
        except Invalid:
            continue
        for one in parsed:
            if one.op == "=":
                labels[one.name] = one.value
            elif one.op == "=~":
                labels.setdefault(one.name, _example(one.value))
    return labels


def _example(pattern: str) -> str:
    """A guess at what a simple pattern matches: its first choice, with something for each wildcard."""
    first = pattern.strip("()^$").split("|")[0]
    return re.sub(r"\.[*+?]", "x", first).replace("\\", "")
