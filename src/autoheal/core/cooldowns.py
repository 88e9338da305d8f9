"""How long a rule's cooldown is: what the policy says, or what a person has set since, while the rule is the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoheal.core.errors import Invalid
from autoheal.core.policy import MIN_COOLDOWN, Rule
from autoheal.core.state import Override

MAX_COOLDOWN = 366 * 86400.0


def override_of(rule: Rule, overrides: Mapping[str, Override]) -> Override | None:
    """What a person has set for this very rule."""
    found = overrides.get(rule.name)
    return found if found is not None and found.rule_digest == rule.digest else None


def cooldown_of(rule: Rule, overrides: Mapping[str, Override]) -> float:
    """Seconds between two starts for one key; never below `MIN_COOLDOWN`."""
    found = override_of(rule, overrides)
    return max(rule.cooldown if found is None else found.cooldown, MIN_COOLDOWN)


def check_cooldown(seconds: float | None) -> None:
    """Invalid where no cooldown can be so long or so short; None stands for the policy's."""
    if seconds is None:
        return
    if not seconds >= MIN_COOLDOWN:
        why = "a second copy of an alert from a pair of Alertmanagers may come this late"
        raise Invalid(f"must be at least {MIN_COOLDOWN:.0f}s ({why})", "cooldown")
    if seconds > MAX_COOLDOWN:
        raise Invalid("must be at most 366d", "cooldown")


def shown(rule: Rule, overrides: Mapping[str, Override]) -> dict[str, Any]:
    """`cooldown` holds, `policy` is what the policy says; `by` and `since` are None where nobody has set it."""
    found = override_of(rule, overrides)
    return {
        "rule": rule.name,
        "cooldown": cooldown_of(rule, overrides),
        "policy": rule.cooldown,
        "by": None if found is None else found.by,
        "since": None if found is None else found.since,
    }
