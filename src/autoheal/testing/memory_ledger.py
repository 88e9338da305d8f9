"""A ledger in memory that passes the contract of the real ones, and fails when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from autoheal.core.events import GENESIS
from autoheal.core.remediation import OPEN, UNKNOWN
from autoheal.engine.ports import Fact, Head, RemediationRow, Row, Snapshot, StoreUnavailable

Place = Literal["load", "begin", "append", "save", "commit", "after_commit", "reopen"]


@dataclass
class Disk:
    """What outlives a process: give the same one to two ledgers and they are two processes on one store."""

    head: Head = field(default_factory=lambda: Head(0, GENESIS, 0.0))
    rows: list[Row] = field(default_factory=list)
    facts: dict[tuple[str, str], Fact] = field(default_factory=dict)
    remediations: dict[str, RemediationRow] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class MemoryTransaction:
    """Gathers what is written; nothing reaches the disk before the commit."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self.head = ledger.disk.head
        self.rows: list[Row] = []
        self.facts: list[Fact] = []
        self.remediations: list[RemediationRow] = []

    def fact(self, space: str, key: str) -> str | None:
        found = self._ledger.disk.facts.get((space, key))
        return None if found is None else found.data

    def missed(self, after: int) -> Iterable[str]:
        return [row.line for row in self._ledger.disk.rows if row.id > after]

    def append(self, rows: Sequence[Row], head: Head) -> None:
        if not rows:
            return
        self._ledger.trip("append")
        ids = [row.id for row in rows]
        if ids != list(range(self.head.id + 1, head.id + 1)):
            raise ValueError(f"events {ids[0]}–{ids[-1]} do not lead from {self.head.id} to {head.id}")
        self.rows += rows
        self.head = head

    def save(self, facts: Sequence[Fact], remediations: Sequence[RemediationRow]) -> None:
        self._ledger.trip("save")
        self.facts += facts
        self.remediations += remediations


class MemoryLedger:
    """`engine.ports.Ledger` on a `Disk`. `fail` breaks it at one place, for some times or until `mend`."""

    def __init__(self, disk: Disk | None = None, shared: bool = False) -> None:
        self.disk = disk or Disk()
        self.shared = shared
        self.commits = 0
        self.loads = 0
        self._broken: dict[Place, int | None] = {}
        self._skip: dict[Place, int] = {}
        self._error: Exception | None = None

    # ---- what a test says ------------------------------------------------------------------------------------

    def fail(self, place: Place, times: int | None = 1, error: Exception | None = None, skip: int = 0) -> None:
        """Break `place` for `times` uses (None: until `mend`), after `skip` good ones; `error` for StoreUnavailable.

        ``after_commit`` is the lost answer: all is written, and yet an error is raised.
        """
        self._broken[place] = times
        self._skip[place] = skip
        self._error = error

    def mend(self) -> None:
        self._broken.clear()
        self._error = None

    def trip(self, place: Place) -> None:
        if place not in self._broken:
            return
        if self._skip[place] > 0:
            self._skip[place] -= 1
            return
        left = self._broken[place]
        if left is not None:
            if left <= 1:
                del self._broken[place]
            else:
                self._broken[place] = left - 1
        raise self._error or StoreUnavailable(f"the test broke {place!r}")

    def lines_after(self, after: int, limit: int = 1000) -> list[tuple[int, str]]:
        """`engine.ports.News` on the same disk."""
        self.trip("load")
        return [(row.id, row.line) for row in self.disk.rows[after : after + limit]]

    # ---- the port --------------------------------------------------------------------------------------------

    def load(self) -> Snapshot:
        with self.disk.lock:
            self.trip("load")
            self.loads += 1
            unfinished = [row for row in self.disk.remediations.values() if row.state in OPEN or row.state == UNKNOWN]
            unfinished.sort(key=lambda row: int(row.id.removeprefix("r")))
            return Snapshot(self.disk.head, list(self.disk.facts.values()), unfinished)

    @contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        with self.disk.lock:
            self.trip("begin")
            transaction = MemoryTransaction(self)
            yield transaction
            self.trip("commit")
            self._commit(transaction)
            self.trip("after_commit")

    def _commit(self, transaction: MemoryTransaction) -> None:
        disk = self.disk
        disk.head = transaction.head
        disk.rows += transaction.rows
        for fact in transaction.facts:
            if fact.data is None:
                disk.facts.pop((fact.space, fact.key), None)
            else:
                disk.facts[(fact.space, fact.key)] = fact
        for row in transaction.remediations:
            disk.remediations[row.id] = row
        self.commits += 1

    def reopen(self) -> None:
        self.trip("reopen")
