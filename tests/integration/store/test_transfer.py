"""Moving an embedded ledger into PostgreSQL: every byte arrives, all of it or nothing, and nobody acts twice."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from autoheal.core.errors import Permanent
from autoheal.core.moves.service import Stopped
from autoheal.engine.clock import SystemClock
from autoheal.engine.ports import Fact, Head, RemediationRow, StoreUnavailable
from autoheal.store import schema, transfer
from autoheal.store.lock import DirectoryHeld
from autoheal.store.query import Reader
from autoheal.store.replay import verify_state
from autoheal.store.sqlite import SqliteLedger, database_path, database_url
from autoheal.store.threads import Channel, Threads, threads_url
from autoheal.store.transfer import LedgerDamaged, TargetNotEmpty, refuse_if_moved
from autoheal.store.verify import verify_database
from tests.databases import Postgres, postgres
from tests.unit.core.auditor import FIRST
from tests.unit.store.test_replay import Headed, story
from tests.unit.store.trail import Trail, sealed

TABLES = ("head", "events", "clock_steps", "facts", "remediations")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory into which a real head wrote one of everything."""
    it = Headed(FIRST, directory=tmp_path_factory.mktemp("lived") / "data")
    story(it)
    it.play(Stopped("test"))
    it.stop()
    return it.directory


@pytest.fixture
def directory(lived: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lived, tmp_path / "data"))


def in_sqlite(directory: Path, table: str, file: str = "ledger.db") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(directory / file)) as connection:
        return sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)


def in_postgres(url: str, table: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return sorted(connection.execute(f"SELECT * FROM {table}".encode()).fetchall(), key=repr)


def lines(url: str) -> bytes:
    reader = Reader(url, 1)
    try:
        return "".join(f"{line}\n" for _, line in reader.lines_after(0, 100_000)).encode()
    finally:
        reader.close()


# ---- what arrives ---------------------------------------------------------------------------------------------------


def test_every_row_of_every_table_arrives_as_it_is(directory: Path, empty_postgres_url: str) -> None:
    moved = transfer.transfer(directory, empty_postgres_url)
    for table in TABLES:
        rows = in_sqlite(directory, table)
        assert rows and in_postgres(empty_postgres_url, table) == rows, table
    exported = lines(empty_postgres_url)
    assert exported == lines(database_url(directory))
    assert moved.sha256 == hashlib.sha256(exported).hexdigest()
    assert (moved.first, moved.head.id, moved.already) == (1, len(exported.splitlines()), False)
    assert (moved.facts, moved.remediations) == tuple(len(in_sqlite(directory, t)) for t in TABLES[3:])
    assert verify_database(empty_postgres_url).ok and verify_state(empty_postgres_url).ok


def test_every_table_is_either_moved_or_known_not_to_be() -> None:
    moved = {table.name for table in transfer.MOVES}
    conversations = {table.name for table in schema.THREADS}
    assert moved | conversations | {"head", "claims"} == set(schema.metadata.tables)


def test_the_conversations_beside_the_ledger_move_with_it(directory: Path, empty_postgres_url: str) -> None:
    talk(directory)
    moved = transfer.transfer(directory, empty_postgres_url)
    assert moved.conversations == 2
    for table in schema.THREADS:
        rows = in_sqlite(directory, table.name, "threads.db")
        assert rows and in_postgres(empty_postgres_url, table.name) == rows, table.name
    with closing(Threads(empty_postgres_url, SystemClock())) as threads, threads.transaction() as book:
        assert book.cursor() == 7 and book.keys_of(["f\tü"]) == {"f\tü": ["k\\N"]}
        assert [work.key for work in book.claim("a", 30, 9)] == ["k\\N"]


def test_a_file_in_which_nothing_was_made_yet_is_none(directory: Path, empty_postgres_url: str) -> None:
    (directory / "threads.db").touch()
    assert transfer.transfer(directory, empty_postgres_url).conversations == 0
    assert in_postgres(empty_postgres_url, "thread_cursor") == [(1, -1)]


def test_conversations_that_do_not_fit_keep_everything_from_moving(directory: Path, empty_postgres_url: str) -> None:
    talk(directory)
    with closing(sqlite3.connect(directory / "threads.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(Permanent, match="version 99"):
        transfer.transfer(directory, empty_postgres_url)
    assert not (directory / transfer.NOTE).exists()


def test_a_database_that_has_conversations_already_is_refused(directory: Path, empty_postgres_url: str) -> None:
    with closing(Threads(empty_postgres_url, SystemClock())) as threads, threads.transaction() as book:
        book.create("k")
    with pytest.raises(TargetNotEmpty, match="threads"):
        transfer.transfer(directory, empty_postgres_url)


def talk(directory: Path) -> None:
    """A row or two in each table of the conversations."""
    with closing(Threads(threads_url(directory), SystemClock())) as threads, threads.transaction() as book:
        for key in ("k\\N", "a"):
            stored = book.create(key)
            stored.data, stored.open, stored.due = '{"\\u0000": "tab\t"}', True, 0.1 + 0.2
            book.save(stored, {"f\tü": "A \\. b"} if key != "a" else {})
        book.want("k\\N", "post", "#a", 1, 0.0)
        assert book.take("#a", 1.5, 2) is None
        book.put_channel(Channel("#a", "C1", "ok", "", 1.5, 2.5))
        book.stray("g", 5, "{}", 1.0)
        book.cursor()
        book.advance(7)


def test_texts_and_numbers_that_are_hard_to_keep_arrive(tmp_path: Path, empty_postgres_url: str) -> None:
    trail = Trail(tmp_path / "data")
    trail.add({"kind": "stopped", "ts": 0.1 + 0.2, "alertname": "tab\there \\N \\. line\nend ü 🜁 \u2028", "rule": ""})
    facts = [
        Fact("B", "k", '"\\u0000"', 1e-308),
        Fact("a", "K", "{}"),
        Fact("a", "k", "\\N\t\n"),
        Fact("ä", "", "[]", 2),
    ]
    with trail.ledger.transaction() as transaction:
        transaction.save(facts, [RemediationRow("r9", "healed", "r", "a", 1 / 3, None, '{"x":"\\\\."}')])
    trail.close()
    transfer.transfer(trail.directory, empty_postgres_url)
    for table in ("events", "facts", "remediations"):
        assert in_postgres(empty_postgres_url, table) == in_sqlite(trail.directory, table)


def test_what_is_read_back_comes_in_the_order_of_bytes_whatever_the_database_sorts_by() -> None:
    """The PostgreSQL of the tests knows no other order; Debian's with ICU was tried by hand."""
    assert transfer._in_bytes_order(schema.facts.c.space) == 'space COLLATE "C"'
    assert transfer._in_bytes_order(schema.events.c.id) == "id"


def test_a_ledger_whose_first_part_retention_took_keeps_its_anchor(tmp_path: Path, empty_postgres_url: str) -> None:
    trail = Trail(tmp_path / "data")
    with trail.ledger.transaction() as transaction:
        transaction.start_after(2_499_999)
        transaction.append(*sealed(transaction.head, [{"kind": "stopped"}] * 3))
    trail.close()
    moved = transfer.transfer(trail.directory, empty_postgres_url)
    assert (moved.first, moved.head.id) == (2_500_000, 2_500_002)
    report = verify_database(empty_postgres_url)
    assert report.ok and (report.first_id, report.last_id) == (2_500_000, 2_500_002)


def test_ids_go_on_over_the_partitions_and_the_chain_goes_on_where_it_was(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    from autoheal.store.postgres import PostgresLedger

    trail = Trail(tmp_path / "data")
    with trail.ledger.transaction() as transaction:
        transaction.start_after(999_997)
        transaction.append(*sealed(transaction.head, [{"kind": "stopped"}] * 5))
    trail.close()
    transfer.transfer(trail.directory, empty_postgres_url)
    ledger = PostgresLedger(empty_postgres_url)
    with ledger.transaction() as transaction:
        assert transaction.head.id == 1_000_002
        transaction.append(*sealed(transaction.head, [{"kind": "stopped"}] * 5))
    ledger.close()
    report = verify_database(empty_postgres_url)
    assert report.ok and report.checked == 10


def test_progress_tells_every_step(directory: Path, empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_BATCH", 1)
    told: list[tuple[str, int, int]] = []
    transfer.transfer(directory, empty_postgres_url, lambda *step: told.append(step))
    count = len(in_sqlite(directory, "events"))
    assert told[0] == ("verifying", 0, 0) and told[-1] == ("tidying up", 0, 0)
    assert [done for what, done, total in told if what == "copying events"] == list(range(1, count + 1))
    assert ("reading facts back", 1, len(in_sqlite(directory, "facts"))) in told


# ---- what is refused ------------------------------------------------------------------------------------------------


def untouched(url: str) -> bool:
    """Whether nothing at all was written: no schema, or an empty ledger."""
    with psycopg.connect(url) as connection:
        [(there,)] = connection.execute("SELECT to_regclass('events') IS NOT NULL").fetchall()
        return not there or all(not in_postgres(url, table) for table in TABLES[1:])


def test_a_damaged_ledger_is_not_moved(directory: Path, empty_postgres_url: str) -> None:
    with closing(sqlite3.connect(database_path(directory))) as connection, connection:
        connection.execute("UPDATE events SET line = replace(line, '\"kind\"', '\"kinD\"') WHERE id = 3")
    with pytest.raises(LedgerDamaged, match="row 3 of events") as caught:
        transfer.transfer(directory, empty_postgres_url)
    assert not caught.value.report.ok
    assert untouched(empty_postgres_url) and not (directory / "MOVED").exists()


def test_a_ledger_in_use_is_not_moved(tmp_path: Path, empty_postgres_url: str) -> None:
    trail = Trail(tmp_path / "data")
    trail.add(count=2)
    with pytest.raises(DirectoryHeld, match="stop it first"):
        transfer.transfer(trail.directory, empty_postgres_url)
    assert untouched(empty_postgres_url)
    trail.close()


def test_where_there_is_nothing_there_is_nothing_to_move(tmp_path: Path, empty_postgres_url: str) -> None:
    with pytest.raises(Permanent, match="there is no ledger in"):
        transfer.transfer(tmp_path, empty_postgres_url)
    (tmp_path / "audit.jsonl").write_text("")
    with pytest.raises(Permanent, match="start Autoheal on it once"):
        transfer.transfer(tmp_path, empty_postgres_url)
    SqliteLedger(tmp_path / "fresh").close()
    assert transfer.stock(tmp_path / "fresh") == transfer.Stock(None, Head(0, "0" * 64, 0.0))
    with pytest.raises(Permanent, match="has no events"):
        transfer.transfer(tmp_path / "fresh", empty_postgres_url)
    assert not (tmp_path / "fresh" / "MOVED").exists() and not (tmp_path / "autoheal.lock").exists()


def test_another_ledger_is_not_written_over(directory: Path, tmp_path: Path, empty_postgres_url: str) -> None:
    other = Trail(tmp_path / "other")
    other.add(count=500)
    other.close()
    transfer.transfer(other.directory, empty_postgres_url)
    before = in_postgres(empty_postgres_url, "events")
    with pytest.raises(TargetNotEmpty, match="stands at event 500 and is not this one"):
        transfer.transfer(directory, empty_postgres_url)
    assert in_postgres(empty_postgres_url, "events") == before and not (directory / "MOVED").exists()


@pytest.mark.parametrize("table", ["facts", "remediations"])
def test_a_database_with_anything_in_it_is_not_empty(directory: Path, postgres_url: str, table: str) -> None:
    rows = {
        "facts": "INSERT INTO facts (space, key, data) VALUES ('a', 'b', '{}')",
        "remediations": "INSERT INTO remediations VALUES (1, 'r1', 'healed', 'r', 'a', 1, 2, '{}')",
    }
    with psycopg.connect(postgres_url) as connection:
        connection.execute(rows[table].encode())
    with pytest.raises(TargetNotEmpty, match=table):
        transfer.transfer(directory, postgres_url)
    assert in_postgres(postgres_url, "events") == [] and not (directory / "MOVED").exists()


def test_what_arrives_changed_is_not_kept(directory: Path, postgres_url: str) -> None:
    """A trigger stands for whatever could come between."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.line = replace(NEW.line, '\"id\":3,', '\"id\":3, '); RETURN NEW; END $$"
        )
        connection.execute("CREATE TRIGGER spoil BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION spoil()")
    with pytest.raises(Permanent, match="what arrived in events is not what was sent"):
        transfer.transfer(directory, postgres_url)
    assert untouched(postgres_url) and not (directory / "MOVED").exists()


def test_a_column_that_arrives_changed_is_not_kept(directory: Path, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.due = NEW.due + 1e-6; RETURN NEW; END $$"
        )
        connection.execute("CREATE TRIGGER spoil BEFORE INSERT ON facts FOR EACH ROW EXECUTE FUNCTION spoil()")
    with pytest.raises(Permanent, match="what arrived in facts is not what was sent"):
        transfer.transfer(directory, postgres_url)
    assert untouched(postgres_url)


def test_a_database_in_another_encoding_is_refused(directory: Path, postgres_server: Postgres) -> None:
    name = "latin_for_transfer"
    postgres_server.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(Permanent, match="make it with ENCODING 'UTF8'"):
        transfer.transfer(directory, postgres_server.of(name))
    postgres_server.drop_database(postgres_server.of(name))


def test_who_may_not_write_is_told_so_and_no_password_shows(
    directory: Path, postgres_url: str, postgres_server: Postgres
) -> None:
    postgres_server.execute("DROP ROLE IF EXISTS looker")
    postgres_server.execute("CREATE ROLE looker LOGIN PASSWORD 'hush-hush'")
    with psycopg.connect(postgres_url) as connection:
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker")
    url = postgres_url.replace("autoheal@", "looker:hush-hush@")
    with pytest.raises(Permanent, match="refused: permission denied") as caught:
        transfer.transfer(directory, url)
    assert "hush" not in str(caught.value) and "looker@" in str(caught.value)
    with pytest.raises(StoreUnavailable) as gone:
        transfer.transfer(directory, "postgresql://looker:hush-hush@127.0.0.1:1/none")
    assert "hush" not in str(gone.value)


def test_while_it_is_copied_nobody_else_writes(
    directory: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_BATCH", 1)
    asked = []

    def progress(what: str, done: int, total: int) -> None:
        if what in ("copying facts", "reading facts back") and done == 1:
            with psycopg.connect(postgres_url) as other, pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("SELECT id FROM head WHERE one = 1 FOR UPDATE NOWAIT")
            asked.append(what)

    transfer.transfer(directory, postgres_url, progress)
    assert asked == ["copying facts", "reading facts back"]


def test_of_two_imports_at_once_one_is_refused(
    directory: Path, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_BATCH", 1)
    other = Trail(tmp_path / "other")
    other.add(count=5)
    other.close()
    with ThreadPoolExecutor(1) as pool:
        second: list[Future[Any]] = []

        def progress(what: str, done: int, total: int) -> None:
            if what == "copying events" and done == 1:
                second.append(pool.submit(transfer.transfer, other.directory, postgres_url))

        assert not transfer.transfer(directory, postgres_url, progress).already
        assert isinstance(second[0].exception(20), TargetNotEmpty)
    assert in_postgres(postgres_url, "events") == in_sqlite(directory, "events")
    assert not (other.directory / "MOVED").exists()


# ---- afterwards, and after a crash ----------------------------------------------------------------------------------


def test_a_moved_directory_refuses_to_start_until_the_note_is_gone(directory: Path, empty_postgres_url: str) -> None:
    refuse_if_moved(directory)
    url = empty_postgres_url.replace("autoheal@", "autoheal:hush-hush@")
    transfer.transfer(directory, url)
    note = directory / "MOVED"
    assert note.stat().st_mode & 0o777 == 0o600 and "hush" not in note.read_text()
    with pytest.raises(Permanent, match="set DATABASE_URL") as caught:
        refuse_if_moved(directory)
    said = str(caught.value)
    assert empty_postgres_url in said and str(note) in said and "hush" not in said
    note.write_text("")
    with pytest.raises(Permanent, match="was moved: set DATABASE_URL"):
        refuse_if_moved(directory)
    note.unlink()
    refuse_if_moved(directory)


def test_a_second_import_says_that_it_is_there_already_and_marks_the_directory(
    directory: Path, empty_postgres_url: str
) -> None:
    first = transfer.transfer(directory, empty_postgres_url)
    note = directory / "MOVED"
    said = note.read_text()
    again = transfer.transfer(directory, empty_postgres_url)
    assert again.already and (again.head, again.facts) == (first.head, first.facts)
    assert note.read_text() == said
    note.unlink()  # as after a crash between the commit and the note
    assert transfer.transfer(directory, empty_postgres_url).already and note.exists()


def test_it_is_there_already_when_the_database_went_on_but_not_when_both_did(
    directory: Path, empty_postgres_url: str
) -> None:
    from autoheal.store.postgres import PostgresLedger

    transfer.transfer(directory, empty_postgres_url)
    ledger = PostgresLedger(empty_postgres_url)
    with ledger.transaction() as transaction:
        transaction.append(*sealed(transaction.head, [{"kind": "heartbeat"}]))
    ledger.close()
    assert transfer.transfer(directory, empty_postgres_url).already
    embedded = SqliteLedger(directory)
    with embedded.transaction() as transaction:
        transaction.append(*sealed(transaction.head, [{"kind": "stopped"}]))
    embedded.close()
    with pytest.raises(TargetNotEmpty):
        transfer.transfer(directory, empty_postgres_url)


def test_a_note_that_cannot_be_written_is_told_and_the_next_import_mends_it(
    directory: Path, empty_postgres_url: str
) -> None:
    (directory / ".MOVED.part").mkdir()
    with pytest.raises(Permanent, match="do not start Autoheal on this directory again"):
        transfer.transfer(directory, empty_postgres_url)
    (directory / ".MOVED.part").rmdir()
    assert transfer.transfer(directory, empty_postgres_url).already and (directory / "MOVED").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from autoheal.store import transfer
at, directory, url = sys.argv[1:]
def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)
def progress(what, done, of):
    if what == at:
        die()
if at == "note":
    transfer._mark = die
transfer._BATCH = 1
transfer.transfer(Path(directory), url, progress)
"""


@pytest.mark.parametrize(
    "at", ["verifying", "copying events", "copying facts", "reading events back", "reading remediations back", "note"]
)
def test_a_kill_at_any_point_leaves_nothing_or_everything(at: str, directory: Path, empty_postgres_url: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, at, directory, empty_postgres_url], env={**os.environ})
    assert done.returncode == -signal.SIGKILL
    assert not (directory / "MOVED").exists()
    if at != "note":
        assert untouched(empty_postgres_url)
    moved = transfer.transfer(directory, empty_postgres_url)
    assert moved.already == (at == "note")
    assert lines(empty_postgres_url) == lines(database_url(directory))
    assert verify_state(empty_postgres_url).ok and (directory / "MOVED").exists()


def test_a_server_that_goes_in_the_middle_leaves_nothing(directory: Path, tmp_path: Path) -> None:
    with postgres(tmp_path / "pg") as server:
        url = server.create_database()

        def progress(what: str, done: int, total: int) -> None:
            if what == "copying facts":
                server.kill()

        transfer_batch, transfer._BATCH = transfer._BATCH, 1
        try:
            with pytest.raises(StoreUnavailable):
                transfer.transfer(directory, url, progress)
        finally:
            transfer._BATCH = transfer_batch
        server.again()
        assert untouched(url) and not (directory / "MOVED").exists()
        assert not transfer.transfer(directory, url).already
