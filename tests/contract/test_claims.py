"""Both kinds of claims fulfil the contract; what is PostgreSQL's alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from autoheal.engine.claims import LocalClaims
from autoheal.engine.clock import SystemClock
from autoheal.engine.ports import Claims, StoreUnavailable
from autoheal.store.claims import PostgresClaims
from tests.contract.claims import LONG, ClaimsContract, SharedClaimsContract
from tests.databases import Postgres, postgres


class TestPostgresClaims(SharedClaimsContract):
    @pytest.fixture
    def process(self, postgres_url: str) -> Iterator[Callable[[str], Claims]]:
        with ExitStack() as stack:
            yield lambda name: stack.enter_context(closing(PostgresClaims(postgres_url, name)))

    def test_what_is_old_is_forgotten(
        self, process: Callable[[str], Claims], postgres_url: str, postgres_server: Postgres
    ) -> None:
        ours, theirs = process("a"), process("b")
        database = postgres_url.rpartition("/")[2]
        theirs.present(0.0, {})
        theirs.take(["x"], 0.0)
        postgres_server.execute("UPDATE claims SET until = until - 86000", database=database)
        ours.present(LONG, {})
        assert [found.instance for found in ours.processes()] == ["a", "b"]
        postgres_server.execute("UPDATE claims SET until = until - 500 WHERE owner = 'b'", database=database)
        assert [found.instance for found in ours.processes()] == ["a"]
        ours.present(LONG, {})
        assert postgres_server.execute("SELECT owner FROM claims", database=database) == [("a",)]


class TestLocalClaims(ClaimsContract):
    @pytest.fixture
    def process(self) -> Callable[[str], Claims]:
        return lambda name: LocalClaims(name, SystemClock())


def test_a_database_that_is_gone_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    from autoheal.store import migrate

    with postgres(tmp_path) as server:
        migrate.upgrade(server.url)
        with closing(PostgresClaims(server.url, "a")) as claims:
            assert claims.take(["x"], LONG) == {"x"}
            server.kill()
            for call in (lambda: claims.take(["x"], 1), lambda: claims.present(1, {}), claims.processes, claims.leave):
                with pytest.raises(StoreUnavailable):
                    call()
            server.again()
            assert claims.take(["x", "y"], LONG) == {"x", "y"}
