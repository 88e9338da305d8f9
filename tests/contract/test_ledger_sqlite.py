"""The embedded ledger fulfils the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoheal.engine.ports import Ledger
from autoheal.store.sqlite import SqliteLedger
from tests.contract.ledger import LedgerContract


class TestSqliteLedger(LedgerContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Iterator[Callable[[], Ledger]]:
        opened: list[SqliteLedger] = []

        def connect() -> Ledger:
            for earlier in opened:
                earlier.close()
            opened.append(SqliteLedger(tmp_path / "data"))
            return opened[-1]

        yield connect
        for ledger in opened:
            ledger.close()

    def test_it_belongs_to_one_process(self, ledger: Ledger) -> None:
        assert not ledger.shared
