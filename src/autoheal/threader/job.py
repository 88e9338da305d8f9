"""One piece of work for Slack: what is sent, written down before it is sent, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict

import orjson

from autoheal.threader.conversation import Conversation, Line

Payload = dict[str, Any]
"""`text` and, but for the simplest, `blocks`."""
What = Literal["parent", "reply", "pointer", "edit", "plain", "remove", "other"]


@dataclass(slots=True)
class Job:
    """`nonce` names it in the message's metadata, so that a message whose answer was lost is found again. `remove`
    takes back the message `thread_ts` of ours, `other` edits one that is outside of the thread.

    `covers`: the transitions that it tells, as ranges; `upto`: the last line that it tells; `changes`: how many the
    parent had not shown when it was drawn; `sent_at`: when it was first sent (0: not yet); `looks`: how often it was
    looked for since its answer was lost, and `doubtful`: whether it has to be looked for; `resting`: it was put back
    and is not on its way; `bucket`: whose rate it counts to.
    """

    nonce: str
    what: What
    channel: str
    payload: Payload
    bucket: str
    thread_ts: str = ""
    broadcast: bool = False
    covers: list[list[int]] = field(default_factory=list)
    upto: int = 0
    drawn: str = ""
    changes: int = 0
    sent_at: float = 0.0
    doubtful: bool = False
    looks: int = 0
    resting: bool = False

    def dump(self) -> str:
        return orjson.dumps(self).decode()

    @classmethod
    def load(cls, text: str | None) -> Job | None:
        """The job as written, also by another version: what is not known here is passed over. None for none."""
        if not text:
            return None
        data = orjson.loads(text)
        try:
            return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name in data})
        except TypeError:
            return None


class Other(TypedDict):
    """A message outside of the thread: the pointer in another channel (`line`: what it tells), or the first message of
    where the conversation was before it moved from `channel` (no line). `shown`: what it says now."""

    channel: str
    id: str
    ts: str
    line: dict[str, Any] | None
    shown: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job. `doubles`: messages of ours, as channel and ts, that are one too many. `outage`: Slack could
    not be reached, or had nothing sensible to say.

    posted: `ts` in `channel`. edited. removed. absent: looked for, and not there. blind: it cannot be looked for.
    doubt: perhaps done. orphan: a reply whose parent is gone came to stand in the channel. gone: the parent, or its
    thread, is not there any more. closed: the channel cannot be written to. large: too much for one message, or not to
    Slack's taste. fixed: the message cannot be edited. later: not done, try in `seconds`. limited: not done, nothing
    may be sent through this bucket for `seconds`. down: Slack does not know us any more.
    """

    kind: Literal[
        "posted", "edited", "removed", "absent", "blind", "doubt", "orphan", "gone", "closed", "large", "fixed",
        "later", "limited", "down",
    ]  # fmt: skip
    ts: str = ""
    channel: str = ""
    seconds: float = 0.0
    code: str = ""
    doubles: tuple[tuple[str, str], ...] = ()
    outage: bool = False


class Drawing(Protocol):
    """How what is known becomes a message; `threader.words` fulfils it."""

    def parent(self, c: Conversation) -> Payload: ...

    def reply(self, lines: Sequence[Line], c: Conversation) -> Payload: ...

    def pointer(self, line: Line, c: Conversation, link: str) -> Payload:
        """What another channel is told: that it concerns them now, and where the conversation is."""

    def plain(self, c: Conversation, lines: Sequence[Line]) -> Payload:
        """For an incoming webhook: the state and the news in one message."""

    def simpler(self, payload: Payload, level: int) -> Payload:
        """The same with less, at level 1, 2 and 3; level 0 as it is."""
