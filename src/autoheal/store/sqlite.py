"""The embedded ledger: one SQLite file in the data directory, held by one process."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from autoheal.core.errors import Permanent
from autoheal.engine.ports import StoreUnavailable
from autoheal.store import connection, migrate
from autoheal.store.ledger import SqlLedger
from autoheal.store.lock import DirectoryLock

DATABASE = "ledger.db"


def database_path(directory: Path) -> Path:
    return directory / DATABASE


def database_url(directory: Path) -> str:
    """The URL of the embedded ledger in a data directory, for `query`, `verify` and `migrate`."""
    return connection.sqlite_url(database_path(directory.absolute()))


class SqliteLedger(SqlLedger):
    """`engine.ports.Ledger` in `directory` (made if absent, 0700), schema brought up at start.

    Raises DirectoryHeld where another Autoheal has it, SchemaMismatch where a newer one wrote it, Permanent where
    the directory cannot be used, StoreUnavailable where the database cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.url = database_url(directory)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = DirectoryLock(self.directory)
        except OSError as error:
            raise Permanent(f"the data directory {directory} cannot be used: {error.strerror}") from error
        try:
            super().__init__(self._ready)
        except BaseException:
            self.close()
            raise

    def _ready(self) -> Engine:
        """The engine, on a file that exists, is private and has this code's schema."""
        if not self._lock.held:
            raise StoreUnavailable("the ledger is closed")
        engine = None
        try:
            connection.private_file(database_path(self.directory))
            engine = connection.writer(self.url)
            with engine.begin() as link:
                migrate.bring_up(link)
            return engine
        except (OSError, sqlite3.Error, SQLAlchemyError) as error:
            if engine is not None:
                engine.dispose()
            raise StoreUnavailable(f"the ledger cannot be opened: {getattr(error, 'orig', error)}") from error

    def close(self) -> None:
        """Close the database and let go of the directory."""
        self._shut()
        self._lock.release()
