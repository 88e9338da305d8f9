"""An event of the trail as a row for people: when, what kind, and in a few words what happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from autoheal.cli import render

if TYPE_CHECKING:
    from rich.text import Text

Event = Mapping[str, Any]

HEADERS = ("ID", "TIME", "EVENT", "WHAT")
WIDTHS = (7, 8, 20, None)

_STYLES = {
    "green": ("action_ok", "verify_ok", "approved", "started"),
    "red": ("action_fail", "verify_fail", "webhook_rejected", "policy_rejected", "rejected"),
    "bold magenta": ("action_unknown", "escalated"),
    "yellow": (
        "decision_hold",
        "approval_requested",
        "verify_inconclusive",
        "cancelled",
        "mode_changed",
        "cooldown_changed",
        "marked",
    ),
    "cyan": ("action_dry_run",),
    "bold blue": ("decision_act", "action_started"),
    "dim": ("decision_skip", "heartbeat", "webhook_received"),
}
STYLE = {kind: style for style, kinds in _STYLES.items() for kind in kinds}


def row(event: Event, now: float, ages: bool = False) -> tuple[Text | str, ...]:
    """The cells under HEADERS."""
    kind = str(event.get("kind", "?"))
    time = render.when(event.get("ts"), now)
    what = what_happened(event)
    if ages:
        what = render.joined([what, render.text(f"({render.age(event.get('ts'), now)})", "dim")])
    return render.text(event.get("id", "?"), "dim"), time, render.text(kind, STYLE.get(kind, "")), what


def what_happened(event: Event) -> Text:
    """The event in a few words; fields that this version does not know are left to ``--json``."""
    special = _SPECIAL.get(str(event.get("kind")))
    parts = [_about(event), *(special(event) if special else _generic(event))]
    if event.get("remediation_id"):
        parts.append(render.text(f"[{event['remediation_id']}]", "dim"))
    return render.joined(parts)


def _about(event: Event) -> Text:
    """The alert, and which of its instances, where the labels say so."""
    if not event.get("alertname"):
        return render.text("")
    labels = event.get("labels")
    instance = labels.get("instance") if isinstance(labels, Mapping) else None
    return render.text(f"{event['alertname']} on {instance}" if instance else event["alertname"], "bold")


def _generic(event: Event) -> list[Text | str]:
    found: list[Text | str] = []
    if event.get("reason"):
        found.append(f"{event['reason']}{_why(event)}")
    for name, style in (("cmd", ""), ("error", "red"), ("detail", "dim"), ("summary", "")):
        if event.get(name):
            found.append(render.text(event[name], style))
    if event.get("rc") is not None and event.get("rc") != 0:
        found.append(f"rc={event['rc']}")
    took = event.get("duration_seconds")
    if isinstance(took, int | float):
        found.append(f"in {took:.3g}s")
    if event.get("outcome") or event.get("effect"):
        found.append(str(event.get("outcome") or event["effect"]))
    return found + _by(event)


def _why(event: Event) -> str:
    """What the deciding gate said: the trace ends with it."""
    trace = event.get("trace")
    if event.get("kind") not in ("decision_skip", "decision_hold", "cancelled") or not isinstance(trace, Mapping):
        return ""
    last = list(trace.values())[-1:]
    return f": {last[0]}" if last and last[0] != "pass" else ""


def _by(event: Event) -> list[Text | str]:
    found: list[Text | str] = [f"by {event['actor']}"] if event.get("actor") else []
    said = event.get("note") or event.get("comment")
    return [*found, f'"{said}"'] if said else found


def _mode(event: Event) -> list[Text | str]:
    before = event.get("before")
    was = f"{mode_name(before)} -> " if isinstance(before, Mapping) else ""
    return [f"{was}{mode_name(event)}", *_by(event), f"({event.get('source')})" if event.get("source") else ""]


def _cooldown(event: Event) -> list[Text | str]:
    reason = "(the rule was written anew)" if event.get("reason") == "rule_changed" else ""
    to = f"-> {_seconds(event['cooldown'])}" if event.get("cooldown") is not None else ""
    back = "as the policy says" if event.get("reset") else ""
    return [f"rule {event.get('rule', '?')}:", _seconds(event.get("before")), to, back, reason, *_by(event)]


def _seconds(value: object) -> str:
    from autoheal.core.duration import format_duration

    return format_duration(value) if isinstance(value, int | float) and abs(value) < 1e12 else ""


def mode_name(mode: Mapping[str, Any]) -> str:
    """``live``, ``dry run`` or ``off``."""
    if mode.get("dry_run"):
        return "dry run"
    return "live" if mode.get("enabled") else "off"


def _received(event: Event) -> list[Text | str]:
    return [
        f"{render.counted(event.get('alerts'), 'alert')} from {event.get('source', '?')}",
        str(event.get("receiver") or ""),
        _seen(event.get("seen")) if event.get("source") == "silence_watch" else "",
    ]


def _seen(seen: object) -> str:
    """What the watch of our silences saw: how many are hidden, have resolved, fire again."""
    found = [_word(one) for one in seen if isinstance(one, Mapping)] if isinstance(seen, list) else []
    return f"({', '.join(f'{found.count(word)} {word}' for word in dict.fromkeys(found))})" if found else ""


def _word(seen: Mapping[str, Any]) -> str:
    if seen.get("status") == "resolved":
        return "resolved"
    return "hidden" if "behind" in seen else "fires again"


def _refused(event: Event) -> list[Text | str]:
    problems = event.get("problems")
    first = problems[0] if isinstance(problems, list) and problems and isinstance(problems[0], Mapping) else {}
    told = f"{first.get('field', '')}: {first.get('problem', '')}" if first else ""
    return [f"{event.get('count', 1)} refused: {event.get('reason', '')}", told]


def _policy(event: Event) -> list[Text | str]:
    rules = event.get("rules")
    count = len(rules) if isinstance(rules, list) else 0
    changed = "" if event.get("changed", True) else "(as before)"
    return [render.counted(count, "rule"), str(event.get("path") or ""), changed, *_by(event)]


def _started(event: Event) -> list[Text | str]:
    found: list[Text | str] = [f"version {event.get('version', '?')}", str(event.get("instance") or "")]
    if event.get("interrupted"):
        found.append(render.text(f"{event['interrupted']} interrupted", "yellow"))
    return found


def _acked(event: Event) -> list[Text | str]:
    labels = render.labels(event.get("labels"), without=("alertname",))
    length = f"for {event['duration']}" if event.get("duration") else ""
    return [labels, length, str(event.get("reason") or ""), *_by(event)]


_SPECIAL: Mapping[str, Callable[[Event], list[Text | str]]] = {
    "mode_changed": _mode,
    "cooldown_changed": _cooldown,
    "webhook_received": _received,
    "webhook_rejected": _refused,
    "policy_loaded": _policy,
    "started": _started,
    "ack": _acked,
    "ack_ended": _acked,
    "escalated": lambda event: [f"{event.get('severity', '')}:", str(event.get("summary") or event.get("reason", ""))],
    "heartbeat": lambda event: [mode_name(event), f"{event.get('open', 0)} open"],
}
