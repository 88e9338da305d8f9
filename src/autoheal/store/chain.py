"""Follow a sequence of sealed lines and name what breaks it: edited, missing, out of order, duplicated, no event."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from autoheal.core.events import GENESIS, unseal
from autoheal.engine.ports import Row
from autoheal.store.lines import row_of

Wrong = Literal[
    "edited",
    "missing",
    "out of order",
    "duplicated",
    "not an event",
    "cut",
    "columns",
    "head",
    "differs",
    "clock steps",
    "witness",
    "anchor",
    "extra",
    "not folded",
]

MAX_PROBLEMS = 1000
_REMEMBERED = 10_000


class Problem(NamedTuple):
    """One thing that is wrong. `place`: file:line, or the row; `event_id`: the event meant, None where unknown."""

    place: str
    event_id: int | None
    wrong: Wrong
    detail: str

    def __str__(self) -> str:
        return f"{self.place}: {self.wrong}: {self.detail}"


@dataclass(slots=True)
class Gap:
    """Ids that should have come before the line at `place`."""

    place: str
    low: int
    high: int


class _Line(NamedTuple):
    place: str
    id: int
    line: bytes


@dataclass(slots=True)
class Chain:
    """Feed it every line in the order found. `before`: the id and hash of the event before the first line; without
    its hash the first line is taken as it states itself."""

    before: tuple[int, str | None] = (0, GENESIS)
    checked: int = 0
    first: int | None = None
    last: int = 0
    total: int = 0
    problems: list[Problem] = field(default_factory=list)
    _gaps: list[Gap] = field(default_factory=list)
    _hashes: OrderedDict[int, str] = field(default_factory=OrderedDict)
    _waiting: OrderedDict[int, tuple[str, bytes, str]] = field(default_factory=OrderedDict)

    _unread: list[str] = field(default_factory=list)
    _held: _Line | None = None
    _doubted: tuple[int, str] = (-1, "")

    def __post_init__(self) -> None:
        self.last, digest = self.before
        if digest is not None:
            self._hashes[self.last] = digest

    @property
    def unanchored(self) -> bool:
        """Whether nothing is known of what the first line follows."""
        return self.before[1] is None and self.first is not None

    @property
    def last_hash(self) -> str:
        """The hash that the newest line states, empty where it states none."""
        return self._hashes.get(self.last, "")

    def report(self, place: str, event_id: int | None, wrong: Wrong, detail: str) -> None:
        self.total += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(place, event_id, wrong, detail))

    def feed(self, place: str, line: bytes) -> Row | None:
        """One line (without its end); its row, None where it is no event."""
        self.checked += 1
        row = row_of(line)
        held, self._held = self._held, None
        if held is not None:
            self._settle(held, row, line)
        if row is None:
            self._no_event(place, line)
            return None
        if self.first is None:
            self.first = self.before[0] + 1
        if row.id == self.last + 1:
            self._next(place, row.id, line)
        else:
            self._held = _Line(place, row.id, line)
        return row

    def _no_event(self, place: str, line: bytes) -> None:
        """It may stand in an event's place; then the hash at its end, where it has one, keeps the chain going."""
        expected = self.last + 1 + len(self._unread)
        self.report(place, expected, "not an event", f"this line is no event (event {expected} is expected here)")
        sealed = unseal(line)
        previous = self._hashes.get(expected - 1)
        if sealed is not None and previous is not None:
            self._doubted = (expected, _digest(previous, sealed[0]))
        self._unread.append("" if sealed is None else sealed[1])

    def _settle(self, held: _Line, row: Row | None, line: bytes) -> None:
        """What an unexpected id means shows in the line after it: if that goes on as if nothing had happened, the
        id itself was edited; otherwise lines are missing, moved or doubled."""
        expected = self.last + 1
        this, after = unseal(held.line), unseal(line)
        goes_on = row is not None and row.id == expected + 1
        if goes_on and this and after and _digest(this[1], after[0]) == after[1]:
            detail = f"event {expected} was edited: it calls itself event {held.id}"
            self.report(held.place, expected, "edited", detail)
            self.last = expected
            self._remember(expected, this[1])
            return
        if held.id <= self.last and not self._fills(held.place, held.id):
            self._again(held)
        elif held.id <= self.last:
            self._link(held.place, held.id, held.line)
        else:
            self._next(held.place, held.id, held.line)

    def _next(self, place: str, event_id: int, line: bytes) -> None:
        """A line that goes on, directly or over a gap."""
        low = self.last + 1
        unread, self._unread = self._unread, []
        if unread and event_id > low:
            taken = min(len(unread), event_id - low)
            if taken == event_id - low and unread[taken - 1]:
                self._remember(event_id - 1, unread[taken - 1])
            low += taken
        if event_id > low:
            self._gaps.append(Gap(place, low, event_id - 1))
        self.last = event_id
        self._link(place, event_id, line)

    def _link(self, place: str, event_id: int, line: bytes) -> None:
        """Check the line against the one before it, now or when that turns up; and the one that waited for it."""
        sealed = unseal(line)
        if sealed is None:
            self.report(place, event_id, "edited", f"event {event_id} has no hash at its end")
            return
        body, stated = sealed
        previous = self._hashes.get(event_id - 1)
        if previous is None:
            self._wait(event_id - 1, (place, body, stated))
        else:
            self._compare(place, event_id, previous, body, stated)
        self._remember(event_id, stated)
        waiting = self._waiting.pop(event_id, None)
        if waiting is not None:
            self._compare(waiting[0], event_id + 1, stated, waiting[1], waiting[2])

    def _compare(self, place: str, event_id: int, previous: str, body: bytes, stated: str) -> None:
        fits = _digest(previous, body)
        doubted, computed = self._doubted
        if fits == stated or (doubted == event_id - 1 and _digest(computed, body) == stated):
            return  # in the second case only the hash of the line before was edited, and that is reported
        self._doubted = (event_id, fits)
        self.report(
            place,
            event_id,
            "edited",
            f"event {event_id} does not fit its hash: it was edited, or event {event_id - 1} was and sealed anew",
        )

    def _fills(self, place: str, event_id: int) -> bool:
        """Whether the id was missed before; then it is out of order, and no longer missing."""
        if self.before[1] is None and event_id <= self.before[0] and event_id not in self._hashes:
            self.report(place, event_id, "out of order", f"event {event_id} belongs before the first line")
            return True
        for index, gap in enumerate(self._gaps):
            if gap.low <= event_id <= gap.high:
                rest = [Gap(gap.place, gap.low, event_id - 1), Gap(gap.place, event_id + 1, gap.high)]
                self._gaps[index : index + 1] = [part for part in rest if part.low <= part.high]
                self.report(place, event_id, "out of order", f"event {event_id} belongs before {gap.place}")
                return True
        return False

    def _again(self, held: _Line) -> None:
        sealed, known = unseal(held.line), self._hashes.get(held.id)
        same = known is None or (sealed is not None and sealed[1] == known)
        what = "stands here once more" if same else "stands here once more, and not as before"
        self.report(held.place, held.id, "duplicated", f"event {held.id} {what}")

    def _remember(self, event_id: int, digest: str) -> None:
        self._hashes[event_id] = digest
        if len(self._hashes) > _REMEMBERED:
            self._hashes.popitem(last=False)

    def _wait(self, event_id: int, what: tuple[str, bytes, str]) -> None:
        self._waiting[event_id] = what
        if len(self._waiting) > _REMEMBERED:
            self._waiting.popitem(last=False)

    def end(self) -> None:
        """No more lines: what is still missing is missing."""
        held, self._held = self._held, None
        if held is not None:
            self._settle(held, None, b"")
        for gap in self._gaps:
            ids = f"event {gap.low} is" if gap.low == gap.high else f"events {gap.low}–{gap.high} are"
            self.report(gap.place, gap.low, "missing", f"{ids} missing before this line")
        self._gaps.clear()


def _digest(previous: str, body: bytes) -> str:
    return hashlib.sha256(previous.encode() + body).hexdigest()
