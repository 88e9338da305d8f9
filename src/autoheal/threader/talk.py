"""A conversation as it is stored: what is known, what is unsaid, where it stands in Slack, and what is still wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from autoheal.core.threads import ThreadPolicy, severity_rank
from autoheal.store.threads import Book, Stored
from autoheal.threader.conversation import Conversation, Line, bounded, due, from_data, line_from

LINGER = 3600.0
"""Seconds for which what has resolved is still found by its alerts: healing and acknowledgements end later."""
WEBHOOK = "webhook"
"""The bucket, and the place, of an incoming webhook: it has neither threads nor edits."""
EDITS = "edits"

Draw = Callable[[Conversation], dict[str, Any]]
"""Draws the parent as it should be now."""


@dataclass(slots=True)
class Place:
    """Where a conversation stands in Slack. `ts` is empty as long as there is no parent.

    `drawn`: the digest of what the parent shows; `changes` since then; `level`: how simple the parent has to be drawn;
    `last_nonce`, `last_ts`: the last message that was confirmed; `frozen`: the workspace forbids edits.
    """

    channel: str = ""
    """Its name, or id, as the policy has it."""
    id: str = ""
    ts: str = ""
    drawn: str = ""
    changes: int = 0
    level: int = 0
    frozen: bool = False
    last_nonce: str = ""
    last_ts: str = ""
    lost: int = 0
    """How often the parent was gone and posted again."""
    told: int = 0
    """Transitions that were told here."""
    remove: list[list[str]] = field(default_factory=list)
    """Messages of ours that are one too many, each as channel and ts: they are still to be taken back."""
    others: list[dict[str, Any]] = field(default_factory=list)
    """Messages of ours outside the thread that are to be corrected later (`threader.job.Other`)."""


@dataclass(slots=True)
class Talk:
    """One row, read. Change it under the row's lock and `save` it."""

    stored: Stored
    c: Conversation
    unsaid: list[Line] = field(default_factory=list)
    place: Place = field(default_factory=Place)

    @property
    def key(self) -> str:
        return self.stored.key

    def say(self, lines: Sequence[Line]) -> None:
        self.unsaid = bounded(self.unsaid, lines)


def load(stored: Stored) -> Talk | None:
    """What is stored; None for a row that was only just made."""
    if not stored.data:
        return None
    place = orjson.loads(stored.place) if stored.place else {}
    lines = [line_from(item) for item in orjson.loads(stored.unsaid)] if stored.unsaid else []
    known = {name: value for name, value in place.items() if name in Place.__dataclass_fields__}
    return Talk(stored, from_data(orjson.loads(stored.data)), lines, Place(**known))


def conversation_key(source: str, receiver: str, group: str) -> str:
    """The row's key: a group key alone is not unique over receivers and clusters."""
    return hashlib.sha256(orjson.dumps([source, receiver, group])).hexdigest()[:32]


def digest(payload: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)).hexdigest()[:24]


def save(book: Book, talk: Talk, policy: ThreadPolicy, stale_after: float, plain: bool, but: str | None = None) -> bool:
    """Write the row, and note what Slack has to be told; whether anything had changed. `plain`: by webhook only;
    `but`: the kind of work that the caller has in hand and notes itself."""
    c, stored, now = talk.c, talk.stored, book.now
    data, unsaid = orjson.dumps(c).decode(), orjson.dumps(talk.unsaid).decode()
    changed = data != stored.data
    if changed:
        talk.place.changes += 1
    place = orjson.dumps(talk.place).decode()
    next_look, stays = _next_look(c, now, policy, stale_after)
    if (changed, unsaid, place, next_look, stays) == (False, stored.unsaid, stored.place, stored.due, stored.open):
        return False
    names = {name: member.name for name, member in c.members.items()} if stays else {}
    stored.data, stored.unsaid, stored.place, stored.lines = data, unsaid, place, len(talk.unsaid)
    stored.due, stored.open = next_look, stays
    book.save(stored, names if changed or not stays else None)
    for kind, bucket, rank in wants(talk, plain):
        if kind != but:
            book.want(talk.key, kind, bucket, rank, now)
    return changed


def _next_look(c: Conversation, now: float, policy: ThreadPolicy, stale_after: float) -> tuple[float | None, bool]:
    """When time alone will change something, and whether the row is still found by its alerts."""
    times = [due(c, policy, stale_after)]
    lingers = c.resolved_at is not None and now < c.resolved_at + LINGER
    if not c.open and c.resolved_at is not None and lingers:
        times.append(c.resolved_at + LINGER)
    found = [time for time in times if time is not None]
    return min(found, default=None), c.open or lingers or c.flapping or bool(c.acks)


def wants(talk: Talk, plain: bool) -> list[tuple[str, str, int]]:
    """What there is to do, as kind, bucket, and rank (smaller goes first): news before edits, bad before harmless."""
    c, place, found = talk.c, talk.place, []
    worst = 3 - severity_rank(c.worst)
    if c.number and (not place.ts or talk.unsaid):
        loud = not place.ts or any(line.broadcast for line in talk.unsaid)
        bucket = WEBHOOK if plain else f"post:{place.channel or c.channel}"
        found.append(("post", bucket, -1 if c.storm else worst if loud else worst + 4))
    if place.ts and place.changes and not plain and not place.frozen:
        found.append(("edit", EDITS, worst + 4 if c.storm else worst))
    return found
