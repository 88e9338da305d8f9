"""The embedded ledger: lock, schema, permissions, durability settings, full disks."""

from __future__ import annotations

import os
import resource
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from autoheal.core.errors import Permanent
from autoheal.engine.ports import Fact, RemediationRow, StoreUnavailable
from autoheal.store import connection, migrate
from autoheal.store.lock import NAME, DirectoryHeld
from autoheal.store.query import Reader
from autoheal.store.schema import VERSION, metadata, number
from autoheal.store.sqlite import SqliteLedger
from tests.unit.store.trail import Trail


@pytest.fixture
def dialect() -> str:
    """Here the tests are about the embedded ledger alone."""
    return "sqlite"


@contextmanager
def files_end_at(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes: what a full disk looks like to a writer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def pragma(trail: Trail, name: str) -> object:
    link = trail.ledger._link.driver_connection
    return link.execute(f"PRAGMA {name}").fetchone()[0]


def test_the_writer_is_durable_and_its_log_bounded(trail: Trail) -> None:
    assert pragma(trail, "journal_mode") == "wal"
    assert pragma(trail, "synchronous") == 2
    assert pragma(trail, "wal_autocheckpoint") == connection.WAL_PAGES
    for _ in range(40):
        trail.add(*[{"output": "x" * 500}] * 1000)
    assert os.path.getsize(f"{trail.database}-wal") < 4 * connection.WAL_PAGES * 4096


def test_only_the_owner_can_read(trail: Trail) -> None:
    trail.add(count=1)
    assert stat.S_IMODE(trail.directory.stat().st_mode) == 0o700
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm", NAME):
        assert stat.S_IMODE((trail.directory / name).stat().st_mode) == 0o600


def test_a_second_autoheal_is_told_who_holds_the_directory(trail: Trail) -> None:
    code = (
        "import sys, pathlib\nfrom autoheal.store.sqlite import SqliteLedger\n"
        "try:\n SqliteLedger(pathlib.Path(sys.argv[1]))\nexcept Exception as e:\n print(type(e).__name__, e)\n"
    )
    command = [sys.executable, "-c", code, str(trail.directory)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.startswith("DirectoryHeld") and str(trail.directory) in said and f"process {os.getpid()}" in said
    with pytest.raises(DirectoryHeld):
        SqliteLedger(trail.directory)


def test_the_directory_is_free_again_after_close(tmp_path: Path) -> None:
    for _ in range(2):
        ledger = SqliteLedger(tmp_path)
        ledger.close()
        ledger.close()
    with pytest.raises(StoreUnavailable), ledger.transaction():
        pass
    with pytest.raises(StoreUnavailable):
        ledger.reopen()


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(Permanent, match="cannot be used"):
        SqliteLedger(tmp_path / "data")


def test_a_reader_needs_no_lock_and_cannot_write(trail: Trail) -> None:
    trail.add(count=2)
    with closing(Reader(trail.url)) as reader:
        assert reader.head().id == 2
        with pytest.raises(StoreUnavailable), reader._connection() as link:
            link.exec_driver_sql("DELETE FROM events")
    assert trail.reader.head().id == 2


def test_reading_what_is_not_there_is_an_error_and_makes_nothing(tmp_path: Path) -> None:
    with closing(Reader(connection.sqlite_url(tmp_path / "none.db"))) as reader, pytest.raises(StoreUnavailable):
        reader.query()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_writes_nothing_and_heals_by_itself(trail: Trail) -> None:
    trail.add(count=10)
    size = max(os.path.getsize(trail.database), os.path.getsize(f"{trail.database}-wal"))
    with files_end_at(size + 8192):
        with pytest.raises(StoreUnavailable):
            trail.add(*[{"output": "x" * 1000}] * 1000)
        trail.ledger.reopen()
        assert trail.ledger.load().head.id == 10
    trail.ledger.reopen()
    trail.add(count=1)
    assert len(trail.lines) == 11


def test_without_reopening_the_ledger_goes_on_too(trail: Trail) -> None:
    trail.add(count=3)
    link = trail.ledger._link.driver_connection
    pages = link.execute("PRAGMA page_count").fetchone()[0]
    link.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(StoreUnavailable, match="full"):
        trail.add(*[{"output": "x" * 1000}] * 100)
    link.execute("PRAGMA max_page_count=1000000")
    trail.add(count=1)
    assert len(trail.lines) == 4


def test_another_writer_that_stays_is_unavailable(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    trail.ledger._link.driver_connection.execute("PRAGMA busy_timeout=10")
    with closing(sqlite3.connect(trail.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            trail.add(count=1)
        other.execute("ROLLBACK")
    trail.add(count=1)


def test_clock_steps_are_noted_within_and_between_batches(trail: Trail) -> None:
    trail.add({"ts": 5.0}, {"ts": 4.0}, {"ts": 4.0}, {"ts": 9.0})
    trail.add({"ts": 9.0}, {"ts": 10.0})
    trail.add({"ts": 1.5})
    assert trail.reader.clock_steps() == [(7, 1.5, 10.0), (2, 4.0, 5.0)]


def test_the_first_event_is_no_step_even_before_1970(trail: Trail) -> None:
    trail.add({"ts": -5.0})
    assert trail.reader.clock_steps() == []


@pytest.mark.parametrize("name", ["", "r", "1", "r1x", "r-1", "r٣", "rr1"])
def test_a_remediation_id_without_a_number_is_refused(name: str, trail: Trail) -> None:
    with pytest.raises(ValueError):
        number(name)
    assert trail.reader.remediation(name) is None


def test_remediations_come_newest_first_and_by_filter(trail: Trail) -> None:
    entries = [
        RemediationRow(f"r{n}", "held" if n % 3 else "healed", f"rule{n % 2}", f"A{n % 5}", 100.0 - n, None, "{}")
        for n in range(9, 14)
    ]
    with trail.ledger.transaction() as transaction:
        transaction.save([Fact("a", "b", "c")], entries)
    assert trail.reader.remediations() == entries[::-1]
    assert trail.reader.remediations(n=2) == entries[:-3:-1]
    assert [row.id for row in trail.reader.remediations(state="healed")] == ["r12", "r9"]
    assert [row.id for row in trail.reader.remediations(rule="rule0")] == ["r12", "r10"]
    assert [row.id for row in trail.reader.remediations(rule="rule0", state="healed", alertname="A2")] == ["r12"]
    assert trail.reader.remediations(rule="a\0b") == [] == trail.reader.remediations(rule="\ud800")
    assert trail.reader.remediation("r13") == entries[-1]
    assert trail.reader.remediation("x13") is None and trail.reader.remediation("r" + "9" * 30) is None


def test_a_newer_schema_is_refused_and_untouched(tmp_path: Path) -> None:
    SqliteLedger(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as link:
        link.execute("UPDATE alembic_version SET version_num='9999'")
        link.commit()
    with pytest.raises(migrate.SchemaMismatch, match=rf"9999, newer than .*{VERSION}"):
        SqliteLedger(tmp_path)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as link:
        link.execute(f"UPDATE alembic_version SET version_num='{VERSION}'")
        link.commit()
    SqliteLedger(tmp_path).close()


def test_check_says_what_to_do(tmp_path: Path) -> None:
    url = connection.sqlite_url(tmp_path / "x.db")
    engine = connection.writer(url)
    with engine.begin() as link:
        with pytest.raises(migrate.SchemaMismatch, match="empty.*autoheal db upgrade"):
            migrate.check(link)
        assert migrate.bring_up(link) and not migrate.bring_up(link)
        migrate.check(link)
    engine.dispose()
    assert not migrate.upgrade(url)


def test_the_migrations_make_the_tables_that_the_code_means_and_go_down_again(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = connection.writer(connection.sqlite_url(tmp_path / "x.db"))
    with engine.begin() as link:
        migrate.bring_up(link)
        assert compare_metadata(MigrationContext.configure(link), metadata) == []
        made = set(link.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type='index' AND sql NOTNULL").scalars())
        other = create_engine("sqlite://")
        with other.begin() as plain:
            metadata.create_all(plain)
            meant = "SELECT sql FROM sqlite_master WHERE type='index' AND sql NOTNULL"
            assert made == set(plain.exec_driver_sql(meant).scalars())
        other.dispose()
        migrate.downgrade(link, "base")
        left = link.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='table'").scalars().all()
        assert left == ["alembic_version"]
    engine.dispose()


def test_a_start_on_an_existing_ledger_does_not_import_alembic(tmp_path: Path) -> None:
    SqliteLedger(tmp_path).close()
    code = (
        "import sys, pathlib\nfrom autoheal.store.sqlite import SqliteLedger\n"
        "SqliteLedger(pathlib.Path(sys.argv[1])).load()\nprint('alembic' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "False\n"


def test_an_event_is_found_by_its_id(trail: Trail) -> None:
    row = trail.add({"alertname": "Ünï", "rule": "r", "remediation_id": "r1"})[0]
    assert trail.reader.event(1) == row.line and trail.reader.event(2) is None


def test_reopening_may_fail_and_be_tried_again(trail: Trail) -> None:
    trail.add(count=2)
    trail.reader.close()
    aside = trail.directory.with_name("aside")
    trail.directory.rename(aside)
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        trail.ledger.reopen()
    with pytest.raises(StoreUnavailable), trail.ledger.transaction():
        pass
    aside.rename(trail.directory)
    trail.ledger.reopen()
    trail.add(count=1)
    assert len(trail.lines) == 3


def test_reopening_beside_readers_keeps_the_locks_so_that_nobody_else_takes_the_log_away(trail: Trail) -> None:
    trail.add(count=1)
    assert trail.reader.event(1)  # a connection that stays open
    log = trail.directory / "ledger.db-wal"
    before = log.stat().st_ino
    trail.ledger.reopen()
    look = "import sqlite3, sys\nlink = sqlite3.connect(sys.argv[1])\nlink.execute('SELECT * FROM events').fetchone()\n"
    subprocess.run([sys.executable, "-c", f"{look}link.close()", str(trail.database)], check=True, timeout=30)
    assert log.exists() and log.stat().st_ino == before
    trail.add(count=1)
    assert trail.reader.event(2)


def test_a_ledger_that_has_begun_cannot_begin_later(trail: Trail) -> None:
    trail.add(count=1)
    with pytest.raises(ValueError), trail.ledger.transaction() as transaction:
        transaction.start_after(9)
