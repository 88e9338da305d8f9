"""What is said of each thing that people must be told: one sentence, and what belongs below it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from autoheal.core.threads import severity_rank
from autoheal.threader.blocks import listed
from autoheal.threader.conversation import Line
from autoheal.threader.look import Look
from autoheal.threader.mrkdwn import code, lasted, link, literal, person, units, when
from autoheal.threader.title import DOTS

_DETAIL = 400
_NAME = 200
_BRIEF = 60
_LEAST = 60
"""Units below which a list of alerts is only counted."""


@dataclass(frozen=True, slots=True)
class Said:
    """One thing told: `head` (ours alone, drawn bold), `tail` behind it, both mrkdwn, and the way on."""

    sign: str
    head: str
    tail: str = ""
    names: list[str] = field(default_factory=list)
    total: int = 0
    way: str = ""
    """What the console is needed for: the label of the link to the remediation."""
    at: float | None = None
    """When it happened, where that is not the line's own time."""

    @property
    def sentence(self) -> str:
        return f"{self.head}{self.tail}"


def said(line: Line, look: Look) -> Said:
    tell = _KINDS.get(line.kind)
    if tell is None:  # a kind that is newer than this file is still told
        return Said("•", literal(line.kind.replace("_", " "), 60).capitalize(), _because(line), *_names(line))
    return tell(line, look)


def drawn(line: Line, look: Look, most: int) -> str:
    """The whole of it as mrkdwn: sentence, when, alerts, link. Where that is more than `most`, there is less of it; at
    least what happened, and when, in about 170 units."""
    told = said(line, look)
    text, way = _first(told, line), _way(told, line, look)
    if units(text) + units(way) + 1 > most:
        way = ""
    if units(text) > most:
        text = _first(said(replace(line, detail=line.detail[:_BRIEF]), look), line)
    if units(text) > most:
        text = _first(replace(told, tail=""), line)
    room = most - units(text) - units(way) - 2
    if told.names and room >= _LEAST:
        below = listed([f"• {name}" for name in told.names], room, told.total)
        text += f"\n{below}"
    return f"{text}\n{way}" if way else text


def _first(told: Said, line: Line) -> str:
    return f"{told.sign} *{told.head}*{told.tail} · {when(line.at if told.at is None else told.at)}"


def _way(told: Said, line: Line, look: Look) -> str:
    """The link to the remediation; where there is no console, the command that does what the link would."""
    if not told.way or not line.remediation_id:
        return ""
    found = link(look.remediation(line.remediation_id), told.way, 400)
    if found or line.kind not in _COMMANDS:
        return found
    return f"{code(f'autoheal remediations {_COMMANDS[line.kind]} {line.remediation_id}', 200)}"


_COMMANDS = {"approval": "approve", "unknown": "settle"}


# ---- parts of sentences ---------------------------------------------------------------------------------------------


def alerts(count: int, more: bool = False) -> str:
    """``3 alerts``, ``1 more alert``."""
    return f"{max(count, 0)}{' more' if more else ''} alert{'' if count == 1 else 's'}"


def ordinal(number: int) -> str:
    last = number % 10
    ending = {1: "st", 2: "nd", 3: "rd"}.get(last, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


def _fire(count: int) -> str:
    return "fires" if count == 1 else "fire"


def _names(line: Line) -> tuple[list[str], int]:
    shown = [literal(name, _NAME) for name in line.names]
    return [name for name in shown if name], max(line.count, len(line.names))


def reason(detail: str, most: int = _DETAIL) -> str:
    """Why, as written; a reason of the remediator's own, such as ``by_hand``, as words."""
    return literal(detail.replace("_", " ") if _REASON.fullmatch(detail) else detail, most)


_REASON = re.compile(r"[a-z]{2,20}(?:_[a-z]{2,20}){1,4}")


def _because(line: Line) -> str:
    why = reason(line.detail)
    return f": {why}" if why else ""


def _by(line: Line, call: bool = False) -> str:
    return f" by {person(line.who, call)}" if line.who else ""


def _until(line: Line) -> str:
    return f" until {when(line.until)}" if line.until else ""


def _after(line: Line) -> str:
    """How long the trouble lasted; `until` holds its start."""
    span = lasted(line.at - line.until) if line.until else ""
    return f" after {span}" if span else ""


def _still(line: Line) -> str:
    return f" and {alerts(line.left)} still {_fire(line.left)}" if line.left else ""


def _command(line: Line) -> str:
    shown = code(line.detail, _DETAIL)
    rule = code(line.rule, 80)
    return (f": {shown}" if shown else "") + (f" (rule {rule})" if rule else "")


def _rule(line: Line) -> str:
    rule = code(line.rule, 80)
    return f" (rule {rule})" if rule else ""


# ---- one for each kind ----------------------------------------------------------------------------------------------


def _joined(line: Line, look: Look) -> Said:
    left = f", {line.left} firing now" if line.left else ""
    return Said("➕", f"{alerts(line.count, more=True)} {_fire(line.count)}", left, *_names(line))


def _resolved_some(line: Line, look: Look) -> Said:
    left = f", {line.left} still firing" if line.left else ""
    return Said("✔️", f"{alerts(line.count)} resolved", left, *_names(line))


def _resolved(line: Line, look: Look) -> Said:
    return Said("✅", "Resolved", f"{_after(line)}: nothing fires any more")


def _resolved_acked(line: Line, look: Look) -> Said:
    who = _by(line, call=True)  # who took it on waits for this
    return Said("✅", "Resolved while acknowledged", f"{who}{_after(line)}: nothing fires any more")


def _refired(line: Line, look: Look) -> Said:
    times = f" for the {ordinal(line.fired)} time" if line.fired > 1 else ""
    count = f": {alerts(line.count)}" if line.count else ""
    return Said("🔁", "Fires again", times + count, *_names(line))


def _rose(line: Line, look: Look) -> Said:
    severity = literal(line.detail, 40)
    head = f"Severity rose to {severity}" if severity else "Severity rose"
    return Said(DOTS[severity_rank(line.detail)], head, "", *_names(line))


def _acked(line: Line, look: Look) -> Said:
    comment = literal(line.detail, _DETAIL)
    return Said(
        "🔕", "Acknowledged", f"{_by(line)}{_until(line)}" + (f": “{comment}”" if comment else ""), *_names(line)
    )


def _extended(line: Line, look: Look) -> Said:
    return Said("🔕", "Acknowledgement extended", f"{_by(line)}{_until(line)}", *_names(line))


def _ack_undone(line: Line, look: Look) -> Said:
    return Said("🔔", "Acknowledgement undone", f"{_by(line)}: it notifies again", *_names(line))


def _ack_ending(line: Line, look: Look) -> Said:
    ends = f" ({when(line.until)})" if line.until else ""
    hint = ". The button at the top of this thread extends it" if look.buttons else ""
    told = f"{_by(line, call=True).replace(' by ', ' of ', 1)} ends soon{ends}{_still(line)}{hint}"
    return Said("⏰", "The acknowledgement", told, *_names(line))


def _ack_expired(line: Line, look: Look) -> Said:
    return Said("🔔", "The acknowledgement is over", _still(line) or " and it still fires", *_names(line))


def _ack_ended(line: Line, look: Look) -> Said:
    return Said("🔔", "The acknowledgement is over", ": what it hid has resolved", *_names(line))


def _hidden(line: Line, look: Look) -> Said:
    head = f"{alerts(line.count, more=True)} {_fire(line.count)}"
    return Said("🔕", head, " behind the acknowledgement", *_names(line))


def _calm(line: Line, look: Look) -> Said:
    left = f"{alerts(line.left)} still {_fire(line.left)}" if line.left else "nothing fires"
    return Said("🌤️", "The flapping is over", f": {left}; each change is told again")


def _digest(line: Line, look: Look) -> Said:
    left = f"; {line.left} firing now" if line.left else ""
    tail = f": fired {_times(line.fired)} and resolved {_times(line.ended)} since {when(line.at)}{left}"
    return Said("🔁", "Flapping", tail, *_names(line), at=max(line.at, line.until))


def _times(count: int) -> str:
    return {0: "not once", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _does(sign: str, head: str, way: str = "") -> Callable[[Line, Look], Said]:
    """A kind about a command."""

    def tell(line: Line, look: Look) -> Said:
        return Said(sign, head, f"{_command(line)}{_until(line)}", way=way)

    return tell


def _tells(sign: str, head: str, after: str = "", way: str = "") -> Callable[[Line, Look], Said]:
    """A kind that is one head, who did it where that is known, and why."""

    def tell(line: Line, look: Look) -> Said:
        why = "" if line.who and line.detail == "by_hand" else _because(line)
        return Said(sign, head, f"{_by(line)}{after}{why}{_rule(line)}", *_names(line), way=way)

    return tell


_SEE = "See it in the console"
_KINDS: dict[str, Callable[[Line, Look], Said]] = {
    "joined": _joined,
    "resolved_some": _resolved_some,
    "resolved": _resolved,
    "resolved_acked": _resolved_acked,
    "refired": _refired,
    "rose": _rose,
    "acked": _acked,
    "extended": _extended,
    "ack_undone": _ack_undone,
    "ack_ending": _ack_ending,
    "ack_expired": _ack_expired,
    "ack_ended": _ack_ended,
    "hidden": _hidden,
    "dry_run": _does("🧪", "Dry run: this would have been done"),
    "healing": _does("🔧", "Healing", "Follow it in the console"),
    "done": _does("✔️", "The action was done, and nothing checks whether it helped"),
    "action_failed": _tells("❌", "The action failed", way=_SEE),
    "healed": _does("💚", "Healed"),
    "ineffective": _tells("❌", "The action did not help", way=_SEE),
    "inconclusive": _tells("❔", "Nobody can say whether it helped", way=_SEE),
    "unknown": _tells(
        "❓", "It is not known whether the action ran", "; a person must settle it", "Settle it in the console"
    ),
    "approval": _does("✋", "A person must approve", "Approve or reject it in the console"),
    "held": _tells("⏸️", "Held back", way=_SEE),
    "approved": _tells("👍", "Approved"),
    "rejected": _tells("🚫", "Rejected"),
    "cancelled": _tells("🚫", "Cancelled"),
    "settled": _tells("✔️", "Settled"),
    "escalated": _tells("📣", "Escalated", way=_SEE),
    "digest": _digest,
    "calm": _calm,
    "moved": _tells("📌", "This thread goes on here"),
}
