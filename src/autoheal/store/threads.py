"""Where conversations are kept, and what is to be done for them in Slack: in the ledger's database or in a file.

On PostgreSQL the tables (`schema.THREADS`) are part of the ledger's schema, migrated with it, and every process that is
given the same URL shares them. SQLite lets one write at a time, and the ledger's head may never wait for Slack; there
they are in `threads.db`, a file of its own beside `ledger.db`, which is made here and knows its version by itself
(`user_version`). The same tables stay empty in `ledger.db`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoheal.engine.ports import Clock
from autoheal.store import connection as connections
from autoheal.store.book import Book, Channel, NotHeld, Stored, Stray, Work
from autoheal.store.book_sql import UNREACHABLE, Dialect
from autoheal.store.threads_file import ThreadsFile
from autoheal.store.threads_server import ThreadsServer

__all__ = ["Book", "Channel", "Figures", "NotHeld", "Stored", "Stray", "Threads", "Work", "threads_path", "threads_url"]

FILE = "threads.db"
READY = "ready"
"""The bucket that is written to see whether anything can be; it is never empty."""


def threads_path(directory: Path) -> Path:
    return directory / FILE


def threads_url(directory: Path) -> str:
    """The URL of the file in a data directory."""
    return connections.sqlite_url(threads_path(directory.absolute()))


@dataclass(frozen=True, slots=True)
class Figures:
    """How much is to be done by kind, and since when the oldest of it is wanted; open conversations; unsaid lines."""

    depth: dict[str, int]
    oldest: float | None
    open: int
    unsaid: int


class Threads:
    """The conversations at a PostgreSQL URL, or in the SQLite file at one (made if absent, 0600). Any thread may call.

    Raises SchemaMismatch where another version's tables are there, Permanent where the URL or the rights are wrong,
    StoreUnavailable where the database cannot be reached; every call does so. After a StoreUnavailable out of the end
    of a transaction nobody can say whether it was done.
    """

    def __init__(self, url: str, clock: Clock, pool_size: int = 4) -> None:
        self.url = url
        path = connections.sqlite_path(url)
        self._dialect = Dialect(postgres=path is None)
        self._door: ThreadsServer | ThreadsFile = (
            ThreadsServer(url, self._dialect, pool_size) if path is None else ThreadsFile(path, self._dialect, clock)
        )
        self._readers = connections.reader(url, 2)

    @property
    def shared(self) -> bool:
        """Whether other processes may use them too, so that the database's clock counts."""
        return isinstance(self._door, ThreadsServer)

    @contextmanager
    def transaction(self) -> Generator[Book, None, None]:
        """Leaving without an error commits, durable when it returns."""
        with self._door.visit() as link:
            book = Book(self._dialect, link)
            yield book
            book.end()

    def get(self, key: str) -> Stored | None:
        return next(iter(self._stored("get", key)), None)

    def list(self, open: bool | None, limit: int, before: tuple[float, str] | None = None) -> Sequence[Stored]:
        """The conversations last saved first; `before`: `updated` and `key` of the last one of the page before."""
        updated, key = before or (float("inf"), "")
        if open is None:
            return self._stored("list", updated, key, limit)
        return self._stored("list_open", updated, key, int(open), limit)

    def channels(self) -> Sequence[Channel]:
        return [Channel(*row) for row in self._read("channels")]

    def writable(self) -> None:
        """Write something that means nothing: StoreUnavailable where that cannot be done."""
        with self.transaction() as book:
            book.take(READY, 0.0, 1.0)

    def figures(self) -> Figures:
        rows = self._read("depth")
        ((is_open, unsaid),) = self._read("sums")
        depth = {kind: int(count) for kind, count, _ in rows}
        return Figures(depth, min((since for _, _, since in rows), default=None), int(is_open), int(unsaid))

    def reopen(self) -> None:
        """Drop the connections, and open anew with the next call."""
        self._door.drop()
        self._readers.dispose()

    def close(self) -> None:
        """Let go of the database; every later transaction is StoreUnavailable."""
        self._door.close()
        self._readers.dispose()

    def _stored(self, name: str, *values: Any) -> Sequence[Stored]:
        return [
            Stored(key, data, unsaid, lines, place, bool(is_open), due, updated)
            for key, data, unsaid, lines, place, is_open, due, updated in self._read(name, *values)
        ]

    def _read(self, name: str, *values: Any) -> Sequence[Any]:
        with connections.told(self._readers, UNREACHABLE), self._readers.connect() as link:
            return link.exec_driver_sql(self._dialect.sql[name], values).all()
