"""How remediations ended over time: counts by outcome in buckets, remembered, for the past no longer changes."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal, literal_column, select, union_all

from autoheal.store import timerange
from autoheal.store.schema import clock_steps, events, head

OUTCOMES = ("healed", "self_resolved", "done", "failed", "unknown", "dry_run", "held", "skipped")
MAX_BUCKETS = 500
KEPT = 5000
"""Buckets remembered: some ten different views."""

_BY_KIND = {
    "verify_ok": "healed",
    "action_unknown": "unknown",
    "action_dry_run": "dry_run",
    "decision_hold": "held",
    "decision_skip": "skipped",
}
"""Kinds that say the outcome by themselves: the index on kinds is enough to count them."""
_BY_EFFECT = {"heal": "healed", "self": "self_resolved", "inef": "failed", "unkn": "unknown"}
_ENDING = ("action_ok", "action_fail", "verify_fail", "cancelled", "settled")
"""Kinds that end a remediation only where they carry an `effect`, which stands in the line."""
_EFFECT = '"effect":"'
"""No text of an alert can look like it: inside of a string, JSON escapes the quotes."""

_FIRST_WINDOW = 20_000
_STEPS = (
    1,
    2,
    5,
    10,
    15,
    20,
    30,
    60,
    120,
    180,
    240,
    300,
    600,
    900,
    1200,
    1800,
    3600,
    7200,
    10_800,
    14_400,
    21_600,
    43_200,
)
_DAY = 86_400

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Counts:
    """Bucket i covers since + i * step up to, without, the next one. `since` is a whole number of steps, and so is
    `until`. `partial`: time was up; buckets before `counted_from` may lack something. So may they where events were
    pruned: `counted_from` is then the time of the first event that is left."""

    since: int
    until: int
    step: int
    counts: dict[str, list[int]]
    partial: bool
    counted_from: float


@dataclass(slots=True)
class _Bucket:
    """What is counted so far of the events up to `upto`, whose time is `upto_ts`; `left` is still to be counted."""

    counts: list[int] = field(default_factory=lambda: [0] * len(OUTCOMES))
    left: list[Range] = field(default_factory=list)
    low: int = 0
    upto: int = 0
    upto_ts: float = 0.0


@dataclass(frozen=True, slots=True)
class _Ledger:
    """Where it stands now. Nothing above `last` is counted; `step` is the newest event before which the clock went
    back, 0 where it never did."""

    first: int
    first_ts: float
    last: int
    last_ts: float
    step: int


class Timeline:
    """Counts for one ledger; safe to share among threads, of which one counts at a time."""

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Connection]],
        substring: Callable[..., ColumnElement[int]],
        monotonic: Callable[[], float] = time.monotonic,
        kept: int = KEPT,
    ) -> None:
        """`substring(text, part)`: SQL for where `part` begins in `text`, 0 where it is not there."""
        self._connect = connect
        self._monotonic = monotonic
        self._kept = kept
        self._statement = _counting(substring)
        self._known: OrderedDict[tuple[int, int], _Bucket] = OrderedDict()
        self._lock = threading.Lock()
        self._window = _FIRST_WINDOW

    def count(self, since: float, until: float, buckets: int, deadline: float = 0.4) -> Counts:
        """Counts for `since` ≤ ts < `until` (Unix seconds) in about `buckets` buckets of a round length: one more
        where the ends do not fall on a whole number of steps. The newest are counted first; `deadline` is in seconds,
        and what it leaves out the next call goes on with."""
        step = step_for(until - since, buckets)
        indexes = range(int(since // step), -int(-until // step))
        with self._lock, self._connect() as connection:
            ends = self._monotonic() + deadline
            ledger = _stand(connection)
            wanted = [self._bucket(step, index, ledger) for index in indexes]
            whole = ledger is None or self._extend(connection, ledger, step, indexes, wanted, ends)
            missing = self._fill(connection, wanted, ends) if whole else len(wanted)
            self._forget()
            return _answer(step, indexes, wanted, missing, ledger)

    def _bucket(self, step: int, index: int, ledger: _Ledger | None) -> _Bucket:
        found = self._known.get((step, index))
        if found is None or (ledger is not None and found.low and found.low < ledger.first):
            found = self._known[(step, index)] = _Bucket()
        self._known.move_to_end((step, index))
        return found

    def _forget(self) -> None:
        while len(self._known) > self._kept:
            self._known.popitem(last=False)

    def _extend(
        self,
        connection: Connection,
        ledger: _Ledger,
        step: int,
        indexes: range,
        wanted: Sequence[_Bucket],
        ends: float,
    ) -> bool:
        """Give each bucket what came since it was looked at last; False where time was up before that was found."""
        stale = [
            (index, bucket)
            for index, bucket in zip(indexes, wanted, strict=True)
            if bucket.upto < ledger.last and not (bucket.upto_ts >= (index + 1) * step and ledger.step <= bucket.upto)
        ]
        if not stale:
            return True
        floor = max(ledger.first - 1, min(bucket.upto for _, bucket in stale))
        came: dict[int, list[Range]] = {index: [] for index, _ in stale}
        for stretch in timerange.stretches(connection, ledger.first, ledger.last, ledger.last_ts):
            if self._monotonic() >= ends:
                return False
            new = replace(stretch, low=max(stretch.low, floor + 1))
            for index, low, high in _shared_out(connection, new, step, stale):
                came[index].append((low, high))
            if stretch.low <= floor + 1:
                break
        for index, bucket in stale:
            bucket.left = _joined(came[index], bucket.left)
            if came[index]:
                bucket.low = min(bucket.low or ledger.last, came[index][-1][0])
            bucket.upto, bucket.upto_ts = ledger.last, ledger.last_ts
        return True

    def _fill(self, connection: Connection, wanted: Sequence[_Bucket], ends: float) -> int:
        """Count what is left, newest first; how many buckets, from the oldest on, may lack something."""
        for missing in range(len(wanted), 0, -1):
            bucket = wanted[missing - 1]
            while bucket.left:
                began = self._monotonic()
                if began >= ends:
                    return missing
                low, high = bucket.left[0]
                bottom = max(low, high - self._window + 1)
                _add(bucket, connection.execute(self._statement, {"low": bottom, "high": high}).all())
                bucket.left[:1] = [(low, bottom - 1)] if bottom > low else []
                if high - bottom + 1 == self._window:
                    self._window = timerange.next_window(self._window, self._monotonic() - began, ends - began)
        return 0


def step_for(span: float, buckets: int) -> int:
    """Seconds of one bucket: the smallest round length with which no more than `buckets` cover `span`."""
    least = span / buckets
    return next((step for step in _STEPS if step >= least), int(-(-least // _DAY)) * _DAY)


def _stand(connection: Connection) -> _Ledger | None:
    """None while there are no events."""
    last, last_ts = connection.execute(select(head.c.id, head.c.ts)).one()
    first = connection.execute(select(events.c.id, events.c.ts).order_by(events.c.id).limit(1)).first()
    if first is None or first.id > last:
        return None
    step = connection.execute(select(func.max(clock_steps.c.id)).where(clock_steps.c.id <= last)).scalar()
    return _Ledger(first.id, first.ts, last, last_ts, step or 0)


def _shared_out(
    connection: Connection, stretch: timerange.Stretch, step: int, stale: Sequence[tuple[int, _Bucket]]
) -> Iterator[tuple[int, int, int]]:
    """(index, low, high) for each bucket that has events in this stretch which it does not know yet."""
    among = [
        (index, bucket)
        for index, bucket in stale
        if bucket.upto < stretch.high and index * step <= stretch.high_ts and (index + 1) * step > stretch.low_ts
    ]
    edges = sorted({edge for index, _ in among for edge in (index * step, (index + 1) * step)})
    at = dict(zip(edges, timerange.first_ids(connection, stretch, edges), strict=True))
    for index, bucket in among:
        low = max(at[index * step], bucket.upto + 1)
        high = at[(index + 1) * step] - 1
        if low <= high:
            yield index, low, high


def _joined(newer: Sequence[Range], older: Sequence[Range]) -> list[Range]:
    """Ranges, newest first, with neighbours made one."""
    found: list[Range] = []
    for low, high in (*newer, *older):
        if found and high == found[-1][0] - 1:
            found[-1] = (low, found[-1][1])
        else:
            found.append((low, high))
    return found


def _counting(substring: Callable[..., ColumnElement[int]]) -> Any:
    """(kind, the beginning of its effect, how many) between two ids: by the index on kinds, and of the lines only
    those that may end a remediation."""
    inside = events.c.id.between(bindparam("low"), bindparam("high"))
    at = substring(events.c.line, _EFFECT)
    effect = func.substr(events.c.line, at + len(_EFFECT), 4)
    plain = select(events.c.kind, literal("").label("effect"), func.count().label("n"))
    plain = plain.where(events.c.kind.in_(_written(_BY_KIND)), inside).group_by(events.c.kind)
    ending = select(events.c.kind, effect.label("effect"), func.count().label("n"))
    ending = ending.where(events.c.kind.in_(_written(_ENDING)), inside, at > 0).group_by(events.c.kind, "effect")
    return union_all(plain, ending)


def _written(kinds: Iterable[str]) -> list[ColumnElement[str]]:
    """Our own words, as part of the statement's text: values would be filled in anew for each bucket."""
    return [literal_column(f"'{kind}'") for kind in kinds]


def _add(bucket: _Bucket, rows: Sequence[Any]) -> None:
    for kind, effect, count in rows:
        outcome = _BY_KIND.get(kind) or ("done" if kind == "action_ok" else _BY_EFFECT.get(effect))
        if outcome is not None:
            bucket.counts[OUTCOMES.index(outcome)] += count


def _answer(step: int, indexes: range, wanted: Sequence[_Bucket], missing: int, ledger: _Ledger | None) -> Counts:
    since = indexes.start * step
    counted_from = float((indexes.start + missing) * step)
    if ledger is not None and ledger.first > 1:
        counted_from = max(counted_from, ledger.first_ts)
    counts = {name: [bucket.counts[at] for bucket in wanted] for at, name in enumerate(OUTCOMES)}
    return Counts(since, indexes.stop * step, step, counts, missing > 0, counted_from)
