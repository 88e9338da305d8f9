"""Conversations as Slack messages: what a person reads at three in the morning. Pure.

`parent` draws the first message of a thread, `reply` what is told below it, `pointer` what another channel is told,
`plain` all of it in one text for an incoming webhook, `simpler` less of a message that Slack has refused. The same
conversation gives the same bytes. Text of alerts is shortened, never dropped, and can neither ping, link nor format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoheal.threader import blocks as kit
from autoheal.threader import lines as tell
from autoheal.threader import parent as first
from autoheal.threader.blocks import Payload, simpler
from autoheal.threader.conversation import Conversation, Line, Storm
from autoheal.threader.look import GROUP, Look
from autoheal.threader.mrkdwn import called, link, literal, units, when
from autoheal.threader.title import name, standing, title

__all__ = ["GROUP", "Look", "Payload", "Words", "parent", "plain", "pointer", "reply", "simpler"]

LINES = 25
"""Things told in one reply at most; more are counted."""
_REPLY = 7500
"""Units of text in one reply."""
_PLAIN = 3900
_PLAIN_NEWS, _PLAIN_STATE, _PLAIN_WAYS = 1200, 1000, 1200
_TITLE = 100
_SENTENCES = 3


def parent(conversation: Conversation, look: Look) -> Payload:
    """The first message of the thread, as the truth is now."""
    return _storm(conversation, conversation.storm) if conversation.storm else first.drawn(conversation, look)


def reply(lines: Sequence[Line], conversation: Conversation, look: Look) -> Payload:
    """What happened, in order, in one message. Who is called is called at its end."""
    told = _told(lines, look, _REPLY)
    if any(line.broadcast for line in lines):  # it stands in the channel, too
        told.insert(0, f"*{literal(name(conversation, _TITLE), _TITLE)}*")
    mentions = _mentions(lines)
    if mentions:
        told.append(mentions)
    text = " ".join(part for part in (_summary(lines, conversation, look), mentions) if part)
    return {"text": text, "blocks": kit.packed(told)}


def pointer(line: Line, conversation: Conversation, look: Look, thread: str = "") -> Payload:
    """What another channel is told that this concerns it now. `thread`: the permalink of the conversation."""
    now = standing(conversation)
    channel = literal(conversation.channel, 80) if conversation.channel.startswith("#") else "the other channel"
    way = link(thread, f"Go to the thread in {channel}") or f"The thread is in {channel}"
    mentions = called(line.mentions)
    parts = [tell.drawn(line, look, 2000), first.facts(conversation, now).split("\n")[0], way, mentions]
    blocks = [kit.header(title(conversation)), *kit.packed(part for part in parts if part)]
    text = " ".join(part for part in (_summary([line], conversation, look), mentions) if part)
    return {"text": text, "blocks": blocks}


def plain(conversation: Conversation, look: Look, lines: Sequence[Line] = ()) -> Payload:
    """For an incoming webhook, which has neither threads nor edits nor clicks: the news and the state as one text.

    Without `lines` it is the first that is told of the group, and those are called whom that concerns.
    """
    now = standing(conversation)
    head = f"*{literal(title(conversation), 400)}*"
    news = kit.whole_lines("\n".join(_told(lines, look, _PLAIN_NEWS)), _PLAIN_NEWS)
    known = [*first.acknowledgements(conversation, now, look), *first.healings(conversation, look)]
    state = kit.whole_lines("\n".join([first.facts(conversation, now), *known]), _PLAIN_STATE)
    ways = [first.ack_links(conversation, look) if now.loud else "", first.links(conversation, now, look)]
    mentions = _mentions(lines) if lines else called(conversation.mentions)
    below = kit.fitting([mentions, *ways], _PLAIN_WAYS, "\n")
    room = _PLAIN - sum((units(part) + 1 for part in (head, news, state, below)), 0)
    listed = first.alert_list(conversation, now, room)
    return {"text": "\n".join(part for part in (head, news, state, listed, below) if part)}


@dataclass(frozen=True, slots=True)
class Words:
    """All of them in one look: what draws for the poster (`threader.job.Drawing`)."""

    look: Look

    def parent(self, c: Conversation) -> Payload:
        return parent(c, self.look)

    def reply(self, lines: Sequence[Line], c: Conversation) -> Payload:
        return reply(lines, c, self.look)

    def pointer(self, line: Line, c: Conversation, link: str) -> Payload:
        return pointer(line, c, self.look, link)

    def plain(self, c: Conversation, lines: Sequence[Line]) -> Payload:
        return plain(c, self.look, lines)

    def simpler(self, payload: Payload, level: int) -> Payload:
        return simpler(payload, level)


def _storm(conversation: Conversation, storm: Storm) -> Payload:
    """What a channel is told of there being more than it can take at once."""
    since, channel = when(storm.since), literal(conversation.channel, 80)
    if storm.over is not None:
        title = f"🌤️ The storm in {channel} is over"
        said = f"From {since} to {when(storm.over)}, {storm.most} messages waited at once. Everything has been told."
    else:
        title = f"⛈️ Storm: {storm.waiting} messages wait for {channel}"
        said = (
            f"Since {since} more happens than Slack takes messages for. Every group gets its thread, the worst first; "
            "what is told is as it is when it is posted."
        )
    return {"text": f"{title}. {said}", "blocks": [kit.header(title), *kit.packed([said])]}


def _told(lines: Sequence[Line], look: Look, most: int) -> list[str]:
    """Each line drawn, the room shared among them; what is too many is counted."""
    shown = list(lines[:LINES])
    if not shown:
        return []
    room = min(kit.SECTION, most // len(shown))
    told = [tell.drawn(line, look, room) for line in shown]
    return [*told, f"… and {len(lines) - LINES} more changes"] if len(lines) > LINES else told


def _mentions(lines: Sequence[Line]) -> str:
    return called(mention for line in lines for mention in line.mentions)


def _summary(lines: Sequence[Line], conversation: Conversation, look: Look) -> str:
    """What a notification shows: the name of the group, and what happened to it."""
    told = [tell.said(line, look) for line in lines[:_SENTENCES]]
    sign = f"{told[0].sign} " if told else ""
    text = f"{sign}{literal(name(conversation, _TITLE), _TITLE)}: {'; '.join(one.sentence for one in told)}"
    return f"{text} (+{len(lines) - _SENTENCES} more)" if len(lines) > _SENTENCES else text
