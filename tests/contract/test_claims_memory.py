"""The claims that tests use are as strict as the real ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autoheal.engine.clock import SystemClock
from autoheal.engine.ports import Claims
from autoheal.testing.memory_claims import MemoryClaims, Table
from tests.contract.claims import SharedClaimsContract


class TestMemoryClaims(SharedClaimsContract):
    @pytest.fixture
    def process(self) -> Callable[[str], Claims]:
        table = Table(SystemClock())
        return lambda name: MemoryClaims(table, name)
