"""The shared ledger fulfils the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from autoheal.engine.ports import Ledger
from autoheal.store.postgres import PostgresLedger
from tests.contract.ledger import SharedLedgerContract


class TestPostgresLedger(SharedLedgerContract):
    @pytest.fixture
    def connect(self, postgres_url: str) -> Iterator[Callable[[], Ledger]]:
        opened: list[PostgresLedger] = []

        def connect() -> Ledger:
            opened.append(PostgresLedger(postgres_url))
            return opened[-1]

        yield connect
        for ledger in opened:
            ledger.close()
