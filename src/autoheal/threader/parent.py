"""The first message of a thread: what is true of the group now. Pure.

It is drawn from the conversation alone, and the same conversation gives the same bytes: time is shown as moments that
Slack writes in the reader's zone, never as "5 minutes ago".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from autoheal.core.threads import severity_rank
from autoheal.threader import blocks as kit
from autoheal.threader.blocks import Block, Payload
from autoheal.threader.conversation import Acknowledged, Conversation, Healing, Member
from autoheal.threader.lines import alerts, ordinal, reason
from autoheal.threader.look import GROUP, Look
from autoheal.threader.mrkdwn import called, code, cut, lasted, link, literal, person, plain_text, units, when
from autoheal.threader.title import Standing, in_order, needs_approval, ordered, standing, title, worst_first

SHOWN = 10
"""Alerts that are listed; at three in the morning nobody reads more."""
_WERE = 5
"""Of those that no longer fire."""
_LEAST = 250
DURATIONS = ("30m", "2h", "24h")
EXTENSION = "2h"
"""For how long an extension is, and the acknowledgement of one alert."""
UNDO = "undo"
_LIST = 2400
_LEAST_LIST = 900
"""Units of the list for which there is always room."""
_STATE = 1300
"""Units in which it is told who has acknowledged, and those of what heals it."""
_ACKS = 3
_HEALINGS = 4
_LINKS = 1600
_LONGEST_LINK = 700
_SUMMARY = 150
_DESCRIPTION = 500
_LABELS = 6
_SAME_TIME = 60.0
"""Seconds: an alert that began this close to the trouble needs no time of its own."""


def drawn(conversation: Conversation, look: Look) -> Payload:
    now = standing(conversation)
    texts = [
        _note(conversation),
        facts(conversation, now, conversation.mentions),
        kit.whole_lines("\n".join(acknowledgements(conversation, now, look)), _STATE),
        kit.whole_lines("\n".join(healings(conversation, look)), _STATE),
    ]
    top: list[Block] = [kit.header(title(conversation)), *kit.packed(text for text in texts if text)]
    bottom: list[Block] = []
    if linked := links(conversation, now, look):
        bottom.append(kit.context(linked))
    room = kit.MOST - kit.weight([*top, *bottom]) - _LEAST_LIST
    buttons = _buttons(conversation, now, look, room) if look.buttons else []
    if buttons:
        bottom.append(kit.actions(buttons))
    elif not look.buttons and now.loud and (pages := ack_links(conversation, look)):
        bottom.insert(0, kit.section(pages))
    room = min(_LIST, kit.MOST - kit.weight([*top, *bottom]) - _OVERHEAD)
    if listed := alert_list(conversation, now, room):
        top.append(kit.section(listed))
    if look.buttons and len(now.loud) > 1:
        _add_choice(top, bottom, conversation, now, look)
    return {"text": fallback(conversation, now), "blocks": [*top, *bottom]}


_OVERHEAD = 200
"""Units of JSON that a section's own signs take, with room to spare."""


def fallback(conversation: Conversation, now: Standing) -> str:
    """What a notification shows, and a reader that knows no blocks: the title, the worst alert, who is called."""
    worst = (now.loud or now.hidden)[:1]
    text = literal(title(conversation), 400)
    if worst and now.severity:
        text += f" ({literal(now.severity, 30)})"
    summary = literal(worst[0].summary, _SUMMARY) if worst else ""
    text += f": {summary}" if summary else ""
    return " ".join(part for part in (text, called(conversation.mentions)) if part)


# ---- what is known --------------------------------------------------------------------------------------------------


def _note(conversation: Conversation) -> str:
    note = literal(conversation.note, 300)
    return f"⚠️ {note}" if note else ""


def facts(conversation: Conversation, now: Standing, mentions: Sequence[str] = ()) -> str:
    """Severity, counts, since when; below it who is called and what is out of the ordinary."""
    who = called(mentions)
    lines = [" · ".join([*_counts(conversation, now), *([f"called {who}"] if who else [])])]
    if conversation.stale and now.firing:
        lines.append(f"⚠️ Nobody has said that it still fires since {when(conversation.heard_at)}")
    if conversation.flapping:
        lines.append("🔁 *Flapping*: it comes and goes; changes are summed up in this thread")
    if conversation.truncated > 0:
        left_out = alerts(conversation.truncated, more=True)
        lines.append(f"➕ {left_out} that the sender left out, or that are too many to list")
    return "\n".join(line for line in lines if line)


def _counts(conversation: Conversation, now: Standing) -> Iterator[str]:
    if now.firing:
        severity = literal(now.severity, 30)
        yield f"*{severity}*" if severity else "*no severity*"
        if severity_rank(conversation.worst) > severity_rank(now.severity):
            yield f"at worst {literal(conversation.worst, 30)}"
        yield f"{now.firing} firing" + (f", {now.resolved} resolved" if now.resolved else "")
        yield f"since {when(conversation.fired_at)}"
    elif conversation.members:
        yield f"*Resolved* {when(conversation.resolved_at or 0.0)}"
        span = lasted((conversation.resolved_at or 0.0) - conversation.fired_at) if conversation.fired_at else ""
        if span:
            yield f"after {span}"
        yield alerts(now.resolved)
    else:
        yield "No alerts"
    if conversation.times > 1:
        yield f"the {ordinal(conversation.times)} time"


def acknowledgements(conversation: Conversation, now: Standing, look: Look) -> Iterator[str]:
    """Who has acknowledged, until when, and what of the group."""
    acks = sorted(conversation.acks.values(), key=lambda ack: (-ordered(ack.until), ack.silence_id))
    for ack in acks[:_ACKS]:
        comment = literal(ack.comment, 150)
        said = f"🔕 *Acknowledged* by {person(ack.actor)} until {when(ack.until)}{_of(ack, now)}"
        silence = link(look.silence(conversation, ack.silence_id), "silence", 300)
        yield said + (f": “{comment}”" if comment else "") + (f" ({silence})" if silence else "")
    if len(acks) > _ACKS:
        yield f"🔕 … and {len(acks) - _ACKS} more acknowledgements"


def _of(ack: Acknowledged, now: Standing) -> str:
    """How much of what fires it hides, where that is not all."""
    hides = sum(1 for member in now.hidden if member.behind == ack.silence_id)
    return f", {hides} of {alerts(now.firing)}" if now.firing and hides != now.firing else ""


def healings(conversation: Conversation, look: Look) -> Iterator[str]:
    """What is done about it: what needs a person first, then what goes on, then the newest that has ended."""
    known = in_order(conversation.healing.values())
    begun = conversation.fired_at - _SAME_TIME
    shown = [one for one in known if _urgency(one) < 2 or one.at >= begun]
    shown.sort(key=lambda one: (_urgency(one), -ordered(one.at), one.remediation_id))
    for one in shown[:_HEALINGS]:
        yield _healing(one, look)
    if len(shown) > _HEALINGS:
        yield f"… and {len(shown) - _HEALINGS} more remediations"


def _urgency(one: Healing) -> int:
    if needs_approval(one) or one.state == "unknown":
        return 0
    return 1 if one.state in ("held", "reserved", "running", "verifying") else 2


def _healing(one: Healing, look: Look) -> str:
    sign, words, way = _STATES.get(one.state, ("•", literal(one.state, 30).capitalize() or "Healing", ""))
    if one.state == "held" and needs_approval(one):
        sign, words, way = "✋", "Needs approval", "approve or reject"
    text = f"{sign} *{words}*"
    command, rule = code(one.cmd, 200), code(one.rule, 60)
    text += f": {command}" if command else ""
    text += f" (rule {rule})" if rule else ""
    why = reason(one.detail, 200) if one.state not in ("reserved", "running", "healed", "done") else ""
    text += f" · {why}" if why and not needs_approval(one) else ""
    found = link(look.remediation(one.remediation_id), way or "details", 300)
    return f"{text} · {when(one.at)}" + (f" · {found}" if found else "")


_STATES: Mapping[str, tuple[str, str, str]] = {
    "held": ("⏸️", "Held back", ""),
    "reserved": ("⏳", "Healing is due", ""),
    "running": ("🔧", "Healing", ""),
    "verifying": ("🔍", "Checking whether it helped", ""),
    "healed": ("💚", "Healed", ""),
    "done": ("✔️", "Done, and nothing checks whether it helped", ""),
    "failed": ("❌", "The action did not help", ""),
    "exhausted": ("❌", "No action helped", ""),
    "unknown": ("❓", "Not known whether the action ran; a person must settle it", "settle it"),
    "cancelled": ("🚫", "Cancelled", ""),
    "rejected": ("🚫", "Rejected", ""),
    "expired": ("⌛", "Nobody approved in time", ""),
}
"""State of a remediation: sign, words, what the console is needed for."""


# ---- the alerts -----------------------------------------------------------------------------------------------------


def alert_list(conversation: Conversation, now: Standing, most: int) -> str:
    """What still fires, worst first, each in one line with what tells it from the others; when nothing does, what did.
    Empty for nothing, or where there is no room."""
    firing = [*now.loud, *now.hidden]
    head = "*Still firing*" if now.resolved else "*Firing*"
    if not firing:
        firing, head = worst_first(conversation.members.values()), "*Fired*"
    if not firing or most < _LEAST:
        return ""
    shared = _shared(firing)
    same = " ".join(filter(None, (_label(name, value) for name, value in _telling(shared, conversation)[:_LABELS])))
    if len(firing) == 1:
        return _alone(firing[0], same, most)
    lines = [f"• {_one(member, conversation, now, shared)}" for member in firing[: SHOWN if now.firing else _WERE]]
    head += ", worst first:"
    tail = f"\nAll of them: {same}" if same and units(same) < most // 2 else ""
    return f"{head}\n{kit.listed(lines, most - units(head) - units(tail) - 1, len(firing))}{tail}"


def _alone(member: Member, labels: str, most: int) -> str:
    parts = [literal(member.summary, 300), labels]
    if member.description != member.summary:
        parts.append(literal(member.description, _DESCRIPTION))
    return kit.fitting(parts, most, "\n")


def _one(member: Member, conversation: Conversation, now: Standing, shared: Mapping[str, str]) -> str:
    own = {name: value for name, value in member.labels.items() if name not in shared}
    parts = ["🔕 acknowledged"] if member.behind and now.loud else []
    if "severity" in own or ("severity" not in shared and now.severity):
        parts.append(f"*{literal(member.severity, 20) or 'no severity'}*")
    if "alertname" in own:
        parts.append(f"*{literal(own['alertname'], 60)}*")
    found = (_label(name, value) for name, value in _telling(own, conversation)[:3])
    parts += [label for label in found if label]
    text = " ".join(part for part in (*parts, literal(member.summary, _SUMMARY)) if part) or code(
        member.fingerprint, 30
    )
    late = abs(member.starts_at - conversation.fired_at) > _SAME_TIME
    return f"{text} · {when(member.starts_at)}" if late else text


def _shared(members: Sequence[Member]) -> dict[str, str]:
    """The labels that all of them have alike."""
    first, *others = members
    found = dict(first.labels)
    for other in others:
        for name in [name for name in found if other.labels.get(name) != found[name]]:
            del found[name]
    return found


def _telling(labels: Mapping[str, str], conversation: Conversation) -> list[tuple[str, str]]:
    """The labels worth showing, what names a place first: what the title has said already is left out."""
    said = {"alertname", "severity", *conversation.group_labels}
    return sorted(
        ((name, value) for name, value in labels.items() if name not in said and value),
        key=lambda pair: (_PLACES.get(pair[0], len(_PLACES)), pair[0]),
    )


_NAMES = "instance host node pod container deployment statefulset device mountpoint service job namespace cluster"
_PLACES = {name: place for place, name in enumerate(_NAMES.split())}


def _label(name: str, value: str) -> str:
    return code(f"{cut(name, 40)}={cut(value, 70)}", 120)


# ---- ways on --------------------------------------------------------------------------------------------------------


def links(conversation: Conversation, now: Standing, look: Look) -> str:
    members = [*now.loud, *now.hidden] or sorted(conversation.members.values(), key=lambda one: one.fingerprint)
    runbooks = list(dict.fromkeys(member.runbook_url for member in members if member.runbook_url))
    found = [(url, "📖 Runbook" if place == 0 else f"Runbook {place + 1}") for place, url in enumerate(runbooks[:3])]
    found += [(member.url, "Prometheus") for member in members if member.url][:1]
    found.append((_history(conversation, members, look), "Console"))
    found.append((look.alerts(conversation), "Alertmanager"))
    found.append((conversation.earlier, "Earlier thread"))
    return kit.fitting((link(url, label, _LONGEST_LINK) for url, label in found), _LINKS, " · ")


def _history(conversation: Conversation, members: Sequence[Member], look: Look) -> str:
    name = conversation.group_labels.get("alertname") or (members[0].name if members else "")
    return look.console(view="events", alertname=name) if name else look.console(view="events")


def ack_links(conversation: Conversation, look: Look) -> str:
    """Where nothing comes back from Slack: links to the page that shows what would be hidden, and asks."""
    found = (link(look.link(conversation, GROUP, duration), duration) for duration in DURATIONS)
    shown = kit.fitting(found, kit.SECTION - 100, " | ")
    return f"Acknowledge: {shown}" if shown else ""


# ---- buttons --------------------------------------------------------------------------------------------------------


def _buttons(conversation: Conversation, now: Standing, look: Look, room: int) -> list[Block]:
    """Acknowledge what is loud; extend and undo what is acknowledged: one acknowledgement, or all of them."""
    made: list[Block | None] = []
    if now.loud:
        for duration in DURATIONS:
            value = look.token(conversation, GROUP, duration)
            made.append(kit.button(f"Ack {duration}", f"ack:{duration}", value, "primary" if duration == "2h" else ""))
    if conversation.acks:
        several = len(conversation.acks) > 1
        scope, what = (GROUP, " all") if several else (next(iter(conversation.acks)), "")
        if now.firing:
            value = look.token(conversation, scope, EXTENSION)
            made.append(kit.button(f"Extend{what} {EXTENSION}", f"extend:{EXTENSION}", value))
        value = look.token(conversation, scope, UNDO)
        made.append(kit.button(f"Undo{what or ' ack'}", UNDO, value))
    return _within([one for one in made if one is not None], room)


def _add_choice(
    top: Sequence[Block], bottom: list[Block], conversation: Conversation, now: Standing, look: Look
) -> None:
    """One alert of several: the worst of them, as many as there is room for."""
    room = kit.MOST - kit.weight([*top, *bottom]) - 2 * _OVERHEAD
    shared = _shared(now.loud)
    found = (
        kit.option(_named(member, conversation, shared), look.token(conversation, member.fingerprint, EXTENSION))
        for member in now.loud[: kit.OPTIONS]
    )
    options = _within((one for one in found if one is not None), room)
    if not options:
        return
    which = "one alert" if len(options) == len(now.loud) else f"one of the {len(options)} worst"
    choice = kit.select(f"Ack {which} for {EXTENSION}", "ack_one", options)
    last = bottom[-1] if bottom else {}
    if last.get("type") == "actions":
        last["elements"].append(choice)
    else:
        bottom.append(kit.actions([choice]))


def _named(member: Member, conversation: Conversation, shared: Mapping[str, str]) -> str:
    """An alert in a few words: what tells it from the others, and its summary."""
    own = {name: value for name, value in member.labels.items() if name not in shared}
    words = [own.get("alertname", ""), *(value for _, value in _telling(own, conversation)[:2]), member.summary]
    told = plain_text(" ".join(cut(word, 100) for word in words if word), kit.OPTION)
    return told or plain_text(member.name, kit.OPTION) or member.fingerprint[: kit.OPTION]


def _within(parts: Iterable[Block], most: int) -> list[Block]:
    kept: list[Block] = []
    for part in parts:
        if (needs := kit.weight(part)) <= most:
            kept.append(part)
            most -= needs
    return kept
