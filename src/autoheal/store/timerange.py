"""A range of time as ranges of ids: between two clock steps time never goes back, so halving finds the ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select

from autoheal.store.schema import clock_steps, events

_STEPS = 1000


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
    high = last
    high_ts = _ts(connection, last)
    for low, low_ts, before_ts in _stretches(connection, first):
        if low <= top and not (since is not None and high_ts < since) and not (until is not None and low_ts > until):
            bottom = low if since is None or low_ts >= since else _first_from(connection, low, high, since)
            end = high if until is None or high_ts <= until else _first_above(connection, low, high, until) - 1
            if bottom <= min(end, top):
                yield bottom, min(end, top)
        high, high_ts = low - 1, before_ts


def _stretches(connection: Connection, first: int) -> Iterator[tuple[int, float, float]]:
    """Where each stretch begins, newest first: (id, its ts, ts of the event before it)."""
    steps = clock_steps.c
    below = select(steps.id, steps.ts, steps.before).where(steps.id > first, steps.id < bindparam("below"))
    below = below.order_by(steps.id.desc()).limit(_STEPS)
    at = 2**62
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


_PARTS = 16


def _time_of(name: str) -> Select[Any]:
    """The time of an event, or, should a row have been taken out by hand, of the next one."""
    return select(events.c.ts).where(events.c.id >= bindparam(name)).order_by(events.c.id).limit(1)


_TIMES = select(*(_time_of(f"at{index}").scalar_subquery() for index in range(_PARTS - 1)))
_TS = _time_of("at")


def _ts(connection: Connection, event_id: int) -> float:
    found: float = connection.execute(_TS, {"at": event_id}).scalar_one()
    return found
