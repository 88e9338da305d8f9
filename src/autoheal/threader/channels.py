"""Channels by name: their ids, and which of them cannot be written to at the moment."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence

import structlog

from autoheal.clients.slack import SlackClient, SlackRefused
from autoheal.core.errors import AutohealError
from autoheal.engine.ports import Clock
from autoheal.store.threads import Book, Channel, Threads
from autoheal.threader.service import SlackState

log = structlog.get_logger("threader")

RECHECK = 600.0
"""Seconds until a channel that could not be written to is tried again for new conversations."""
LIST_AGAIN = 60.0
"""Seconds between two readings of Slack's list of channels."""
SOON = 2.0
"""The same after it could not be read."""
PAGES = 50
_ID = re.compile(r"[CGD][A-Z0-9]{7,20}")
OK = "ok"


class Channels:
    """What is known is kept in the store, so that a channel that was renamed is still found by its id."""

    def __init__(self, threads: Threads, client: SlackClient | None, state: SlackState, clock: Clock) -> None:
        self._threads, self._client, self._state, self._clock = threads, client, state, clock
        self._known: dict[str, Channel] = {}
        self._listed_ids: dict[str, str] = {}
        self._listed = float("-inf")
        self.unsure = False
        """The list could not be read just now: a name that is not known may be known soon."""
        self._lock = asyncio.Lock()

    def load(self) -> None:
        """Read what the store knows; blocks. StoreUnavailable."""
        self._known = {channel.name: channel for channel in self._threads.channels()}
        for channel in self._known.values():
            self._note(channel)

    async def target(self, name: str) -> str:
        """What to give Slack for this channel: its id where it is known or can be found, else the name."""
        if _ID.fullmatch(name) or self._client is None:
            return name
        known = self._known.get(name)
        if known is not None and known.id:
            return known.id
        async with self._lock:
            known = self._known.get(name)
            if (known is None or not known.id) and self._clock.monotonic() - self._listed >= LIST_AGAIN:
                await self._list()
        found = self._listed_ids.get(name.lstrip("#"))
        return found or name

    async def _list(self) -> None:
        assert self._client is not None
        self._listed = self._clock.monotonic()
        found: dict[str, str] = {}
        cursor: str | None = None
        private = True
        try:
            for _ in range(PAGES):
                try:
                    page = await self._client.channels(cursor=cursor, private=private, limit=999)
                except SlackRefused as error:
                    if error.code == "missing_scope" and private:
                        private, cursor = False, None
                        continue
                    raise
                found |= {str(item.get("name")): str(item.get("id")) for item in page.items if item.get("id")}
                cursor = page.cursor or None
                if cursor is None:
                    break
            self._state.notes.pop("channels:read", None)
            self.unsure = False
        except SlackRefused as error:
            self._state.notes["channels:read"] = (
                f"channels cannot be listed ({error.code}): they are known by name only"
            )
            self.unsure = False
        except AutohealError as error:
            self.unsure, self._listed = True, self._clock.monotonic() - LIST_AGAIN + SOON
            log.warning("channels_not_listed", error=str(error))
        self._listed_ids = {**self._listed_ids, **found}

    async def recheck(self, wanted: Collection[str]) -> list[str]:
        """Ask Slack for what did not work: the names of channels that can be written to again. Channels that are not
        `wanted` any more are of no account. StoreUnavailable."""
        notes = self._state.notes
        for known in self._known.values():
            if known.state != OK and known.name not in wanted:
                notes.pop(known.name, None)
        if self._client is None:
            return []
        bad = [known for known in list(self._known.values()) if known.state != OK and known.name in wanted]
        if "channels:read" in notes or any(not known.id for known in bad):
            async with self._lock:
                await self._list()
        found: dict[str, str] = {}
        for known in bad:
            channel_id = known.id or self._listed_ids.get(known.name.lstrip("#"), "")
            if channel_id and await self._mended(known, channel_id):
                found[known.name] = channel_id
        if found:
            await asyncio.to_thread(self._learn_all, found)
        if "history" in notes:
            await self._read_again()
        return list(found)

    def _learn_all(self, found: Mapping[str, str]) -> None:
        with self._threads.transaction() as book:
            for name, channel_id in sorted(found.items()):
                self.learn(book, name, channel_id, OK)

    async def _mended(self, known: Channel, channel_id: str) -> bool:
        """Whether what was wrong with it can be seen to be over; other things only a message shows."""
        assert self._client is not None
        if known.state not in WHY:
            return False
        try:
            found = await self._client.info(channel_id)
        except AutohealError:
            return False
        joins = not found.get("is_private") and known.state != "not_in_channel"
        return not found.get("is_archived") and bool(found.get("is_member") or joins)

    async def _read_again(self) -> None:
        """Whether history can be read, where a channel is there to be asked for."""
        assert self._client is not None
        for known in list(self._known.values()):
            if known.state == OK and known.id:
                try:
                    await self._client.history(known.id, limit=1)
                except AutohealError:
                    return
                self._state.notes.pop("history", None)
                return

    def usable(self, name: str, now: float) -> bool:
        """Whether it may be tried: nothing speaks against it, or not lately."""
        known = self._known.get(name)
        return known is None or known.state == OK or now - known.checked >= RECHECK

    def why_not(self, name: str) -> str:
        known = self._known.get(name)
        return known.state if known is not None and known.state != OK else ""

    def choose(self, names: Sequence[str], now: float) -> str | None:
        """The first that may be tried."""
        return next((name for name in names if name and self.usable(name, now)), None)

    def learn(self, book: Book, name: str, channel_id: str, state: str) -> None:
        """Note what Slack said of a channel, in the caller's transaction."""
        known = self._known.get(name)
        if known is not None and known.state == state == OK and known.id == channel_id:
            return
        if _ID.fullmatch(name):
            channel_id = name
        since = known.since if known is not None and known.state == state else book.now
        if state == "channel_not_found":
            channel_id = ""  # the next one of this name is another channel
        else:
            channel_id = channel_id or (known.id if known else "")
        found = Channel(name, channel_id, state, "", since, book.now)
        book.put_channel(found)
        self._known[name] = found
        self._note(found)

    def _note(self, channel: Channel) -> None:
        if channel.state == OK:
            self._state.notes.pop(channel.name, None)
        else:
            self._state.notes[channel.name] = WHY.get(channel.state, channel.state)


WHY = {
    "channel_is_archived": "the channel is archived: unarchive it, or name another one in the policy",
    "channel_not_found": "there is no such channel, or the bot is not in it: create it, or invite the bot",
    "is_archived": "the channel is archived: unarchive it, or name another one in the policy",
    "not_in_channel": "the bot is not in the channel: invite it",
}
