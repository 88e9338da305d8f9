"""Move an embedded ledger, and the conversations beside it, into an empty PostgreSQL: every row as it is, ids and chain
kept, all of it or nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Table, Text, delete, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from autoheal.core.errors import Permanent
from autoheal.engine.ports import Head
from autoheal.store import lines as files
from autoheal.store import migrate, partitions, schema
from autoheal.store.connection import sqlite_url
from autoheal.store.lock import DirectoryHeld, DirectoryLock
from autoheal.store.session import place, translated, unlimited, visit
from autoheal.store.sqlite import database_path, database_url
from autoheal.store.threads import threads_path
from autoheal.store.threads_file import is_made
from autoheal.store.verify import Reading, Report, head_of, verify_database

NOTE = "MOVED"
"""The file that is left in a data directory whose ledger has moved."""

Progress = Callable[[str, int, int], None]
"""Called now and then with what is being done, rows done and rows to do."""

MOVES = (schema.events, schema.clock_steps, schema.facts, schema.remediations)
"""The ledger's tables that are copied, row by row; the head is set at the end. Then those of the conversations."""

_BATCH = 2000


class LedgerDamaged(Permanent):
    """The ledger does not verify, so it is not moved. `report` names what is wrong."""

    def __init__(self, directory: Path, report: Report) -> None:
        shown = "\n  ".join(str(problem) for problem in report.problems[:5])
        more = f"\n  and {report.total - 5} more" if report.total > 5 else ""
        super().__init__(f"the ledger in {directory} is damaged, so nothing was moved:\n  {shown}{more}")
        self.report = report


class TargetNotEmpty(Permanent):
    """The PostgreSQL has a ledger already, and it is not this one."""


@dataclass(frozen=True, slots=True)
class Stock:
    """What an embedded ledger holds: id of its first event (None: it has none) and where it stands."""

    first: int | None
    head: Head


@dataclass(frozen=True, slots=True)
class Transferred:
    """What was moved. `sha256`: of the lines as `audit export` writes them; `already`: an earlier import did it.
    `conversations`: how many of them."""

    first: int
    head: Head
    facts: int
    remediations: int
    sha256: str = ""
    already: bool = False
    conversations: int = 0


def refuse_if_moved(directory: Path) -> None:
    """Permanent where the ledger in `directory` was moved: two installations on the same alerts would act twice."""
    said = moved_away(directory)
    if said:
        raise Permanent(
            f"{said}: set DATABASE_URL to go on there; "
            f"or, to go back to what it was then, stop everything that uses that database and delete {directory / NOTE}"
        )


def moved_away(directory: Path) -> str:
    """That the ledger in `directory` was moved, where to and when; empty where it was not. Permanent where nobody can
    say."""
    note = directory / NOTE
    try:
        said = note.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Permanent(f"{note} cannot be read: {error.strerror}") from error
    told = dict(line.partition(": ")[::2] for line in said.splitlines())
    where = f" to {told['to']}" if "to" in told else ""
    when = f" on {told['when']}" if "when" in told else ""
    return f"the ledger in {directory} was moved{where}{when}"


def stock(directory: Path) -> Stock:
    """What there is to move; nothing is changed. Permanent where there is no ledger."""
    _must_exist(directory)
    with Reading(database_url(directory)) as connection:
        if migrate.current(connection) is None:
            return Stock(None, Head(0, "", 0.0))
        first = connection.execute(select(schema.events.c.id).order_by(schema.events.c.id).limit(1)).scalar()
        return Stock(first, head_of(connection))


def transfer(directory: Path, url: str, progress: Progress = lambda what, done, of: None) -> Transferred:
    """Move the ledger in `directory` to the PostgreSQL at `url`, whose own ledger must be empty.

    The source's chain is verified before; what arrived is read back and compared before it is committed, in the one
    transaction of all rows. Afterwards the directory is marked (`refuse_if_moved`). A crash leaves the target empty,
    or complete with the directory not marked yet: run it again. Raises DirectoryHeld, LedgerDamaged, TargetNotEmpty,
    StoreUnavailable, Permanent; nothing was moved then, unless the commit itself was lost, which a second run tells.
    """
    directory = directory.absolute()
    _must_exist(directory)
    with _held(directory):
        source_url = database_url(directory)
        migrate.upgrade(source_url)
        progress("verifying", 0, 0)
        report = verify_database(source_url)
        if not report.ok:
            raise LedgerDamaged(directory, report)
        if report.first_id is None:
            raise Permanent(f"the ledger in {directory} has no events: there is nothing to move")
        with ExitStack() as stack:
            source, talks = stack.enter_context(Reading(source_url)), _conversations(directory, stack)
            target = stack.enter_context(visit(url))
            _prepare(target, url)
            moved = _already(source, target, report) or _move(source, talks, target, report, progress)
            if not (moved.already and (directory / NOTE).exists()):
                now = target.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
                _mark(directory, url, moved.head, float(now))
            if not moved.already:
                _tidy(target, progress)
        return moved


def _conversations(directory: Path, stack: ExitStack) -> Connection | None:
    """The file of the conversations, None where there is none. SchemaMismatch where it is of another version."""
    path = threads_path(directory)
    if not path.exists():
        return None
    found = stack.enter_context(Reading(sqlite_url(path)))
    return found if is_made(found, path) else None


def _must_exist(directory: Path) -> None:
    if not database_path(directory).is_file():
        copy = directory / "audit.jsonl"
        hint = "; there is a copy: start Autoheal on it once, so that it is taken in" if copy.exists() else ""
        raise Permanent(f"there is no ledger in {directory}{hint}")


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    try:
        lock = DirectoryLock(directory)
    except DirectoryHeld as error:
        raise DirectoryHeld(f"an Autoheal runs on {directory}: stop it first, then import") from error
    except OSError as error:
        raise Permanent(f"the data directory {directory} cannot be used: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


# ---- the target -------------------------------------------------------------------------------------------------


def _prepare(target: Connection, url: str) -> None:
    """A target with nothing in it gets the schema; one that has another version's is refused."""
    unlimited(target)
    encoding = target.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise Permanent(f"the database keeps texts as {encoding}: make it with ENCODING 'UTF8', or lines would not fit")
    if migrate.current(target) is None:
        with translated(url):
            migrate.upgrade(url)
    migrate.check(target)


@contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    """One transaction on a connection that commits by itself."""
    driver = _driver(connection)
    driver.autocommit = False
    try:
        yield
        driver.commit()
    except BaseException:
        try:
            driver.rollback()
        except Exception:  # noqa: S110 - the connection is lost, and the first error says so
            pass
        raise
    finally:
        if not driver.closed:
            driver.autocommit = True


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _already(source: Connection, target: Connection, report: Report) -> Transferred | None:
    """What an earlier import brought, where the target's ledger is this one (and perhaps went on since)."""
    head = head_of(target)
    if head.id == 0:
        return None
    ours = head_of(source)
    line = target.execute(select(schema.events.c.line).where(schema.events.c.id == ours.id)).scalar()
    if line is None or files.hash_of(line) != ours.hash:
        raise TargetNotEmpty(
            f"the database has a ledger already, which stands at event {head.id} and is not this one "
            f"(at event {ours.id}): give DATABASE_URL an empty database"
        )
    facts, remediations = (_count(source, table) for table in (schema.facts, schema.remediations))
    return Transferred(report.first_id or 1, ours, facts, remediations, already=True)


def _must_be_empty(target: Connection) -> None:
    """Under the head's lock: whoever else wants to write waits until all is there."""
    row = target.execute(select(schema.head.c.id).where(schema.head.c.one == 1).with_for_update()).first()
    tables = [*MOVES, *(table for table in schema.THREADS if table is not schema.thread_cursor)]
    found = [table.name for table in tables if target.execute(select(table).limit(1)).first() is not None]
    if row is None or row.id != 0 or found:
        what = ", ".join(found) or "head"
        raise TargetNotEmpty(f"the database is not empty ({what}): give DATABASE_URL an empty database")


# ---- the copying ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Digest:
    """What passed by: how many rows, their columns, and the lines as an export has them."""

    count: int = 0
    last: str = ""
    columns: Any = field(default_factory=hashlib.sha256)
    lines: Any = field(default_factory=hashlib.sha256)

    def event(self, row: tuple[Any, ...]) -> None:
        self.count += 1
        self.last = row[-1]
        self.lines.update(self.last.encode())
        self.lines.update(b"\n")
        self.columns.update(repr(row[:-1]).encode())

    def row(self, row: tuple[Any, ...]) -> None:
        self.count += 1
        self.columns.update(repr(row).encode())

    def result(self) -> tuple[int, str, str]:
        return self.count, self.columns.hexdigest(), self.lines.hexdigest()


def _move(
    source: Connection, talks: Connection | None, target: Connection, report: Report, progress: Progress
) -> Transferred:
    head = head_of(source)
    with _transaction(target):
        _must_be_empty(target)
        with _driver(target).cursor() as cursor:
            partitions.make_room(cursor, report.first_id or 1, head.id)
        sent = {}
        for table in MOVES:
            sent[table.name] = _send(source, target, table, progress)
        newest = sent["events"].last
        if sent["events"].count != report.checked or files.hash_of(newest) != head.hash != report.last_hash:
            raise Permanent("the ledger changed while it was read: does something else write to it?")
        target.execute(update(schema.head).where(schema.head.c.one == 1).values(id=head.id, hash=head.hash, ts=head.ts))
        if talks is not None:
            target.execute(delete(schema.thread_cursor))  # the one that the schema came with
            for table in schema.THREADS:
                sent[table.name] = _send(talks, target, table, progress)
        for table in (*MOVES, *(schema.THREADS if talks is not None else ())):
            arrived = _read_back(target, table, sent[table.name].count, progress)
            if arrived.result() != sent[table.name].result():
                raise Permanent(f"what arrived in {table.name} is not what was sent; nothing was kept")
        if head_of(target) != head:
            raise Permanent("the head that arrived is not the one that was sent; nothing was kept")
    return Transferred(
        report.first_id or 1,
        head,
        sent["facts"].count,
        sent["remediations"].count,
        sent["events"].lines.hexdigest(),
        conversations=sent["threads"].count if talks is not None else 0,
    )


def _send(source: Connection, target: Connection, table: Table, progress: Progress) -> _Digest:
    digest = _Digest()
    see = _seer(digest, table)
    total = _count(source, table)
    columns = ", ".join(table.c.keys())
    cursor = _driver(target).cursor()
    with cursor, cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
        for row in _rows(source, table):
            see(row)
            copy.write_row(row)
            if digest.count % _BATCH == 0:
                progress(f"copying {table.name}", digest.count, total)
    return digest


def _rows(source: Connection, table: Table) -> Iterable[tuple[Any, ...]]:
    statement = select(table).order_by(*table.primary_key.columns)
    for row in source.execution_options(yield_per=_BATCH).execute(statement):
        yield tuple(_text(value) if isinstance(value, bytes) else value for value in row)


def _text(value: bytes) -> str:
    """SQLite keeps whatever somebody writes into a text column; the verification has shown that it is a line."""
    return value.decode()


def _read_back(target: Connection, table: Table, total: int, progress: Progress) -> _Digest:
    digest = _Digest()
    see = _seer(digest, table)
    columns = ", ".join(table.c.keys())
    order = ", ".join(_in_bytes_order(column) for column in table.primary_key.columns)
    cursor = _driver(target).cursor()
    query = f"COPY (SELECT {columns} FROM {table.name} ORDER BY {order}) TO STDOUT"  # noqa: S608 - names of ours
    with cursor, cursor.copy(query) as copy:
        copy.set_types([_TYPES[column.type.__class__.__name__] for column in table.columns])
        for row in copy.rows():
            see(row)
            if digest.count % _BATCH == 0:
                progress(f"reading {table.name} back", digest.count, total)
    return digest


def _in_bytes_order(column: Column[Any]) -> str:
    """As SQLite sorts it, whatever the database's language is."""
    return f'{column.name} COLLATE "C"' if isinstance(column.type, Text) else column.name


_TYPES = {"BigInteger": "int8", "Integer": "int8", "Double": "float8", "Text": "text"}


def _seer(digest: _Digest, table: Table) -> Callable[[tuple[Any, ...]], None]:
    return digest.event if table is schema.events else digest.row


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table.name}")).scalar_one())  # noqa: S608 - our names


def _tidy(target: Connection, progress: Progress) -> None:
    """Let the planner know what is there now. All is moved already: an error here is none."""
    progress("tidying up", 0, 0)
    with suppress(SQLAlchemyError):
        target.exec_driver_sql("VACUUM (ANALYZE) " + ", ".join(table.name for table in (*MOVES, *schema.THREADS)))


# ---- the mark ---------------------------------------------------------------------------------------------------


def _mark(directory: Path, url: str, head: Head, now: float) -> None:
    """Leave the note: whole or not at all, on disk when this returns."""
    try:
        _write_note(directory, url, head, now)
    except OSError as error:
        raise Permanent(
            f"everything was moved to {place(url)}, but {directory / NOTE} cannot be written ({error.strerror}): "
            "do not start Autoheal on this directory again; mend that and run the import once more"
        ) from error


def _write_note(directory: Path, url: str, head: Head, now: float) -> None:
    when = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    said = (
        "This ledger was moved. What is here is how it was then, and nothing acts on it any more.\n"
        f"to: {place(url)}\nwhen: {when}\nhead: {head.id}:{head.hash}\n"
    )
    part = directory / f".{NOTE}.part"
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(said)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, directory / NOTE)
    folder = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
