"""`audit verify`: is the trail whole? Finds and names what was edited, removed, moved, inserted or cut."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson
from sqlalchemy import Connection, and_, bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from autoheal.core.events import GENESIS, follows
from autoheal.engine.ports import Head, Row, StoreUnavailable
from autoheal.store import connection as connections
from autoheal.store import lines as files
from autoheal.store.chain import Chain, Problem
from autoheal.store.schema import ANCHOR, clock_steps, events, facts
from autoheal.store.schema import head as head_table

Anchor = tuple[int, str]
"""An event's id and hash, known from elsewhere: (0, GENESIS) is what the first event follows."""

_HASH = re.compile("[0-9a-f]{64}")
_BATCH = 2000
_VOTERS = 20
_COLUMNS = ("id", "ts", "kind", "alertname", "rule", "remediation_id")


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found. `problems` is bounded (1,000), `total` is not. `note` says what `ok` proves.

    Not `done`: it was not checked, and `note` says why.
    """

    ok: bool
    checked: int
    first_id: int | None
    last_id: int | None
    last_hash: str
    problems: list[Problem]
    total: int
    note: str
    done: bool = True


def verify_file(
    paths: Sequence[Path], anchor: Anchor | None = None, end: Head | None = None, witness: Anchor | None = None
) -> Report:
    """The files of a copy, oldest first, as one sequence.

    `anchor`: the event before the first line, where retention took it; `end`: where the ledger stands, so that a
    cut tail is found; `witness`: an event's id and hash noted outside (the process log).
    """
    chain = Chain(anchor or _before_files(paths))
    watch = _Witness(chain, witness)
    for path in paths:
        _read(chain, path, watch.see)
    chain.end()
    where = str(paths[-1]) if paths else "the copy"
    if end is not None and chain.last != end.id:
        shown = f"the copy ends at event {chain.last}, the database at event {end.id}"
        chain.report(where, end.id, "cut" if chain.last < end.id else "head", shown)
    elif end is not None and chain.last_hash != end.hash:
        chain.report(where, end.id, "head", f"the hash of event {end.id} is not the one at the database's head")
    watch.end(where)
    return _result(chain, end is not None, witness)


def verify_database(url: str, anchor: Anchor | None = None, witness: Anchor | None = None) -> Report:
    """The database by itself: its lines' chain, the columns beside them, its head, its clock steps.

    Raises StoreUnavailable where it cannot be read.
    """
    with Reading(url) as connection, _unpruned(connection):
        return _verify_database(connection, anchor, witness)


def verify_pair(
    paths: Sequence[Path], url: str, anchor: Anchor | None = None, witness: Anchor | None = None
) -> tuple[Report, Report]:
    """Database and copy, each by itself and against the other: (the database's report, the copy's)."""
    with Reading(url) as connection, _unpruned(connection):
        end = head_of(connection)
        database = _verify_database(connection, anchor, witness)
        chain = Chain(anchor or _before_files(paths))
        compare = _Comparison(connection, chain)
        for path in paths:
            _read(chain, path, compare.see)
        compare.settle()
        chain.end()
        if chain.last < end.id:
            where = str(paths[-1]) if paths else "the copy"
            shown = f"the copy ends at event {chain.last}, the database at event {end.id}"
            chain.report(where, chain.last + 1, "cut", shown)
        return database, _result(chain, True, witness)


# ---- the database -----------------------------------------------------------------------------------------------


class Reading:
    """A connection for reading, closed at the end; database errors leave as StoreUnavailable."""

    def __init__(self, url: str) -> None:
        self._engine = connections.reader(url, 1, statement_seconds=60)

    def __enter__(self) -> Connection:
        try:
            self._connection = self._engine.connect()
        except Exception as error:
            self._engine.dispose()
            raise StoreUnavailable(f"the ledger cannot be read: {self._said(error)}") from error
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._connection.close()
        self._engine.dispose()
        if isinstance(error, SQLAlchemyError):
            raise StoreUnavailable(f"the ledger cannot be read: {self._said(error)}") from error

    def _said(self, error: BaseException) -> str:
        return connections.reason(error, self._engine.url)


def head_of(connection: Connection) -> Head:
    row = connection.execute(select(head_table.c.id, head_table.c.hash, head_table.c.ts)).first()
    return Head(0, GENESIS, 0.0) if row is None else Head(*row)


@contextmanager
def _unpruned(connection: Connection) -> Iterator[None]:
    """What retention takes while we read would look as if somebody had cut it out."""
    before = _noted(connection)
    yield
    if _noted(connection) != before:
        raise StoreUnavailable("old events were pruned while the ledger was read: verify it again")


def _verify_database(connection: Connection, anchor: Anchor | None, witness: Anchor | None) -> Report:
    end = head_of(connection)
    before_first, damage = _beginning(connection)
    chain = Chain(anchor or before_first)
    if damage:
        chain.report(ANCHORED, None, "anchor", damage)
    watch = _Witness(chain, witness)
    steps: set[int] = set()
    before: float | None = None
    last: Row | None = None
    for row in _rows(connection, end.id):
        place = f"row {row.id} of events"
        event = chain.feed(place, _bytes(row.line))
        if event is not None:
            wrong = [name for name in _COLUMNS if getattr(event, name) != getattr(row, name)]
            if wrong:
                chain.report(place, row.id, "columns", f"{', '.join(wrong)}: not as in the line of event {row.id}")
            watch.see(place, event)
        if before is not None and row.ts < before:
            steps.add(row.id)
        before, last = row.ts, row
    chain.end()
    _check_head(chain, end, last)
    _check_steps(connection, chain, steps, end.id)
    watch.end("events")
    return _result(chain, False, witness, begins=0 if anchor else before_first[0] + 1)


def _rows(connection: Connection, last: int) -> Iterator[Row]:
    """Every row up to `last`, in short reads, so that a running writer's log can be cut meanwhile."""
    columns = [events.c[name] for name in Row._fields]
    batch = select(*columns).where(events.c.id > bindparam("after"), events.c.id <= last)
    batch = batch.order_by(events.c.id).limit(_BATCH)
    after = -1
    while True:
        found = connection.execute(batch, {"after": after}).all()
        for row in found:
            yield Row(*row)
        if len(found) < _BATCH:
            return
        after = found[-1][0]


def _bytes(line: object) -> bytes:
    """A line as found: SQLite keeps whatever somebody writes into a text column."""
    return line if isinstance(line, bytes) else str(line).encode("utf-8", "surrogatepass")


def _check_head(chain: Chain, end: Head, last: Row | None) -> None:
    if last is None:
        if end.id:
            chain.report("head", end.id, "cut", f"the head is event {end.id}, but there are no events")
        return
    if chain.last < end.id:
        shown = f"the events end at {chain.last}, the head at {end.id}: the tail was cut"
        chain.report("head", chain.last + 1, "cut", shown)
    elif files.hash_of(last.line) != end.hash:
        chain.report("head", end.id, "head", f"its hash is not that of event {end.id}")


def _check_steps(connection: Connection, chain: Chain, expected: set[int], last: int) -> None:
    rows = connection.execute(select(clock_steps.c.id).where(clock_steps.c.id <= last)).all()
    stored = {row[0] for row in rows} - ({chain.first} if chain.first else set())
    for event_id in sorted(expected ^ stored)[:10]:
        what = "is not noted" if event_id in expected else "is noted, but was none"
        chain.report("clock_steps", event_id, "clock steps", f"that the clock went back at event {event_id} {what}")


# ---- the copy ---------------------------------------------------------------------------------------------------


def _read(chain: Chain, path: Path, see: Callable[[str, Row], None]) -> None:
    try:
        with files.opened(path) as file:
            for number, raw in enumerate(file, 1):
                place = f"{path}:{number}"
                if not raw.endswith(b"\n"):
                    chain.report(place, None, "cut", "the last line is half-written, or its end was cut")
                    continue
                row = chain.feed(place, raw[:-1])
                if row is not None:
                    see(place, row)
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        chain.report(str(path), None, "cut", f"it cannot be read to its end: {error}")


class _Comparison:
    """The copy's lines beside the database's, in batches. What retention took from the database is not missed there;
    the last of it must have the hash that the database kept."""

    def __init__(self, connection: Connection, chain: Chain) -> None:
        self._connection = connection
        self._chain = chain
        self._anchor, _ = _beginning(connection)
        self._held: list[tuple[str, Row]] = []

    def see(self, place: str, row: Row) -> None:
        self._held.append((place, row))
        if len(self._held) >= _BATCH:
            self.settle()

    def settle(self) -> None:
        held, self._held = self._held, []
        for place, row in held:
            if self._anchor == (row.id, None) or row.id != self._anchor[0]:
                continue
            if files.hash_of(row.line) != self._anchor[1]:
                detail = f"event {row.id} has not the hash that the database kept of it"
                self._chain.report(place, row.id, "differs", detail)
        held = [(place, row) for place, row in held if row.id > self._anchor[0]]
        ids = [row.id for _, row in held]
        stored: dict[int, str] = {}
        for start in range(0, len(ids), 500):
            found = self._connection.execute(
                select(events.c.id, events.c.line).where(events.c.id.in_(ids[start : start + 500]))
            )
            stored.update((row[0], row[1]) for row in found)
        for place, row in held:
            line = stored.get(row.id)
            if line is None:
                self._chain.report(place, row.id, "differs", f"event {row.id} is not in the database")
            elif line != row.line:
                self._chain.report(place, row.id, "differs", f"event {row.id} is not the same in the database")


class _Witness:
    """Looks for the one event whose hash is known from outside."""

    def __init__(self, chain: Chain, witness: Anchor | None) -> None:
        self._chain = chain
        self._witness = witness
        self._seen = False

    def see(self, place: str, row: Row) -> None:
        if self._witness is None or row.id != self._witness[0]:
            return
        self._seen = True
        if files.hash_of(row.line) != self._witness[1]:
            self._chain.report(place, row.id, "witness", f"event {row.id} has not the hash that the witness noted")

    def end(self, place: str) -> None:
        if self._witness is not None and not self._seen:
            shown = f"event {self._witness[0]}, which the witness noted, is not there"
            self._chain.report(place, self._witness[0], "witness", shown)


# ---- the result -------------------------------------------------------------------------------------------------


def _before_files(paths: Sequence[Path]) -> tuple[int, str | None]:
    """What the first line of the files must follow, as far as they say themselves.

    A line that is sealed as the first one settles it; otherwise most of the first lines agree on where the count
    begins, even where some were moved, edited or put in.
    """
    votes: Counter[int] = Counter()
    for index, raw in enumerate(islice(_raw_lines(paths), _VOTERS)):
        line = raw.rstrip(b"\n")
        row = files.row_of(line)
        if row is not None:
            votes[row.id - index] += 1
            if row.id == 1 and follows(line, GENESIS):
                return 0, GENESIS
    begins = max(votes, key=lambda start: (votes[start], -start), default=1)
    return (0, GENESIS) if begins <= 1 else (begins - 1, None)


def _raw_lines(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        try:
            with files.opened(path) as file:
                yield from file
        except (OSError, EOFError):
            return  # it is reported where the file is read as a whole


ANCHORED = f"fact {'/'.join(ANCHOR)}"
"""Where a ledger that begins late has noted what its first event follows."""


def before_rows(connection: Connection) -> tuple[int, str | None]:
    """A ledger begins at event 1, unless its state says that retention, or a restored copy, began later.

    StoreUnavailable where what it says cannot be read: then nobody knows what is missing.
    """
    noted = _noted(connection)
    if noted is None:
        return 0, GENESIS
    found = _anchor_of(noted)
    if found is None:
        raise StoreUnavailable(f"the {ANCHORED} is damaged: `autoheal audit verify` tells more")
    return found


def _noted(connection: Connection) -> object:
    where = and_(facts.c.space == ANCHOR[0], facts.c.key == ANCHOR[1])
    return connection.execute(select(facts.c.data).where(where)).scalar()


def _anchor_of(noted: object) -> tuple[int, str | None] | None:
    """An id and a hash (or none) as the store writes them; None for everything else."""
    try:
        event_id, digest = orjson.loads(noted if isinstance(noted, bytes | str) else "")
    except (ValueError, TypeError):
        return None
    known = digest is None or (isinstance(digest, str) and _HASH.fullmatch(digest) is not None)
    fits = isinstance(event_id, int) and not isinstance(event_id, bool) and event_id > 0
    return (event_id, digest) if known and fits else None


def _beginning(connection: Connection) -> tuple[tuple[int, str | None], str]:
    """What the first row must follow, and what is wrong with the note of it; then it is taken as it states itself."""
    noted = _noted(connection)
    found = (0, GENESIS) if noted is None else _anchor_of(noted)
    if found is not None:
        return found, ""
    first = connection.execute(select(events.c.id).order_by(events.c.id).limit(1)).scalar()
    begin: tuple[int, str | None] = (0, GENESIS) if first is None or first <= 1 else (first - 1, None)
    return begin, "what the first event follows is noted there as no event's id and hash, so nothing vouches for it"


def _result(chain: Chain, compared: bool, witness: Anchor | None, begins: int = 0) -> Report:
    """`begins`: the first event of a database that says itself where it begins."""
    said = []
    if begins > 1:
        said.append(
            f"it begins at event {begins}: nothing in the database vouches for what came before, which retention took, "
            "or somebody who can write here; compare with an export, or with a witness from the process log"
        )
    elif chain.unanchored:
        said.append(f"it starts at event {chain.first}: what came before was not checked")
    if witness is not None and chain.total == 0:
        said.append(f"up to event {witness[0]} it is what the witness saw")
    if compared:
        said.append("copy and database agree; who can write both could have cut both, which only a witness shows")
    elif witness is None:
        said.append(
            "no line in it was changed, removed or moved; a tail that was cut off, or a trail written anew as a "
            "whole, shows only beside the other half or a hash noted elsewhere (the process log has one every hour)"
        )
    return Report(
        ok=chain.total == 0,
        checked=chain.checked,
        first_id=chain.first,
        last_id=chain.last if chain.first is not None else None,
        last_hash=chain.last_hash,
        problems=chain.problems,
        total=chain.total,
        note="; ".join(said),
    )
