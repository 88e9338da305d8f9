"""The live tail of the ledger: what came last is kept once for all readers, who remember only how far they got."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson
import structlog

from autoheal.core.events import Event

log = structlog.get_logger("tail")

KEPT = 10_000
"""Events kept ready for readers; one that falls further behind reads from the store."""
PAGE = 500
"""Events read from the store at once, and told in one piece."""
PIECE = 64 * 1024
"""Bytes after which a piece ends: what a reader that takes nothing can make us hold, the socket's own buffers aside."""
BEAT = 15.0
"""Seconds within which a reader hears something, if only a comment line."""
WATCH = 1.0
"""Seconds between two looks at who takes nothing."""
STALLED = 20.0
"""Seconds that a piece may wait to be taken."""
COHORT = 32
"""Readers woken together."""
BREATH = 0.0005
"""Seconds between two cohorts, in which the head's thread gets hold of the interpreter: a delivery that comes while a
thousand readers are told would otherwise wait for most of them (`bench stream` shows it as POST p99)."""
REST = 0.0001
"""Seconds a reader between two rounds of telling: a thousand readers are told ten times a second."""


@dataclass(frozen=True, slots=True)
class Item:
    """One event for readers: what filters look at, and its line."""

    id: int
    kind: str
    alertname: str
    rule: str
    line: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A reader's filters; None lets everything through."""

    kinds: frozenset[str] | None = None
    alertnames: frozenset[str] | None = None
    rules: frozenset[str] | None = None

    def passes(self, item: Item) -> bool:
        return (
            (self.kinds is None or item.kind in self.kinds)
            and (self.alertnames is None or item.alertname in self.alertnames)
            and (self.rules is None or item.rule in self.rules)
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """What is told next: bytes on the wire (none where the filters let nothing through), and the last id in it."""

    data: bytes
    last: int


@dataclass(slots=True, eq=False)
class Seat:
    """One reader: everything after id `after`. `cut` ends its connection without waiting for it."""

    after: int
    wanted: Wanted
    cut: Callable[[], None]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    sending: float | None = None
    gone: bool = False


Older = Callable[[int, int], Sequence[tuple[int, str]]]
"""Reads at most so many (id, line) after an id from the store; runs in a thread."""
NewestStored = Callable[[], int]
"""The newest id in the store; runs in a thread."""


class Tail:
    """Fed by the head after each commit; followed by any number of readers in one loop."""

    def __init__(self, older: Older, newest: NewestStored, dropped: Callable[[], None] = lambda: None) -> None:
        """`dropped` is called for each slow reader that is cut off."""
        self._older, self._newest, self._dropped = older, newest, dropped
        self._recent: deque[Item] = deque(maxlen=KEPT)
        self._pieces: dict[tuple[int, Wanted], Piece] = {}
        self._seats: set[Seat] = set()
        self._filling = asyncio.Lock()
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.closed = False
        self.last_id = 0

    @property
    def readers(self) -> int:
        return len(self._seats)

    def start(self, last_id: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.last_id = last_id
        self._tasks = [
            asyncio.create_task(self._rounds(), name="tail"),
            asyncio.create_task(self._watch(), name="tail-watch"),
        ]

    def close(self) -> None:
        """End every reader, so that a stop does not wait for them."""
        self.closed = True
        for task in self._tasks:
            task.cancel()
        for seat in self._seats:
            seat.wake.set()

    # ---- fed by the head ---------------------------------------------------------------------------------------

    def listen(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        if self._loop is None or self._loop.is_closed():
            return
        if not self._seats:
            self.last_id = events[-1]["id"]  # the first who comes is told from the store
            if self._seats:
                self._loop.call_soon_threadsafe(self._news.set)  # he came just now, and may not have seen it
            return
        items = [
            Item(event["id"], event["kind"], event.get("alertname", ""), event.get("rule") or "", line)
            for event, line in zip(events, lines, strict=True)
        ]
        self._loop.call_soon_threadsafe(self._grow, items)

    def _grow(self, items: list[Item]) -> None:
        if self._recent and items[0].id != self._recent[-1].id + 1:
            self._recent.clear()  # what lies between is in the store
        self._recent.extend(items)
        self.last_id = max(self.last_id, items[-1].id)
        self._pieces.clear()
        self._news.set()

    async def _rounds(self) -> None:
        """Wake the readers, cohort after cohort; the more there are, the more they are told at once."""
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            rest = loop.time() + len(self._seats) * REST
            for cohort in _cohorts(tuple(self._seats)):
                for seat in cohort:
                    seat.wake.set()
                await asyncio.sleep(BREATH)
            await asyncio.sleep(max(0.0, rest - loop.time()))

    async def _watch(self) -> None:
        """Cut off who takes nothing: for too long, or while what is kept for readers runs away from him. And wake
        everybody now and then, to say that we are still here."""
        loop = asyncio.get_running_loop()
        beat = loop.time() + BEAT / 3
        while True:
            await asyncio.sleep(min(WATCH, BEAT / 3))
            if loop.time() >= beat:
                beat = loop.time() + BEAT / 3
                self._news.set()
            for seat in tuple(self._seats):
                if seat.gone or seat.sending is None or loop.time() - seat.sending < WATCH:
                    continue
                if loop.time() - seat.sending >= STALLED or self.last_id - seat.after > KEPT:
                    seat.gone = True
                    self._dropped()
                    log.info("reader_cut_off", after=seat.after, behind=self.last_id - seat.after)
                    seat.cut()

    # ---- followed by readers -----------------------------------------------------------------------------------

    def sit(self, after: int | None, wanted: Wanted, cut: Callable[[], None]) -> Seat:
        """A new reader, from id `after` (exclusive) or from now on. It must `leave`."""
        seat = Seat(self.last_id if after is None else after, wanted, cut)
        self._seats.add(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        self._seats.discard(seat)

    async def ahead(self, after: int) -> int | None:
        """The newest id there is, where `after` lies beyond it; replicas may know more than we have heard of yet."""
        if after <= self.last_id:
            return None
        newest = max(await asyncio.to_thread(self._newest), self.last_id)
        return newest if after > newest else None

    async def next(self, seat: Seat) -> Piece | None:
        """What comes after the reader's id, without a gap or a double, or None while there is nothing."""
        if seat.after >= self.last_id:
            return None
        if self._kept_after(seat.after):
            return self._piece(seat.after, seat.wanted)
        if self.last_id - seat.after <= KEPT:
            await self._fill()
            if self._kept_after(seat.after):
                return self._piece(seat.after, seat.wanted)
        rows = await asyncio.to_thread(self._older, seat.after, PAGE)
        if not rows:
            return None
        gap = reset(rows[0][0], seat.after, "pruned") if rows[0][0] != seat.after + 1 else b""
        piece = _render((_item(number, line) for number, line in rows), seat.wanted)
        return Piece(gap + piece.data, piece.last)

    def _kept_after(self, after: int) -> bool:
        return bool(self._recent) and self._recent[0].id <= after + 1 <= self._recent[-1].id

    def _piece(self, after: int, wanted: Wanted) -> Piece:
        """Made once for all readers that stand at the same id with the same filters."""
        piece = self._pieces.get((after, wanted))
        if piece is None:
            start = after + 1 - self._recent[0].id
            stop = min(start + PAGE, len(self._recent))
            piece = _render((self._recent[i] for i in range(start, stop)), wanted)
            self._pieces[(after, wanted)] = piece
        return piece

    async def _fill(self) -> None:
        """Fetch what should be kept from the store, once for all who came while nobody was reading."""
        async with self._filling:
            floor = max(0, self.last_id - KEPT)
            if self._recent and self._recent[0].id <= floor + 1:
                return
            found: list[Item] = []
            below = self._recent[0].id if self._recent else self.last_id + 1
            while floor + 1 < below:
                rows = await asyncio.to_thread(self._older, floor, PAGE)
                found += [_item(number, line) for number, line in rows if number < below]
                if not rows or rows[-1][0] >= below - 1:
                    break
                floor = rows[-1][0]
            self._prepend(found)

    def _prepend(self, found: list[Item]) -> None:
        above = self._recent[0].id if self._recent else self.last_id + 1
        if found and found[-1].id == above - 1:
            room = KEPT - len(self._recent)
            self._recent.extendleft(reversed(found[max(0, len(found) - room) :]))
            self._pieces.clear()


def reset(first: int, asked: int, reason: str) -> bytes:
    """The frame that tells a reader that he cannot go on where he was: the next event is `first`."""
    said = orjson.dumps({"first": first, "asked": asked, "reason": reason})
    return b"id: %d\nevent: reset\ndata: %s\n\n" % (first - 1, said)


def _render(items: Iterable[Item], wanted: Wanted) -> Piece:
    """Frames up to about `PIECE` bytes; the last id counts what the filters left out, too."""
    frames: list[bytes] = []
    size = last = 0
    for item in items:
        last = item.id
        if wanted.passes(item):
            frames.append(f"id: {item.id}\nevent: {item.kind}\ndata: {item.line}\n\n".encode())
            size += len(frames[-1])
            if size >= PIECE:
                break
    return Piece(b"".join(frames), last)


def _item(number: int, line: str) -> Item:
    event = orjson.loads(line)
    return Item(number, event["kind"], event.get("alertname", ""), event.get("rule") or "", line)


def _cohorts(seats: tuple[Seat, ...]) -> Iterator[tuple[Seat, ...]]:
    for start in range(0, len(seats), COHORT):
        yield seats[start : start + COHORT]
