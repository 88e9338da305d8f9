"""What a look at Alertmanager says of our silences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoheal.core.alert import FIRING, Alert
from autoheal.core.moves.silences import Hides
from autoheal.engine.ports import Active, Seen, Silence

MAX_ACTOR = 200
"""Characters of a name that somebody wrote into a silence."""


def covers(labels: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether a silence of exactly these labels hides an alert with the other ones."""
    return all(other.get(name, "") == value for name, value in labels.items())


def matching(labels: Mapping[str, str], active: Active) -> list[Seen]:
    return [alert for alert in active.alerts if covers(labels, alert.labels)]


def hides_of(alerts: Sequence[Seen]) -> Hides:
    return {one.fingerprint: {"labels": dict(one.labels), "starts_at": one.starts_at} for one in alerts}


def alert_of(seen: Seen) -> Alert:
    return Alert(FIRING, dict(seen.labels), dict(seen.annotations), seen.starts_at, seen.fingerprint)


def labels_of(silence: Silence) -> dict[str, str] | None:
    """The labels of a silence that matches exactly; None for any other."""
    if any(m.get("isRegex") or not m.get("isEqual", True) for m in silence.matchers):
        return None
    return {str(m["name"]): str(m["value"]) for m in silence.matchers}


def actor_of(silence: Silence) -> str:
    """Who made it, or changed it last."""
    return (silence.created_by.partition(":")[2] or silence.created_by)[:MAX_ACTOR]
