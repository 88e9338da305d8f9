"""What a group is called and how it stands, in one line that is understood alone. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from autoheal.core.threads import severity_rank
from autoheal.threader.conversation import Conversation, Healing, Member
from autoheal.threader.mrkdwn import cut, plain_text, units

MOST = 150
"""Slack's limit for a header."""
DOTS = {3: "🔴", 2: "🟠", 1: "🔵", 0: "⚪"}
_NAME = 60
_NAMES = 2
_BARE = re.compile(r"[^\W\d_].{2,}", re.DOTALL)
"""A value that says something without its name: not `1`, `eu`, `8080`."""
_NEEDS_NAME = {"true", "false", "yes", "none", "null"}


@dataclass(frozen=True, slots=True)
class Standing:
    """How a conversation stands: its alerts by what they need, worst first, and what to call it all."""

    loud: list[Member]
    """Those that fire and that no acknowledgement hides."""
    hidden: list[Member]
    """Those that fire behind one."""
    resolved: int
    severity: str
    """The worst that fires now, the loud first; empty for none."""
    awaits: list[Healing]
    """What a person must approve."""

    @property
    def firing(self) -> int:
        return len(self.loud) + len(self.hidden)


def standing(conversation: Conversation) -> Standing:
    firing = worst_first(conversation.firing)
    loud = [member for member in firing if not member.behind]
    hidden = [member for member in firing if member.behind]
    first = (loud or hidden)[:1]
    awaits = [one for one in in_order(conversation.healing.values()) if needs_approval(one)]
    return Standing(loud, hidden, len(conversation.members) - len(firing), first[0].severity if first else "", awaits)


def worst_first(members: Iterable[Member]) -> list[Member]:
    """By severity, then the longest-lasting first; always the same order for the same alerts."""
    return sorted(members, key=lambda one: (-severity_rank(one.severity), ordered(one.starts_at), one.fingerprint))


def in_order(healing: Iterable[Healing]) -> list[Healing]:
    return sorted(healing, key=lambda one: (ordered(one.at), one.remediation_id))


def ordered(at: float) -> float:
    """A moment to sort by: what is no number would leave the order to chance."""
    return at if at == at else 0.0


def needs_approval(one: Healing) -> bool:
    """Held with another reason than a person's word is a limit, such as the blast radius."""
    return one.state == "held" and one.detail in ("", "approval")


def dot(now: Standing, conversation: Conversation) -> str:
    """The sign in front: never alone, the words behind it say the same."""
    if now.loud:
        return DOTS[severity_rank(now.severity)]
    if now.hidden:
        return "🔕"
    return "✅" if conversation.members else "⚪"


def state(now: Standing, conversation: Conversation) -> str:
    """How it stands, in words: ``3 firing, 1 acknowledged, needs approval``."""
    if now.loud:
        words = [f"{now.firing} firing"]
        if now.hidden:
            words.append(f"{len(now.hidden)} acknowledged")
    elif now.hidden:
        words = ["acknowledged", f"{now.firing} firing"]
    else:
        words = ["resolved" if conversation.members else "no alerts"]
    if now.awaits:
        words.append("needs approval")
    if conversation.stale and now.firing:
        words.append("not heard of lately")
    if conversation.flapping:
        words.append("flapping")
    return ", ".join(words)


def title(conversation: Conversation) -> str:
    """The whole first line as plain text, for a header: ``🔴 ServiceDown · svc — 3 firing``."""
    now = standing(conversation)
    front, back = dot(now, conversation) + " ", f" — {state(now, conversation)}"
    return front + name(conversation, MOST - units(front) - units(back)) + back


def name(conversation: Conversation, most: int) -> str:
    """What the group is called: its alert names and the values of its labels. Plain text, not empty."""
    names = _alertnames(conversation)
    parts = [plain_text(one, _NAME) for one in names[:_NAMES]]
    called = ", ".join(part for part in parts if part) + (f" +{len(names) - _NAMES}" if len(names) > _NAMES else "")
    values = [
        _value(label, value) for label, value in sorted(conversation.group_labels.items()) if label != "alertname"
    ]
    words = [word for word in (called, *values) if word]
    return cut(" · ".join(words) or plain_text(conversation.receiver, _NAME) or "Alerts", most)


def _alertnames(conversation: Conversation) -> list[str]:
    """That of the group; where it has none, those of its alerts: the firing ones, worst first, or all."""
    given = conversation.group_labels.get("alertname", "")
    if given:
        return [given]
    members = worst_first(conversation.firing or conversation.members.values())
    return list(dict.fromkeys(member.name for member in members if member.name))


def _value(label: str, value: str) -> str:
    if not value:
        return ""
    text = plain_text(value, _NAME)
    return text if _BARE.match(value) and value.lower() not in _NEEDS_NAME else f"{plain_text(label, 30)}={text}"
