"""A small real ledger for the tests of its readers: sealed events, appended through the store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoheal.core.events import seal
from autoheal.engine.ports import Head, Row
from autoheal.store.lines import row_of
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
    """A ledger in `directory` with its reader."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ledger = SqliteLedger(directory)
        self.url = self.ledger.url
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

    def close(self) -> None:
        self.reader.close()
        self.ledger.close()
