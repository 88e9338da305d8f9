"""Conversations in a file fulfil the contract; what is the file's alone."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoheal.core.errors import Permanent
from autoheal.engine.clock import SystemClock
from autoheal.engine.ports import StoreUnavailable
from autoheal.store.book import MOST_AHEAD
from autoheal.store.migrate import SchemaMismatch
from autoheal.store.threads import Threads, threads_url
from autoheal.testing.clock import ManualClock
from tests.contract.threads import LONG, Connect, ThreadsContract, claim, take, want, write


class TestThreadsFile(ThreadsContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Iterator[Connect]:
        opened: list[Threads] = []

        def connect() -> Threads:
            opened.append(Threads(threads_url(tmp_path / "data"), SystemClock()))
            return opened[-1]

        yield connect
        for threads in opened:
            threads.close()

    def test_it_belongs_to_one_machine_and_its_owner(self, threads: Threads, tmp_path: Path) -> None:
        write(threads, "k")
        assert not threads.shared
        for path in (tmp_path / "data").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        with sqlite3.connect(tmp_path / "data" / "threads.db") as link:
            assert link.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        link.close()

    def test_a_file_of_a_later_version_is_refused_and_untouched(self, threads: Threads, tmp_path: Path) -> None:
        write(threads, "k")
        threads.close()
        path = tmp_path / "data" / "threads.db"
        link = sqlite3.connect(path)
        link.execute("PRAGMA user_version = 99")
        with pytest.raises(SchemaMismatch, match="version 99, newer than .*threads|threads.db has version 99"):
            Threads(threads_url(path.parent), SystemClock())
        link.execute("PRAGMA user_version = 1")
        link.close()
        other = Threads(threads_url(path.parent), SystemClock())
        assert other.get("k") is not None
        other.close()

    def test_another_that_writes_the_file_for_long_is_unavailable(
        self, threads: Threads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from autoheal.store import threads_file

        write(threads, "k")
        link = sqlite3.connect(tmp_path / "data" / "threads.db", isolation_level=None)
        threads._door._link.driver_connection.execute("PRAGMA busy_timeout=20").fetchall()  # type: ignore[union-attr]
        link.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"), threads.transaction() as book:
            book.lock(["k"])
        link.execute("ROLLBACK")
        link.close()
        assert claim(threads, "a") == []
        monkeypatch.setattr(threads_file, "WAIT_SECONDS", 0.02)
        with threads.transaction(), pytest.raises(StoreUnavailable, match="busy"), threads.transaction():
            pass

    def test_a_full_disk_is_unavailable_and_loses_nothing(self, threads: Threads) -> None:
        write(threads, "k", "before")
        threads._door._link.driver_connection.execute("PRAGMA max_page_count=40").fetchall()  # type: ignore[union-attr]
        with pytest.raises(StoreUnavailable, match="full"), threads.transaction() as book:
            stored = book.lock(["k"])["k"]
            stored.data = "x" * 10**6
            book.save(stored)
        assert threads.get("k").data == "before"  # type: ignore[union-attr]
        write(threads, "k", "x" * 10**6)
        assert len(threads.get("k").data) == 10**6  # type: ignore[union-attr]

    def test_a_folder_that_cannot_be_written_is_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreUnavailable, match="cannot be opened"):
            Threads(threads_url(tmp_path / "file"), SystemClock())

    def test_what_is_no_database_is_said_so(self, tmp_path: Path) -> None:
        (tmp_path / "threads.db").write_bytes(b"no database at all, but long enough to be taken for one\n" * 90)
        with pytest.raises((StoreUnavailable, Permanent), match="not a database"):
            Threads(threads_url(tmp_path), SystemClock())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def timed(tmp_path: Path, clock: ManualClock) -> Iterator[Threads]:
    threads = Threads(threads_url(tmp_path), clock)
    yield threads
    threads.close()


def test_the_clock_that_is_given_counts(timed: Threads, clock: ManualClock) -> None:
    assert write(timed, "k", due=clock.now() + 10).updated == clock.now()
    want(timed, "k", late=5)
    assert claim(timed, "a") == []
    clock.advance(5)
    assert claim(timed, "a", LONG) == ["k"]
    clock.advance(LONG - 1)
    assert claim(timed, "b") == []
    with timed.transaction() as book:
        assert list(book.due(9)) == ["k"] and book.now == clock.now()
    clock.advance(1)
    assert claim(timed, "b") == ["k"]


@pytest.mark.parametrize(("interval", "burst"), [(1.0, 1), (1.0, 4), (0.3, 2.5), (1.5, 10)])
def test_a_bucket_keeps_its_rate_to_the_token(
    timed: Threads, clock: ManualClock, interval: float, burst: float
) -> None:
    """Asked whenever it says, it gives its burst at once and then one each interval; after a rest the burst again."""
    given: list[float] = []
    start = clock.now()
    for _ in range(2):
        rest = clock.now()
        first = len(given)
        while len(given) < first + 30:
            left = take(timed, "b", interval, burst)
            if left is None:
                given.append(clock.now() - rest)
            else:
                clock.advance(left + 1e-6)
        expected = [max(0.0, (n - burst + 1) * interval) for n in range(30)]
        assert given[first:] == pytest.approx(expected, abs=0.001)
        clock.advance(burst * interval)
    assert clock.now() > start


def test_a_block_ends_with_one_at_a_time(timed: Threads, clock: ManualClock) -> None:
    with timed.transaction() as book:
        book.block("b", clock.now() + 30)
    clock.advance(30)
    assert take(timed, "b", 1.0, 5) is None
    assert take(timed, "b", 1.0, 5) == pytest.approx(1.0)
    clock.advance(20)
    assert [take(timed, "b", 1.0, 5) for _ in range(5)] == [None] * 5
    assert take(timed, "b", 1.0, 5) is not None


def test_the_clock_goes_back_and_the_bucket_goes_on(timed: Threads, clock: ManualClock) -> None:
    assert take(timed, "b", 1.0, 1) is None
    clock.jump(-3600)
    assert take(timed, "b", 1.0, 1) == pytest.approx(1.0 + MOST_AHEAD)
    clock.advance(1.01 + MOST_AHEAD)
    assert take(timed, "b", 1.0, 1) is None
