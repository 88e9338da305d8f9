"""A range of time as ranges of ids: between two clock steps time never goes back, so halving finds the ends."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select

from autoheal.store.schema import clock_steps, events

_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events `low` to `high`, within which time never goes back, and the times of these two."""

    low: int
    high: int
    low_ts: float
    high_ts: float


def id_ranges(
    connection: Connection, since: float | None, until: float | None, before: int | None
) -> Iterator[tuple[int, int]]:
    """The ranges of ids (low, high, inclusive), newest first, that hold exactly the events with
    `since` ≤ ts ≤ `until` and id < `before`; None is no bound. Each is found when it is asked for."""
    first = connection.execute(select(func.min(events.c.id))).scalar()
    last = connection.execute(select(func.max(events.c.id))).scalar()
    if first is None or last is None:
        return
    top = last if before is None else min(last, before - 1)
    if since is None and until is None:
        if top >= first:
            yield first, top
        return
    yield from _joined(_in_time(connection, since, until, first, last, top))


def _in_time(
    connection: Connection, since: float | None, until: float | None, first: int, last: int, top: int
) -> Iterator[tuple[int, int]]:
    for part in stretches(connection, first, last, _ts(connection, last)):
        low, high = part.low, part.high
        if low > top or (since is not None and part.high_ts < since) or (until is not None and part.low_ts > until):
            continue
        bottom = low if since is None or part.low_ts >= since else _first_from(connection, low, high, since)
        end = high if until is None or part.high_ts <= until else _first_above(connection, low, high, until) - 1
        if bottom <= min(end, top):
            yield bottom, min(end, top)


def stretches(connection: Connection, first: int, last: int, last_ts: float) -> Iterator[Stretch]:
    """Events `first` to `last`, newest first, cut where the clock went back; read as they are asked for."""
    high, high_ts = last, last_ts
    for low, low_ts, before_ts in _beginnings(connection, first, last):
        yield Stretch(low, high, low_ts, high_ts)
        high, high_ts = low - 1, before_ts


def _beginnings(connection: Connection, first: int, last: int) -> Iterator[tuple[int, float, float]]:
    """Where each stretch begins, newest first: (id, its ts, ts of the event before it)."""
    steps = clock_steps.c
    below = select(steps.id, steps.ts, steps.before).where(steps.id > first, steps.id < bindparam("below"))
    below = below.order_by(steps.id.desc()).limit(_STEPS)
    at = last + 1
    while True:
        found = connection.execute(below, {"below": at}).all()
        for row in found:
            yield row.id, row.ts, row.before
        if len(found) < _STEPS:
            break
        at = found[-1].id
    yield first, _ts(connection, first), 0.0


def _joined(ranges: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Neighbours made one, so that a clock that often goes back costs no extra queries."""
    low = high = 0
    for bottom, top in ranges:
        if high and top == low - 1:
            low = bottom
            continue
        if high:
            yield low, high
        low, high = bottom, top
    if high:
        yield low, high


def _first_from(connection: Connection, low: int, high: int, since: float) -> int:
    """The first id in low..high whose ts ≥ since; high + 1 where there is none."""
    return _first(connection, low, high, lambda ts: ts >= since)


def _first_above(connection: Connection, low: int, high: int, until: float) -> int:
    """The first id in low..high whose ts > until; high + 1 where there is none."""
    return _first(connection, low, high, lambda ts: ts > until)


def _first(connection: Connection, low: int, high: int, late: Callable[[float], bool]) -> int:
    """The first id in low..high whose time is `late`, as all after it are; high + 1 where there is none.

    Each question cuts what is left into `_PARTS` and not in two: over a network it is the way there that costs.
    """
    while low <= high:
        cuts = sorted({low + (high - low) * part // _PARTS for part in range(1, _PARTS)})
        asked = {f"at{index}": cuts[min(index, len(cuts) - 1)] for index in range(_PARTS - 1)}
        times = connection.execute(_TIMES, asked).one()
        for cut, ts in zip(cuts, times, strict=False):
            if late(ts):
                high = cut - 1
                break
            low = cut + 1
    return low


def first_ids(connection: Connection, stretch: Stretch, times: Sequence[float]) -> list[int]:
    """For each of `times` the first id of the stretch whose ts is not before it; one above its end where there is
    none. All are sought at once: each question asks for `_PROBES` times, wherever the answers may lie."""
    found = [
        (stretch.low, stretch.low)
        if at <= stretch.low_ts
        else (stretch.high + 1, stretch.high + 1)
        if at > stretch.high_ts
        else (stretch.low, stretch.high)
        for at in times
    ]
    while places := {place for place in found if place[0] < place[1]}:
        ids, known = _times(connection, _probes(places))
        for index, at in enumerate(times):
            low, high = found[index]
            if low < high:
                cut = bisect_left(known, at)
                low = max(low, ids[cut - 1] + 1) if cut else low
                found[index] = (low, min(high, ids[cut]) if cut < len(ids) else high)
    return [low for low, _ in found]


def _probes(places: set[tuple[int, int]]) -> list[int]:
    """Ids that cut each place (low, high; one of both or what is between is the answer) into equal parts."""
    parts = max(2, _PROBES // len(places))
    return sorted({low + (high - low) * part // parts for low, high in places for part in range(1, parts)})


def _times(connection: Connection, ids: list[int]) -> tuple[list[int], list[float]]:
    """The ids and their times; for a row that was taken out by hand, that of the next one."""
    found = {row.id: row.ts for row in connection.execute(_TIMES_OF, {"ids": ids})}
    return ids, [found[one] if one in found else _ts(connection, one) for one in ids]


def next_window(window: int, took: float, left: float) -> int:
    """As many ids as should take an eighth of the time left, growing or shrinking at most fourfold."""
    factor = left / 8 / max(took, 1e-6)
    return max(500, int(window * min(4.0, max(0.25, factor))))


_PARTS = 16
_PROBES = 400


def _time_of(name: str) -> Select[Any]:
    """The time of an event, or, should a row have been taken out by hand, of the next one."""
    return select(events.c.ts).where(events.c.id >= bindparam(name)).order_by(events.c.id).limit(1)


_TIMES = select(*(_time_of(f"at{index}").scalar_subquery() for index in range(_PARTS - 1)))
_TS = _time_of("at")
_TIMES_OF = select(events.c.id, events.c.ts).where(events.c.id.in_(bindparam("ids", expanding=True)))


def _ts(connection: Connection, event_id: int) -> float:
    found: float = connection.execute(_TS, {"at": event_id}).scalar_one()
    return found
