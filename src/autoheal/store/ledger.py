"""The ledger on SQL, either dialect: begin as the only writer, append, save, read what was missed."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import chain
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Engine,
    Table,
    bindparam,
    delete,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import ClauseElement

from autoheal.core.remediation import OPEN, UNKNOWN
from autoheal.engine.ports import Fact, Head, RemediationRow, Row, Snapshot, StoreUnavailable
from autoheal.store import partitions, schema
from autoheal.store.connection import reason

_ONE: ColumnElement[int] = literal_column("1")
_BATCH = 1000


class Many:
    """An insert that takes many rows in few steps: SQLite lets go of the interpreter lock for each step, and under
    load the way back to it costs more than the step. The texts are few, so that they stay prepared."""

    SIZES = (256, 64, 16, 4)

    def __init__(self, text: str) -> None:
        found = re.fullmatch(r"(.*VALUES )(\([^()]*\))(.*)", text, re.DOTALL)
        if found is None:
            raise ValueError(f"no insert of one row: {text}")
        before, row, after = found.groups()
        self._one = text
        self._texts = {size: before + ", ".join([row] * size) + after for size in self.SIZES}

    def run(self, cursor: Any, rows: Sequence[Sequence[Any]]) -> None:
        at = 0
        for size in self.SIZES:
            while len(rows) - at >= size:
                cursor.execute(self._texts[size], list(chain.from_iterable(rows[at : at + size])))
                at += size
        if at < len(rows):
            cursor.executemany(self._one, rows[at:])


class Arrays:
    """An insert that takes many rows in one step as an array for each column: PostgreSQL parses one short text, and
    binary arrays cost it least (200 rows: half the time of any other way)."""

    FEW = 8

    def __init__(self, text: str, types: Sequence[str]) -> None:
        found = re.fullmatch(r"(.*?)VALUES \([^()]*\)(.*)", text, re.DOTALL)
        if found is None:
            raise ValueError(f"no insert of one row: {text}")
        columns = ", ".join(f"%b::{name}[]" for name in types)
        self._one = text
        self._many = f"{found[1]}SELECT * FROM unnest({columns}){found[2]}"  # noqa: S608 - names of ours

    def run(self, cursor: Any, rows: Sequence[Sequence[Any]]) -> None:
        if len(rows) < self.FEW:
            cursor.executemany(self._one, rows)
        else:
            cursor.execute(self._many, list(map(list, zip(*rows, strict=True))))


class Statements:
    """The hot statements as plain SQL of one dialect: SQLAlchemy's own execution would double a commit's time."""

    def __init__(self, dialect: Dialect) -> None:
        def sql(statement: ClauseElement, *names: str) -> str:
            compiled: Any = statement.compile(dialect=dialect)
            if tuple(compiled.positiontup or ()) != names:
                raise ValueError(f"{compiled}: parameters are {compiled.positiontup}, not {names}")
            return str(compiled)

        head, events, facts = schema.head, schema.events, schema.facts
        remediations, steps = schema.remediations, schema.clock_steps
        self.partitioned = dialect.name == "postgresql"
        upsert = postgresql.insert if self.partitioned else sqlite.insert

        def rows_of(table: Table, text: str) -> Arrays | Many:
            types = [column.type.compile(dialect) for column in table.columns]
            return Arrays(text, types) if self.partitioned else Many(text)

        self.begin = None if self.partitioned else "BEGIN IMMEDIATE"
        where = select(head.c.id, head.c.hash, head.c.ts).where(head.c.one == _ONE)
        self.head, self.look = sql(where.with_for_update()), sql(where)
        moved = update(head).where(head.c.one == _ONE)
        self.move_head = sql(
            moved.values(id=bindparam("id"), hash=bindparam("hash"), ts=bindparam("ts")), "id", "hash", "ts"
        )
        self.missed = sql(
            select(events.c.line)
            .where(events.c.id > bindparam("after"), events.c.id <= bindparam("last"))
            .order_by(events.c.id),
            "after",
            "last",
        )
        self.events = rows_of(events, sql(insert(events), *events.c.keys()))
        self.step = sql(insert(steps), *steps.c.keys())
        fact = upsert(facts)
        self.keep = rows_of(
            facts,
            sql(
                fact.on_conflict_do_update(
                    index_elements=["space", "key"], set_={"data": fact.excluded.data, "due": fact.excluded.due}
                ),
                *facts.c.keys(),
            ),
        )
        self.forget = sql(
            delete(facts).where(facts.c.space == bindparam("space"), facts.c.key == bindparam("key")), "space", "key"
        )
        entry = upsert(remediations)
        self.remediations = rows_of(
            remediations,
            sql(
                entry.on_conflict_do_update(
                    index_elements=["number"], set_={name: entry.excluded[name] for name in remediations.c.keys()[1:]}
                ),
                *remediations.c.keys(),
            ),
        )
        self.fact = sql(
            select(facts.c.data).where(facts.c.space == bindparam("space"), facts.c.key == bindparam("key")),
            "space",
            "key",
        )
        self.facts = sql(select(facts.c.space, facts.c.key, facts.c.data, facts.c.due))
        states: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in sorted(OPEN | {UNKNOWN})]
        self.unfinished = sql(
            select(*(remediations.c[name] for name in RemediationRow._fields))
            .where(remediations.c.state.in_(states))
            .order_by(remediations.c.number)
        )


Together = Callable[[], AbstractContextManager[object]]
"""Within it statements go to the database in one round trip, where the driver can do that."""


class Writes:
    """Statements that are kept back, to go out in one round trip before the next that reads, or the commit.

    PostgreSQL throws out who holds the head and freezes, but only while it waits for the next statement from the
    beginning: so what is sent is said to its end, and no code of ours runs in between.
    """

    MOST = 64

    def __init__(self, cursor: Any, together: Together) -> None:
        self._cursor = cursor
        self._together = together
        self._kept: list[tuple[Callable[..., object], str, Sequence[Any]]] = []

    def execute(self, text: str, values: Sequence[Any]) -> None:
        self._keep(self._cursor.execute, text, values)

    def executemany(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        self._keep(self._cursor.executemany, text, rows)

    def _keep(self, run: Callable[..., object], text: str, values: Sequence[Any]) -> None:
        self._kept.append((run, text, values))
        if len(self._kept) >= self.MOST:
            self.flush()

    def flush(self, end: Callable[[], object] | None = None) -> None:
        """Send them, and let `end` be the last."""
        if not self._kept and end is None:
            return
        kept, self._kept = self._kept, []
        with self._together():
            for run, text, values in kept:
                run(text, values)
            if end is not None:
                end()


class LedgerTransaction:
    """`engine.ports.Transaction` on a DB-API cursor. `append` takes rows with the next dense ids only.

    `room`: the id below which events have partitions, as far as known. Without `lock` it can only read.
    """

    def __init__(
        self, cursor: Any, statements: Statements, together: Together = nullcontext, room: int = 0, lock: bool = True
    ) -> None:
        self._cursor = cursor
        self._sql = statements
        self._writes = Writes(cursor, together)
        self.room = room
        with together():
            if statements.begin and lock:
                cursor.execute(statements.begin)
            cursor.execute(statements.head if lock else statements.look)
        self.head = Head(*cursor.fetchone())

    def end(self, commit: Callable[[], object]) -> None:
        """Send what is left, and commit."""
        self._writes.flush(commit)

    def missed(self, after: int) -> Iterable[str]:
        """The lines with ids above `after`, in order, read in batches; only within the transaction.

        StoreUnavailable where retention took some of them: `load` tells what they led to.
        """
        self._writes.flush()
        for low in range(after, self.head.id, _BATCH):
            high = min(low + _BATCH, self.head.id)
            self._cursor.execute(self._sql.missed, (low, high))
            found = self._cursor.fetchall()
            if len(found) != high - low:
                raise StoreUnavailable(f"of the events {low + 1}–{high} some are not there any more")
            yield from (line for (line,) in found)

    def fact(self, space: str, key: str) -> str | None:
        """The JSON of one fact as the ledger has it now."""
        self._writes.flush()
        self._cursor.execute(self._sql.fact, (space, key))
        row = self._cursor.fetchone()
        return None if row is None else row[0]

    def start_after(self, event_id: int) -> None:
        """Let an empty ledger begin later than at event 1; for a copy whose first part retention took."""
        if self.head.id:
            raise ValueError(f"the ledger stands at event {self.head.id}: it is not empty")
        self.save([Fact(*schema.ANCHOR, f"[{event_id},null]")], [])
        self.head = Head(event_id, "", float("-inf"))

    def append(self, rows: Sequence[Row], head: Head) -> None:
        if not rows:
            return
        if rows[0].id != self.head.id + 1 or rows[-1].id != head.id or len(rows) != head.id - self.head.id:
            raise ValueError(f"events {rows[0].id}–{rows[-1].id} do not lead from {self.head.id} to {head.id}")
        steps = _steps_back(rows, self.head)
        if self._sql.partitioned and head.id + partitions.AHEAD >= self.room:
            self._writes.flush()
            self.room = partitions.make_room(self._cursor, rows[0].id, head.id)
        self._sql.events.run(self._writes, rows)
        if steps:
            self._writes.executemany(self._sql.step, steps)
        self._writes.execute(self._sql.move_head, (head.id, head.hash, head.ts))
        self.head = head

    def save(self, facts: Sequence[Fact], remediations: Sequence[RemediationRow]) -> None:
        newest = {(fact.space, fact.key): fact for fact in facts}
        kept = [fact for fact in newest.values() if fact.data is not None]
        gone = [where for where, fact in newest.items() if fact.data is None]
        if kept:
            self._sql.keep.run(self._writes, kept)
        if gone:
            self._writes.executemany(self._sql.forget, gone)
        if remediations:
            self._sql.remediations.run(self._writes, [(schema.number(row.id), *row) for row in remediations])

    def everything(self) -> Snapshot:
        """What a starting engine reads."""
        self._writes.flush()
        self._cursor.execute(self._sql.facts)
        facts = [Fact(*row) for row in self._cursor.fetchall()]
        self._cursor.execute(self._sql.unfinished)
        return Snapshot(self.head, facts, [RemediationRow(*row) for row in self._cursor.fetchall()])


class SqlLedger:
    """`engine.ports.Ledger` on a writing engine. One thread at a time; readers have connections of their own.

    After a StoreUnavailable out of a commit nobody can say whether a crash would bring the batch back (a failed
    sync may have reached the disk): the caller calls `reopen` and `load`, and trusts what it reads there.
    """

    def __init__(self, connect: Callable[[], Engine]) -> None:
        self._connect = connect
        self._engine: Engine | None = None
        self._link: Any = None
        self._room = 0
        self._open()

    def _open(self) -> None:
        self._engine = self._connect()
        self._url = self._engine.url
        self._room = 0
        self._statements = Statements(self._engine.dialect)
        dbapi: Any = self._engine.dialect.dbapi
        self._errors: tuple[type[Exception], ...] = (dbapi.Error, SQLAlchemyError)
        try:
            self._link = self._engine.raw_connection()
        except self._errors as error:
            raise StoreUnavailable(self._text(error)) from error

    @property
    def shared(self) -> bool:
        """Whether other processes may write it too."""
        return self._statements.partitioned

    def load(self) -> Snapshot:
        with self.transaction() as transaction:
            return transaction.everything()

    @contextmanager
    def transaction(self) -> Generator[LedgerTransaction, None, None]:
        """Begin as the only writer; leaving without an error commits, durable when it returns."""
        connection, cursor, transaction = self._begin()
        try:
            with closing(cursor):
                yield transaction
                transaction.end(connection.commit)
            self._room = transaction.room
        except BaseException as error:
            self._room = 0  # what was made was rolled back with the rest
            self._roll_back(connection)
            if isinstance(error, self._errors):
                raise StoreUnavailable(self._text(error)) from error
            raise

    def _begin(self) -> tuple[Any, Any, LedgerTransaction]:
        """A connection, its cursor and the transaction that has begun on it. A connection that broke while nothing
        was under way, as after a restart of the database, is replaced once."""
        for again in (True, False):
            if self._link is None:
                raise StoreUnavailable("the ledger is closed")
            connection = self._link.driver_connection
            try:
                cursor = connection.cursor()
                return (
                    connection,
                    cursor,
                    LedgerTransaction(cursor, self._statements, self._together(connection), self._room),
                )
            except self._errors as error:
                self._roll_back(connection)
                if not again or self._link is not None or getattr(error, "waited", False):
                    raise StoreUnavailable(self._text(error)) from error
                self._open()
        raise AssertionError("unreachable")

    def _together(self, connection: Any) -> Together:
        return nullcontext

    def _roll_back(self, connection: Any) -> None:
        try:
            connection.rollback()
        except self._errors:
            self._shut()

    def reopen(self) -> None:
        """Drop the connection and open anew; StoreUnavailable where that fails, and it may be tried again."""
        self._shut()
        self._open()

    def close(self) -> None:
        """Let go of the database; every later call is StoreUnavailable."""
        self._shut()

    def _text(self, error: BaseException) -> str:
        return f"the ledger cannot be written: {reason(error, self._url)}"

    def _shut(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            try:
                link.invalidate()
            except self._errors:
                pass  # it is being thrown away
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def _steps_back(rows: Sequence[Row], head: Head) -> list[tuple[int, float, float]]:
    """Where the clock went back: (id, ts, ts of the event before)."""
    steps = []
    before = head.ts if head.id else rows[0].ts
    for row in rows:
        if row.ts < before:
            steps.append((row.id, row.ts, before))
        before = row.ts
    return steps
