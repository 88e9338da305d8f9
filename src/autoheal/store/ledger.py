"""The ledger on SQL, either dialect: begin as the only writer, append, save, read what was missed."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Dialect, Engine, bindparam, delete, insert, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import ClauseElement

from autoheal.core.remediation import OPEN, UNKNOWN
from autoheal.engine.ports import Fact, Head, RemediationRow, Row, Snapshot, StoreUnavailable
from autoheal.store import schema

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
        upsert = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
        self.begin = "BEGIN IMMEDIATE" if dialect.name == "sqlite" else None
        self.head = sql(select(head.c.id, head.c.hash, head.c.ts).where(head.c.one == _ONE).with_for_update())
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
        self.events = Many(sql(insert(events), *events.c.keys()))
        self.step = sql(insert(steps), *steps.c.keys())
        fact = upsert(facts)
        self.keep = Many(
            sql(
                fact.on_conflict_do_update(
                    index_elements=["space", "key"], set_={"data": fact.excluded.data, "due": fact.excluded.due}
                ),
                *facts.c.keys(),
            )
        )
        self.forget = sql(
            delete(facts).where(facts.c.space == bindparam("space"), facts.c.key == bindparam("key")), "space", "key"
        )
        entry = upsert(remediations)
        self.remediations = Many(
            sql(
                entry.on_conflict_do_update(
                    index_elements=["number"], set_={name: entry.excluded[name] for name in remediations.c.keys()[1:]}
                ),
                *remediations.c.keys(),
            )
        )
        self.facts = sql(select(facts.c.space, facts.c.key, facts.c.data, facts.c.due))
        states: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in sorted(OPEN | {UNKNOWN})]
        self.unfinished = sql(
            select(*(remediations.c[name] for name in RemediationRow._fields))
            .where(remediations.c.state.in_(states))
            .order_by(remediations.c.number)
        )


class LedgerTransaction:
    """`engine.ports.Transaction` on a DB-API cursor. `append` takes rows with the next dense ids only."""

    def __init__(self, cursor: Any, statements: Statements) -> None:
        self._cursor = cursor
        self._sql = statements
        cursor.execute(statements.head)
        self.head = Head(*cursor.fetchone())

    def missed(self, after: int) -> Iterable[str]:
        """The lines with ids above `after`, in order, read in batches; only within the transaction."""
        for low in range(after, self.head.id, _BATCH):
            self._cursor.execute(self._sql.missed, (low, low + _BATCH))
            yield from (line for (line,) in self._cursor.fetchall())

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
        self._sql.events.run(self._cursor, rows)
        if steps:
            self._cursor.executemany(self._sql.step, steps)
        self._cursor.execute(self._sql.move_head, (head.id, head.hash, head.ts))
        self.head = head

    def save(self, facts: Sequence[Fact], remediations: Sequence[RemediationRow]) -> None:
        newest = {(fact.space, fact.key): fact for fact in facts}
        kept = [fact for fact in newest.values() if fact.data is not None]
        gone = [where for where, fact in newest.items() if fact.data is None]
        if kept:
            self._sql.keep.run(self._cursor, kept)
        if gone:
            self._cursor.executemany(self._sql.forget, gone)
        if remediations:
            self._sql.remediations.run(self._cursor, [(schema.number(row.id), *row) for row in remediations])

    def everything(self) -> Snapshot:
        """What a starting engine reads."""
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
        self._open()

    def _open(self) -> None:
        self._engine = self._connect()
        self._statements = Statements(self._engine.dialect)
        dbapi: Any = self._engine.dialect.dbapi
        self._errors: tuple[type[Exception], ...] = (dbapi.Error, SQLAlchemyError)
        try:
            self._link = self._engine.raw_connection()
        except self._errors as error:
            raise StoreUnavailable(_text(error)) from error

    def load(self) -> Snapshot:
        with self.transaction() as transaction:
            return transaction.everything()

    @contextmanager
    def transaction(self) -> Generator[LedgerTransaction, None, None]:
        """Begin as the only writer; leaving without an error commits, durable when it returns."""
        if self._link is None:
            raise StoreUnavailable("the ledger is closed")
        connection = self._link.driver_connection
        try:
            cursor = connection.cursor()
            try:
                if self._statements.begin:
                    cursor.execute(self._statements.begin)
                yield LedgerTransaction(cursor, self._statements)
                connection.commit()
            finally:
                cursor.close()
        except BaseException as error:
            self._roll_back(connection)
            if isinstance(error, self._errors):
                raise StoreUnavailable(_text(error)) from error
            raise

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


def _text(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return f"the ledger cannot be written: {cause}"
