"""The conversations' SQLite file: one connection that writes, for one thread at a time; readers have their own."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert
from sqlalchemy.exc import SQLAlchemyError

from autoheal.engine.ports import Clock, StoreUnavailable
from autoheal.store import connection as connections
from autoheal.store import migrate, schema
from autoheal.store.book_sql import UNREACHABLE, Dialect, Link, Statement

VERSION = 1
"""What this code writes in the file's `user_version`."""

WAIT_SECONDS = 5.0
"""How long a thread waits for the others of its process."""


class ThreadsFile:
    """The file at `path`, made if absent (0600)."""

    def __init__(self, path: Path, dialect: Dialect, clock: Clock) -> None:
        self._path = path
        self._bear = dialect.sql["bear"]
        self._clock = clock
        self._turn = threading.Lock()
        self._closed = False
        self._moment = 0.0
        self._engine = connections.writer(connections.sqlite_url(path))
        self._link: Any = None
        with self._turn:
            self._open()

    @contextmanager
    def visit(self) -> Generator[Link, None, None]:
        if not self._turn.acquire(timeout=WAIT_SECONDS):
            raise StoreUnavailable(f"{self._path} is busy for {WAIT_SECONDS:g} s")
        try:
            if self._link is None:
                self._open()
            with connections.told(self._engine, UNREACHABLE):
                yield from self._visit(self._link.driver_connection)
        finally:
            self._turn.release()

    def _visit(self, link: Any) -> Generator[Link, None, None]:
        try:
            link.execute("BEGIN IMMEDIATE")
            self._moment = self._clock.now()
            yield _FileLink(link, self._bear)
        except (sqlite3.Error, SQLAlchemyError):
            self._let_go()  # what a failed commit left behind, a new connection reads from the file
            raise
        except BaseException:
            link.rollback()
            raise
        if link.in_transaction:
            link.rollback()

    def _open(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"{self._path} is closed")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            connections.private_file(self._path)
        except OSError as error:
            raise StoreUnavailable(f"{self._path} cannot be opened: {error.strerror}") from error
        with connections.told(self._engine, UNREACHABLE):
            with self._engine.begin() as link:
                _bring_up(link, self._path)
            self._link = self._engine.raw_connection()
            self._link.driver_connection.create_function("unix_now", 0, lambda: self._moment)

    def _let_go(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            with suppress(sqlite3.Error, SQLAlchemyError):
                link.invalidate()
        self._engine.dispose()

    def drop(self) -> None:
        with self._turn:
            self._let_go()

    def close(self) -> None:
        with self._turn:
            self._closed = True
            self._let_go()


class _FileLink:
    def __init__(self, link: sqlite3.Connection, bear: str) -> None:
        self._link = link
        self._bear = bear

    def ask(self, writes: Sequence[Statement], questions: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        for text, values in writes:
            self._link.execute(text, values)
        return [self._link.execute(text, values).fetchall() for text, values in questions]

    def commit(self, writes: Sequence[Statement], afterwards: Sequence[Statement]) -> None:
        for text, values in [*writes, *afterwards]:
            self._link.execute(text, values)
        self._link.commit()

    def bear(self, bucket: str) -> bool:
        self._link.execute(self._bear, (bucket, bucket))
        return True


def _bring_up(link: Connection, path: Path) -> None:
    """Make the tables where there are none. A later version brings older files up here."""
    if not is_made(link, path):
        schema.metadata.create_all(link, schema.THREADS)
        link.execute(insert(schema.thread_cursor).values(one=1, id=-1))
        link.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


def is_made(link: Connection, path: Path) -> bool:
    """Whether there is anything in the file; SchemaMismatch where it is not what this code reads and writes."""
    found = link.exec_driver_sql("PRAGMA user_version").scalar_one()
    if found not in (0, VERSION):
        raise migrate.SchemaMismatch(
            f"{path} has version {found}, newer than this Autoheal knows ({VERSION}): "
            "start the version that wrote it, or a newer one"
        )
    return bool(found)
