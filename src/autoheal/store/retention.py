"""Retention: old events go from the beginning, in small steps beside a running service; the chain's anchor is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from autoheal.core.remediation import OPEN, UNKNOWN
from autoheal.engine.ports import StoreUnavailable
from autoheal.store import connection as connections
from autoheal.store import lines as files
from autoheal.store import migrate, timerange
from autoheal.store.lock import DirectoryHeld, DirectoryLock
from autoheal.store.partitions import partitions
from autoheal.store.schema import ANCHOR, clock_steps, events, facts, head, remediations
from autoheal.store.verify import Reading, before_rows, head_of

BATCH = 500
"""Rows in one transaction: what the service then waits for is some 10 ms."""

_REST = 4
"""Between two transactions the service has the ledger for so many times as long as one took."""
_TRIES = 40
_TRY_SECONDS = 0.25

Pause = Callable[[float], object]
Progress = Callable[[int, int], None]
"""Called now and then with the events that are gone so far and those that are to go."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went: how many events, of them in `partitions` dropped as a whole, and remediations. `first` is the first
    event that is left."""

    events: int
    partitions: int
    remediations: int
    first: int


def prune(
    url: str,
    before_ts: float,
    batch: int = BATCH,
    below: int | None = None,
    progress: Progress = lambda done, of: None,
    pause: Pause | None = None,
) -> Pruned:
    """Delete the events from the first one on, up to where one is not older than `before_ts` (Unix seconds), and the
    remediations that ended before. The newest event always stays; what has not ended stays in the state.

    `below`: no event with this id or a higher one goes, such as what the copy does not have yet. Each step is a
    transaction of its own, so that what was done stays done when a later one fails: SchemaMismatch, StoreUnavailable
    where the ledger cannot be written or others read its oldest part for long. SQLite's file does not shrink: what is
    free in it is used again.
    """
    with Reading(url) as reading:
        migrate.check(reading)
        upto = _upto(reading, before_ts, below)
        begin, _ = before_rows(reading)
    with _writing(url) as engine:
        pruning = _Pruning(engine, batch, upto, progress, pause or threading.Event().wait)
        pruning.prune_events(begin)
        with Reading(url) as reading:
            pruning.prune_remediations(reading, before_ts)
    return Pruned(pruning.events, pruning.partitions, pruning.remediations, max(begin, upto) + 1)


def _upto(reading: Connection, before_ts: float, below: int | None) -> int:
    """The last event that goes, 0 where none does."""
    end = head_of(reading).id - 1
    for low, _ in timerange.id_ranges(reading, before_ts, None, None):
        end = low - 1
    return max(0, end if below is None else min(end, below - 1))


@contextmanager
def _writing(url: str) -> Iterator[Engine]:
    """An engine that writes beside the service, or, where none runs on an SQLite file, in its place."""
    path = connections.sqlite_path(url)
    lock = None
    try:
        lock = None if path is None else DirectoryLock(path.parent)
    except DirectoryHeld:
        pass
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be written: {error.strerror}") from error
    engine = connections.second_writer(url) if lock is None else connections.writer(url)
    try:
        yield engine
    except SQLAlchemyError as error:
        said = connections.reason(error, engine.url)
        raise StoreUnavailable(f"the ledger cannot be written: {said}") from error
    finally:
        engine.dispose()
        if lock is not None:
            lock.release()


@dataclass(slots=True)
class _Pruning:
    engine: Engine
    batch: int
    upto: int
    progress: Progress
    pause: Pause
    events: int = 0
    partitions: int = 0
    remediations: int = 0

    @contextmanager
    def _step(self) -> Iterator[Connection]:
        """One transaction with the head held, and a rest after it: SQLite does not let in who waits longest."""
        with self.engine.begin() as connection:
            connection.execute(select(head.c.id).where(head.c.one == 1).with_for_update())
            began = time.monotonic()
            yield connection
        self.pause((time.monotonic() - began) * _REST)

    # ---- events ----------------------------------------------------------------------------------------------

    def prune_events(self, begin: int) -> None:
        at = begin
        tries = 0
        while at < self.upto:
            try:
                with self._step() as connection:
                    cut = self._cut(connection, at)
                tries = 0
            except OperationalError as error:
                tries += 1
                if not _busy(error) or tries >= _TRIES:
                    raise
                self.pause(_TRY_SECONDS)
                continue
            self.events += cut - at
            at = cut
            self.progress(at - begin, self.upto - begin)

    def _cut(self, connection: Connection, at: int) -> int:
        """Take out the next events after `at`; the id of the last one that went."""
        whole = self._oldest_whole(connection) if connection.dialect.name == "postgresql" else None
        name, cut = whole or ("", min(at + self.batch, self.upto))
        anchor = self._hash(connection, cut)
        if name:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '300ms'")
            connection.exec_driver_sql(f"DROP TABLE {name}")
            self.partitions += 1
        else:
            connection.execute(delete(events).where(events.c.id > at, events.c.id <= cut))
        connection.execute(delete(clock_steps).where(clock_steps.c.id <= cut))
        _note(connection, cut, anchor)
        return cut

    def _oldest_whole(self, connection: Connection) -> tuple[str, int] | None:
        """The oldest partition, where all in it goes: its name and its last id."""
        with closing(connection.connection.cursor()) as cursor:
            oldest = partitions(cursor)[0]
        return (oldest.name, oldest.high - 1) if oldest.high - 1 <= self.upto else None

    def _hash(self, connection: Connection, cut: int) -> str | None:
        """The hash of the last event that goes."""
        newest = select(events.c.line).where(events.c.id <= cut).order_by(events.c.id.desc()).limit(1)
        line = connection.execute(newest).scalar()
        return None if line is None else files.hash_of(line) or None

    # ---- remediations ----------------------------------------------------------------------------------------

    def prune_remediations(self, reading: Connection, before_ts: float) -> None:
        """Walk from the oldest on, to where they began too late to have ended before."""
        table = remediations.c
        gone = (table.ended_at < before_ts) & table.state.not_in(sorted(OPEN | {UNKNOWN}))
        after = -1
        while True:
            page = select(table.number, table.created_at).where(table.number > after).order_by(table.number)
            rows = reading.execute(page.limit(self.batch)).all()
            if not rows or all(row.created_at >= before_ts for row in rows):
                return
            first, after = rows[0].number, rows[-1].number
            here = table.number.between(first, after)
            if reading.execute(select(func.count()).select_from(remediations).where(here, gone)).scalar():
                with self._step() as connection:
                    self.remediations += connection.execute(delete(remediations).where(here, gone)).rowcount


def _busy(error: OperationalError) -> bool:
    """Whether others had it locked for so long that we gave up."""
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", None)
    return state in ("55P03", "SQLITE_BUSY")


def _note(connection: Connection, event_id: int, digest: str | None) -> None:
    """Keep the anchor: what the first event that is left follows."""
    data = orjson.dumps([event_id, digest]).decode()
    there = (facts.c.space == ANCHOR[0]) & (facts.c.key == ANCHOR[1])
    if not connection.execute(update(facts).where(there).values(data=data)).rowcount:
        connection.execute(insert(facts).values(space=ANCHOR[0], key=ANCHOR[1], data=data))
