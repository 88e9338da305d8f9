"""What every service stands on: its ledger, the clock that goes with it, and who else is there."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from autoheal import actions
from autoheal.config.policy_file import read_document
from autoheal.config.settings import Settings
from autoheal.core.backoff import delay
from autoheal.core.errors import Permanent
from autoheal.core.policy import Policy
from autoheal.engine.claims import LocalClaims, instance_name
from autoheal.engine.clock import LedgerClock, SystemClock
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Claims, Clock, Fact, StoreUnavailable
from autoheal.store.claims import PostgresClaims
from autoheal.store.connection import turned_away, where
from autoheal.store.ledger import SqlLedger
from autoheal.store.postgres import PostgresLedger
from autoheal.store.query import Reader
from autoheal.store.sqlite import SqliteLedger
from autoheal.store.transfer import refuse_if_moved

log = structlog.get_logger("assembly")
T = TypeVar("T")

WAIT_FOR_DATABASE: float = 60.0
"""Seconds for which a starting process waits for a database that is not there yet."""


@dataclass(slots=True)
class Ground:
    """The ledger and what lies beside it. `close` lets go of all of it."""

    ledger: SqlLedger
    reader: Reader
    clock: Clock
    claims: Claims
    url: str

    @property
    def place(self) -> str:
        """Where the ledger is, without user or password: for the log."""
        return where(self.url)

    @property
    def shared(self) -> bool:
        return self.ledger.shared

    def head(self, policy: Policy) -> HeadThread:
        """The head of this process; its policy is the given one until the ledger says otherwise."""
        return HeadThread(self.ledger, self.clock, policy, news=self.reader.lines_after, adopt=_adopt)

    def stored(self, space: str) -> Sequence[Fact]:
        """One space of facts, as the ledger has it now."""
        return self.reader.facts(space)

    def close(self) -> None:
        self.reader.close()
        self.ledger.close()
        if isinstance(self.claims, PostgresClaims):
            self.claims.close()


def lay(settings: Settings) -> Ground:
    """The ground that the settings describe: PostgreSQL with DATABASE_URL, else SQLite in the data directory.

    Raises Permanent for what a person must change, StoreUnavailable where a database did not come in time.
    """
    instance = instance_name(socket.gethostname(), os.getpid())
    if settings.database_url is None:
        system = SystemClock()
        ledger = SqliteLedger(settings.data_dir)
        try:
            refuse_if_moved(settings.data_dir)  # under the lock: an import holds it until the note is there
        except BaseException:
            ledger.close()
            raise
        return Ground(ledger, Reader(ledger.url), system, LocalClaims(instance, system), ledger.url)
    url = settings.database_url.reveal()
    shared = patiently(lambda: PostgresLedger(url), url=url)
    return Ground(
        shared,
        Reader(url, settings.database_pool),
        LedgerClock(SystemClock()),
        PostgresClaims(url, instance),
        url,
    )


def patiently(work: Callable[[], T], seconds: float | None = None, url: str = "") -> T:
    """Try until the database is there: services start in any order. StoreUnavailable after `seconds`.

    Permanent at once where the server at `url` answers and does not let us in.
    """
    clock, never = SystemClock(), threading.Event()
    deadline = clock.monotonic() + (WAIT_FOR_DATABASE if seconds is None else seconds)
    attempt = 0
    while True:
        try:
            return work()
        except StoreUnavailable as error:
            if url and (why := turned_away(error, url)):
                raise Permanent(why) from error
            attempt += 1
            pause = delay(attempt, 0.5, 5.0, 0.5, "equal")
            if clock.monotonic() + pause > deadline:
                raise
            log.warning("waiting_for_the_database", error=str(error), attempt=attempt)
            never.wait(pause)


def _adopt(document: str) -> Policy:
    return read_document(document, actions.KINDS)
