"""Conversations in PostgreSQL fulfil the contract; what is PostgreSQL's alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from autoheal.engine.clock import SystemClock
from autoheal.engine.ports import StoreUnavailable
from autoheal.store import migrate
from autoheal.store.threads import Threads
from autoheal.testing.clock import ManualClock
from tests.contract.threads import Connect, SharedThreadsContract, claim, together, want, write
from tests.databases import Postgres, postgres


class TestThreadsServer(SharedThreadsContract):
    @pytest.fixture
    def connect(self, postgres_url: str, postgres_server: Postgres) -> Iterator[Connect]:
        opened: list[Threads] = []

        def connect() -> Threads:
            opened.append(Threads(postgres_url, SystemClock()))
            return opened[-1]

        yield connect
        for threads in opened:
            threads.close()
        told = "SELECT deadlocks FROM pg_stat_database WHERE datname = %s"
        assert postgres_server.execute(told, postgres_url.rpartition("/")[2]) == [(0,)]

    def test_it_is_shared_and_the_databases_clock_counts(self, postgres_url: str) -> None:
        with closing(Threads(postgres_url, ManualClock(0.0))) as threads:
            assert threads.shared
            with threads.transaction() as book:
                assert abs(book.now - time.time()) < 5

    def test_to_lock_save_and_want_is_two_round_trips(self, threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
        import psycopg

        write(threads, "k")
        trips: list[int] = []
        pipeline = psycopg.Connection.pipeline
        monkeypatch.setattr(psycopg.Connection, "pipeline", lambda link: trips.append(1) or pipeline(link))
        with threads.transaction() as book:
            stored = book.lock(["k"])["k"]
            book.save(stored, {"f": "A"})
            book.want("k", "post", "#a", 0, book.now)
        assert len(trips) == 2

    def test_a_transaction_in_which_nothing_happens_asks_nothing(self, threads: Threads) -> None:
        with threads.transaction():
            pass
        with threads.transaction() as book:
            book.want("k", "post", "#a", 0, 0.0)
        assert claim(threads, "a") == ["k"]

    def test_who_freezes_with_a_conversation_in_hand_is_thrown_out(self, threads: Threads, connect: Connect) -> None:
        write(threads, "k", "1")
        other = connect()
        with pytest.raises(StoreUnavailable), threads.transaction() as book:
            stored = book.lock(["k"])["k"]
            with other.transaction() as beside:
                theirs = beside.lock(["k"])["k"]  # waits until the first one is thrown out
                theirs.data = "2"
                beside.save(theirs)
            stored.data = "3"
            book.save(stored)
        assert threads.get("k").data == "2"  # type: ignore[union-attr]
        assert write(threads, "k", "4").found

    def test_a_crowd_shares_few_connections(self, postgres_url: str) -> None:
        with closing(Threads(postgres_url, SystemClock(), pool_size=1)) as threads:

            def hammer(n: int) -> None:
                for round_ in range(10):
                    with threads.transaction() as book:
                        book.want(f"k{n}", "post", "#a", 0, book.now)
                        book.take(f"bucket {n} {round_}", 1.0, 1)

            together(*(lambda n=n: hammer(n) for n in range(8)))  # type: ignore[misc]
            assert len(claim(threads, "a")) == 8


def test_an_empty_database_gets_its_schema_and_an_older_one_is_refused(empty_postgres_url: str) -> None:
    from alembic import command

    from autoheal.store import connection

    engine = connection.writer(empty_postgres_url)
    with engine.begin() as link:
        command.upgrade(migrate._config(link), "0002")
    engine.dispose()
    with pytest.raises(migrate.SchemaMismatch, match="autoheal db upgrade"):
        Threads(empty_postgres_url, SystemClock())
    assert migrate.upgrade(empty_postgres_url)
    with closing(Threads(empty_postgres_url, SystemClock())) as threads:
        assert claim(threads, "a") == []


def test_a_database_that_is_gone_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    with postgres(tmp_path) as server, closing(Threads(server.url, SystemClock())) as threads:
        write(threads, "k")
        want(threads, "k")
        with pytest.raises(StoreUnavailable), threads.transaction() as book:
            book.lock(["k"])
            server.kill()
            book.want("lost", "post", "#a", 0, 0.0)
        calls: list[Any] = [lambda: claim(threads, "a"), threads.figures, lambda: threads.get("k")]
        for call in calls:
            with pytest.raises(StoreUnavailable):
                call()
        with pytest.raises(StoreUnavailable):
            Threads(server.url, SystemClock())
        server.again()
        assert claim(threads, "a") == ["k"]
        assert threads.figures().open == 1


def test_connections_that_broke_while_nobody_used_them_are_replaced(tmp_path: Path) -> None:
    with postgres(tmp_path) as server, closing(Threads(server.url, SystemClock())) as threads:
        write(threads, "k")
        together(*(lambda: claim(threads, "a") for _ in range(4)))
        server.stop()
        server.again()
        for key in ("one", "two", "three"):
            want(threads, key)
        assert len(claim(threads, "a")) == 3
        assert threads.get("k") is not None
