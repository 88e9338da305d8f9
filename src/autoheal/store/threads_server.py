"""The conversations in PostgreSQL: a pool of connections that write, shared with every process at the same URL."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from sqlalchemy import event

from autoheal.engine.ports import StoreUnavailable
from autoheal.store import connection as connections
from autoheal.store import migrate
from autoheal.store.book_sql import UNREACHABLE, Dialect, Link, Statement

ANSWER_SECONDS = 5.0
"""How long the server may say nothing: whoever delivers alerts waits for it, and comes again."""
_LOCK_TIMEOUT = "SET lock_timeout = '4s'"


def _hurry(connection: Any, record: object) -> None:
    before, connection.autocommit = connection.autocommit, True
    connection.execute(_LOCK_TIMEOUT)
    connection.autocommit = before
    connection.answer_seconds = ANSWER_SECONDS


class ThreadsServer:
    """The database at `url`; an empty one gets the ledger's schema."""

    def __init__(self, url: str, dialect: Dialect, pool_size: int) -> None:
        self._bear = dialect.sql["bear"]
        self._known: set[str] = set()
        self._closed = False
        self._engine = connections.pool_writer(url, pool_size)
        self._aside = connections.aside(url, 1)
        for engine in (self._engine, self._aside):
            event.listen(engine, "connect", _hurry)
        self._pipelines: bool = self._engine.dialect.loaded_dbapi.Pipeline.is_supported()
        try:
            migrate.make_ready(self._engine)
        except BaseException:
            self._engine.dispose()
            raise

    @contextmanager
    def visit(self) -> Generator[Link, None, None]:
        if self._closed:
            raise StoreUnavailable("the conversations are closed")
        link = _ServerLink(self)
        with connections.told(self._engine, UNREACHABLE):
            try:
                yield link
            finally:
                link.give_back()

    def connect(self) -> Any:
        return self._engine.raw_connection()

    def together(self, link: Any) -> AbstractContextManager[object]:
        pipeline: AbstractContextManager[object] = link.pipeline() if self._pipelines else nullcontext()
        return pipeline

    def bear(self, bucket: str) -> bool:
        """In a transaction of its own: two that make the same ones, each in its order, would wait for each other."""
        if bucket in self._known:
            return False
        with self._aside.connect() as link:
            link.exec_driver_sql(self._bear, (bucket, bucket))
        self._known.add(bucket)
        return True

    def drop(self) -> None:
        self._engine.dispose()
        self._aside.dispose()

    def close(self) -> None:
        self._closed = True
        self.drop()


class _ServerLink:
    """A connection out of the pool, from the first question on."""

    def __init__(self, server: ThreadsServer) -> None:
        self._server = server
        self._pooled: Any = None
        self._begun = False

    def ask(self, writes: Sequence[Statement], questions: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        """A connection that broke while nobody used it, as after a restart of the server, is replaced once."""
        if not self._begun:
            try:
                found = self._ask(writes, questions)
            except Exception as error:
                if self._pooled is None or self._usable() or getattr(error, "waited", False):
                    raise
                self._throw_away()
                self._server.drop()  # the others broke with it
                found = self._ask(writes, questions)
            self._begun = True
            return found
        return self._ask(writes, questions)

    def _ask(self, writes: Sequence[Statement], questions: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        if self._pooled is None:
            self._pooled = self._server.connect()
        link = self._pooled.driver_connection
        with self._server.together(link):
            for text, values in writes:
                link.execute(text, values)
            asked = [link.execute(text, values) for text, values in questions]
        return [cursor.fetchall() if cursor.description else [] for cursor in asked]

    def commit(self, writes: Sequence[Statement], afterwards: Sequence[Statement]) -> None:
        self._commit(writes)
        if afterwards:
            with suppress(Exception):  # what was to be done is done
                self._commit(afterwards)

    def _commit(self, writes: Sequence[Statement]) -> None:
        link = self._pooled.driver_connection
        with self._server.together(link):
            for text, values in writes:
                link.execute(text, values)
            link.commit()

    def bear(self, bucket: str) -> bool:
        return self._server.bear(bucket)

    def _usable(self) -> bool:
        """Roll back; whether the connection is good for another transaction."""
        try:
            self._pooled.driver_connection.rollback()
        except Exception:
            return False
        return not self._pooled.driver_connection.closed

    def _throw_away(self) -> None:
        pooled, self._pooled = self._pooled, None
        with suppress(Exception):
            pooled.invalidate()

    def give_back(self) -> None:
        if self._pooled is None:
            return
        if self._usable():
            pooled, self._pooled = self._pooled, None
            pooled.close()
        else:
            self._throw_away()
