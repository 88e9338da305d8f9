"""A storm: more groups begin than a channel takes messages for. One message says so at once, and when it is over."""

from __future__ import annotations

from collections.abc import Callable

from autoheal.core.threads import ThreadPolicy
from autoheal.store.threads import Book
from autoheal.threader import talk as talks
from autoheal.threader.conversation import Conversation, Storm
from autoheal.threader.talk import Talk, conversation_key

MANY = 20
"""Messages that wait for a channel beyond which it is a storm."""
STEP = 0.25
"""By how much of itself the number that waits must change to be told anew."""
SOURCE = "autoheal:storm"
POST = "post:"


class StormWatch:
    """Begins, goes on with and ends the storms of all channels; any number of processes may watch."""

    def __init__(self, policy: Callable[[], ThreadPolicy]) -> None:
        self._policy = policy
        self._known: set[str] | None = None
        """Channels that may have a storm; None before the first look, which finds what another process began."""

    def look(self, book: Book) -> bool:
        """Whether anything has changed that is to be told."""
        policy = self._policy()
        found = book.waiting("post").items()
        waiting = {bucket.removeprefix(POST): count for bucket, count in found if bucket.startswith(POST)}
        if self._known is None:
            self._known = set(policy.everywhere)
        begun = {channel for channel, count in waiting.items() if count > MANY}
        changed = False
        for key, channel in sorted((conversation_key(SOURCE, "", name), name) for name in begun | self._known):
            count = waiting.get(channel, 0)
            talk = _read(book, key, channel, count > MANY)
            if talk is None or talk.c.storm is None:
                self._known.discard(channel)
                continue
            self._known.add(channel)
            own = bool(talk.c.storm.most) and not talk.place.ts  # its message waits, too
            _count(talk.c.storm, count - own, book.now)
            if talk.c.storm.over is not None:
                self._known.discard(channel)
            changed |= talks.save(book, talk, policy, float("inf"), plain=False)
        return changed


def _count(storm: Storm, waiting: int, now: float) -> None:
    """`waiting` beside the message of the storm itself."""
    storm.most = max(storm.most, waiting)
    if waiting <= 0:
        storm.over, storm.waiting = now, 0
    elif abs(waiting - storm.waiting) > STEP * storm.waiting:
        storm.waiting = waiting


def _read(book: Book, key: str, channel: str, begins: bool) -> Talk | None:
    """The storm that goes on in a channel, or, where one begins, a new one."""
    stored = book.create(key) if begins else book.lock([key]).get(key)
    if stored is None:
        return None
    talk = talks.load(stored)
    storm = talk.c.storm if talk is not None else None
    if storm is not None and begins and talk is not None and talk.place.changes:
        storm.over = None  # its end was not told yet: it goes on
    if storm is not None and storm.over is None:
        return talk
    if not begins:
        return None
    c = Conversation(key, SOURCE, "", channel, {}, channel, book.now, worst="critical", number=1)
    c.storm = Storm(book.now)
    return Talk(stored, c)
