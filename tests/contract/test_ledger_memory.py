"""The ledger that tests use in memory fulfils the contract of the real ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autoheal.engine.ports import Ledger
from autoheal.testing.memory_ledger import Disk, MemoryLedger
from tests.contract.ledger import LedgerContract, SharedLedgerContract


class TestMemoryLedger(LedgerContract):
    @pytest.fixture
    def connect(self) -> Callable[[], Ledger]:
        disk = Disk()
        return lambda: MemoryLedger(disk)


class TestSharedMemoryLedger(SharedLedgerContract):
    @pytest.fixture
    def connect(self) -> Callable[[], Ledger]:
        disk = Disk()
        return lambda: MemoryLedger(disk, shared=True)
