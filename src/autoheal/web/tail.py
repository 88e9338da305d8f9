"""The live tail of the ledger: each event is serialised once, each reader remembers only how far it got."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import orjson

from autoheal.core.events import Event

KEPT = 10_000
"""Events kept ready for readers; one that falls further behind reads from the store."""
PAGE = 500


@dataclass(frozen=True, slots=True)
class Item:
    """One event for readers: what filters look at, and its line."""

    id: int
    kind: str
    alertname: str
    line: str


Older = Callable[[int, int], Sequence[tuple[int, str]]]
"""Reads at most so many (id, line) after an id from the store; runs in a thread."""


class Tail:
    """Fed by the head after each commit; followed by any number of readers in one loop."""

    def __init__(self, older: Older) -> None:
        self._older = older
        self._recent: deque[Item] = deque(maxlen=KEPT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._grown = asyncio.Event()
        self._closed = False
        self.last_id = 0
        self.readers = 0

    def start(self, last_id: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.last_id = last_id

    def close(self) -> None:
        """End every reader, so that a stop does not wait for them."""
        self._closed = True
        self._grown.set()

    def listen(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        items = [
            Item(event["id"], event["kind"], event.get("alertname", ""), line)
            for event, line in zip(events, lines, strict=True)
        ]
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._grow, items)

    def _grow(self, items: list[Item]) -> None:
        if items[0].id != self.last_id + 1:
            self._recent.clear()  # what lies between is in the store
        self._recent.extend(items)
        self.last_id = items[-1].id
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def follow(self, after: int, pause: float) -> AsyncIterator[list[Item]]:
        """Batches of what comes after id `after`, without a gap or a double; an empty batch each `pause` seconds
        in which nothing came. Ends when the tail is closed."""
        self.readers += 1
        try:
            while not self._closed:
                grown = self._grown
                batch = await self._next(after)
                if batch:
                    after = batch[-1].id
                    yield batch
                    continue
                try:
                    await asyncio.wait_for(grown.wait(), pause)
                except TimeoutError:
                    yield []
        finally:
            self.readers -= 1

    async def _next(self, after: int) -> list[Item]:
        if after >= self.last_id:
            return []
        if self._recent and self._recent[0].id <= after + 1:
            start = after + 1 - self._recent[0].id
            return [self._recent[i] for i in range(start, min(start + PAGE, len(self._recent)))]
        rows = await asyncio.to_thread(self._older, after, PAGE)
        return [_item(number, line) for number, line in rows if number <= self.last_id or not self._recent]


def _item(number: int, line: str) -> Item:
    event = orjson.loads(line)
    return Item(number, event["kind"], event.get("alertname", ""), line)
