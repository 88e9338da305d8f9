"""A small real ledger for the tests of its readers: sealed events, appended through the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoheal.core.events import seal
from autoheal.engine.ports import Head, Row
from autoheal.store.connection import second_writer
from autoheal.store.lines import row_of
from autoheal.store.postgres import PostgresLedger
from autoheal.store.query import Reader
from autoheal.store.sqlite import SqliteLedger, database_path


def sealed(head: Head, events: Sequence[Mapping[str, Any]]) -> tuple[list[Row], Head]:
    """Rows for `events` (ids are given here; `ts` and `kind` have defaults), chained to `head`."""
    rows, at = [], head
    for event in events:
        event_id = at.id + 1
        body = {"id": event_id, "ts": float(event_id), "kind": "decision_skip", **event}
        line, digest = seal(json.dumps(body, separators=(",", ":")).encode(), at.hash)
        row = row_of(line)
        assert row is not None
        rows.append(row)
        at = Head(event_id, digest, row.ts)
    return rows, at


class Trail:
    """A ledger with its reader: in `directory`, or at a PostgreSQL's `url` with its files in `directory`."""

    def __init__(self, directory: Path, url: str = "", drop: Callable[[str], None] = lambda url: None) -> None:
        """`drop` is called with the URL at the end."""
        self.directory = directory
        self.ledger: SqliteLedger | PostgresLedger
        if url:
            directory.mkdir(parents=True)
            self.ledger = PostgresLedger(url)
        else:
            self.ledger = SqliteLedger(directory)
        self.url = self.ledger.url
        self._drop = drop
        self.database = database_path(directory)
        self.reader = Reader(self.url)
        self.copy = directory / "audit.jsonl"

    def add(self, *events: Mapping[str, Any], count: int = 0) -> list[Row]:
        """Append the events given, or `count` plain ones."""
        with self.ledger.transaction() as transaction:
            rows, head = sealed(transaction.head, events or [{}] * count)
            transaction.append(rows, head)
        return rows

    @property
    def lines(self) -> list[str]:
        return [line for _, line in self.reader.lines_after(0, 1_000_000)]

    def sql(self, *statements: str | tuple[str, Sequence[Any]]) -> list[Any]:
        """Statements past the store, `?` for each value, committed together; the last one's rows."""
        engine = second_writer(self.url)
        try:
            with engine.begin() as link:
                rows: list[Any] = []
                for each in statements:
                    text, values = (each, ()) if isinstance(each, str) else each
                    if link.dialect.name == "postgresql":
                        text = text.replace("?", "%s")
                    result = link.exec_driver_sql(text, tuple(values))
                    rows = [tuple(row) for row in result] if result.returns_rows else []
                return rows
        finally:
            engine.dispose()

    def close(self) -> None:
        self.reader.close()
        self.ledger.close()
        drop, self._drop = self._drop, lambda url: None
        drop(self.url)
