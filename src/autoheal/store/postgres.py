"""The ledger on PostgreSQL: shared by every process that is given the same URL."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from sqlalchemy import Engine

from autoheal.engine.ports import Snapshot, StoreUnavailable
from autoheal.store import connection, migrate
from autoheal.store.ledger import LedgerTransaction, SqlLedger, Together


class PostgresLedger(SqlLedger):
    """`engine.ports.Ledger` at a PostgreSQL URL. An empty database gets its schema.

    Raises SchemaMismatch where another version's schema is there, Permanent where the URL or the rights are wrong,
    StoreUnavailable where the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(self._ready)

    def _ready(self) -> Engine:
        engine = connection.writer(self.url)
        self._pipelines: bool = engine.dialect.loaded_dbapi.Pipeline.is_supported()
        try:
            migrate.make_ready(engine)
            return engine
        except BaseException:
            engine.dispose()
            raise

    def load(self) -> Snapshot:
        """As one moment has it. The head is locked only to wait for what a connection that we lost still commits."""
        with self.transaction():
            pass
        return self._read_all()

    def _read_all(self) -> Snapshot:
        link = self._link.driver_connection
        try:
            link.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            with connection.unlimited(link), link.cursor() as cursor:
                return LedgerTransaction(cursor, self._statements, lock=False).everything()
        except self._errors as error:
            raise StoreUnavailable(self._text(error)) from error
        finally:
            self._roll_back(link)

    def _together(self, connection: Any) -> Together:
        """In pipeline mode a move is two round trips: the head's row, and everything that is written."""
        pipeline: Together = connection.pipeline
        return pipeline if self._pipelines else nullcontext
