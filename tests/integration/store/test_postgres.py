"""The shared ledger when things go wrong: restarts, lost commits, frozen holders, schemas, partitions, secrets."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest

from autoheal.app.assembly import lay
from autoheal.config.secrets import Secret
from autoheal.config.settings import Settings
from autoheal.core.errors import Permanent
from autoheal.engine.ports import Fact, Head, StoreUnavailable
from autoheal.store import connection, migrate, partitions
from autoheal.store.claims import PostgresClaims
from autoheal.store.migrate import SchemaMismatch
from autoheal.store.postgres import PostgresLedger
from autoheal.store.query import Reader
from autoheal.store.schema import VERSION
from autoheal.store.verify import verify_database
from tests.contract.ledger import rows_after
from tests.databases import Postgres, postgres
from tests.proxy import Proxy
from tests.servers import wait_until

Connect = Callable[[str], PostgresLedger]


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(closing(PostgresLedger(url)))


def add(ledger: PostgresLedger, count: int = 1) -> Head:
    with ledger.transaction() as transaction:
        rows, head = rows_after(transaction.head, count)
        transaction.append(rows, head)
    return head


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def tables(server: Postgres, url: str) -> set[str]:
    found = server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database=name_of(url))
    return {name for (name,) in found}


# ---- the session ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_way_to_write_the_url(scheme: str, postgres_url: str, connect: Connect) -> None:
    assert add(connect(scheme + postgres_url.removeprefix("postgresql"))).id == 1


def test_the_session_is_bounded_durable_and_in_utc(
    postgres_url: str, postgres_server: Postgres, connect: Connect
) -> None:
    postgres_server.execute(f"ALTER DATABASE {name_of(postgres_url)} SET synchronous_commit = off")
    postgres_server.execute(f"ALTER DATABASE {name_of(postgres_url)} SET timezone = 'Asia/Tokyo'")
    ledger = connect(postgres_url)
    expected = {
        "synchronous_commit": "on",
        "TimeZone": "UTC",
        "client_encoding": "UTF8",
        "application_name": "autoheal",
        "idle_in_transaction_session_timeout": "2s",
        "lock_timeout": "5s",
        "statement_timeout": "10s",
        "transaction_timeout": "8s",
    }
    for _ in range(2):
        with ledger.transaction() as transaction:
            for name, value in expected.items():
                assert transaction._cursor.execute(f"SHOW {name}").fetchone() == (value,), name
        ledger.reopen()


def test_a_synchronous_commit_that_waits_for_a_standby_stays(
    postgres_url: str, postgres_server: Postgres, connect: Connect
) -> None:
    postgres_server.execute(f"ALTER DATABASE {name_of(postgres_url)} SET synchronous_commit = remote_apply")
    with connect(postgres_url).transaction() as transaction:
        assert transaction._cursor.execute("SHOW synchronous_commit").fetchone() == ("remote_apply",)


def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(Permanent, match=r"pip install 'autoheal\[scale\]'"):
        PostgresLedger("postgresql://x@127.0.0.1/x")


def test_a_start_that_is_turned_away_ends_at_once(postgres_url: str) -> None:
    place = postgres_url.rpartition("@")[2]
    host = place.rpartition("/")[0]
    for url, told in (
        (f"postgresql://nobody:s3cret@{place}", "no role"),
        (f"{postgres_url}_not_there", "no database of this name"),
    ):
        began = time.monotonic()
        with pytest.raises(Permanent, match=told) as caught:
            lay(Settings(database_url=Secret(url)))
        assert time.monotonic() - began < 5
        assert host in str(caught.value) and "s3cret" not in str(caught.value) and "nobody" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["mysql://u:s3cret@h/db", "postgresql+asyncpg://u:s3cret@h/db", "s3cret", "postgresql://u:s3cret@h:x/db"]
)
def test_other_urls_are_refused_without_being_shown(url: str) -> None:
    with pytest.raises(Permanent, match="DATABASE_URL") as caught:
        PostgresLedger(url)
    assert "s3cret" not in str(caught.value)


def test_no_message_shows_the_password(postgres_url: str) -> None:
    place = postgres_url.rpartition("@")[2]
    for url in (f"postgresql://s3cret%2F:s3cret%2F@{place}", f"postgresql://s3cret@{place}?password=s3cret"):
        with pytest.raises(StoreUnavailable, match=r'role "\*\*\*" does not exist') as caught:
            PostgresLedger(url)
        assert "s3cret" not in str(caught.value)
        with closing(Reader(url)) as reader, pytest.raises(StoreUnavailable) as caught:
            reader.head()
        assert "s3cret" not in str(caught.value)
        with pytest.raises(StoreUnavailable) as caught:
            verify_database(url)
        assert "s3cret" not in str(caught.value)


# ---- the schema -----------------------------------------------------------------------------------------------------


def test_many_that_start_at_once_on_an_empty_database_make_one_schema(
    empty_postgres_url: str, connect: Connect, postgres_server: Postgres
) -> None:
    ledgers: list[PostgresLedger] = []
    errors: list[BaseException] = []

    def start() -> None:
        try:
            ledgers.append(connect(empty_postgres_url))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == [] and [add(ledger).id for ledger in ledgers] == [1, 2, 3, 4]
    found = postgres_server.execute("SELECT version_num FROM alembic_version", database=name_of(empty_postgres_url))
    assert found == [(VERSION,)]


def test_a_schema_behind_is_refused_until_it_is_upgraded(empty_postgres_url: str, connect: Connect) -> None:
    from alembic import command

    engine = connection.writer(empty_postgres_url)
    with engine.begin() as link:
        command.upgrade(migrate._config(link), "0001")
    engine.dispose()
    with pytest.raises(SchemaMismatch, match=rf"0001, .* needs {VERSION}: run `autoheal db upgrade`"):
        connect(empty_postgres_url)
    assert migrate.upgrade(empty_postgres_url) and not migrate.upgrade(empty_postgres_url)
    assert add(connect(empty_postgres_url)).id == 1


def test_a_schema_ahead_is_refused(postgres_url: str, postgres_server: Postgres, connect: Connect) -> None:
    ledger = connect(postgres_url)
    postgres_server.execute("UPDATE alembic_version SET version_num = '9999'", database=name_of(postgres_url))
    with pytest.raises(SchemaMismatch, match="9999, newer"):
        connect(postgres_url)
    with pytest.raises(SchemaMismatch, match="9999, newer"):
        migrate.upgrade(postgres_url)
    with pytest.raises(SchemaMismatch):
        ledger.reopen()


def test_a_database_that_does_not_let_us_is_a_permanent_error(
    empty_postgres_url: str, postgres_server: Postgres, connect: Connect
) -> None:
    postgres_server.execute("CREATE TABLE events (theirs int)", database=name_of(empty_postgres_url))
    with pytest.raises(Permanent, match=r"refused: .*events.* already exists"):
        connect(empty_postgres_url)
    assert tables(postgres_server, empty_postgres_url) == {"events"}


def test_two_who_upgrade_wait_for_each_other(empty_postgres_url: str) -> None:
    engine = connection.writer(empty_postgres_url)
    done: list[bool] = []
    with engine.begin() as link:
        link.exec_driver_sql(f"SELECT pg_advisory_xact_lock({migrate._LOCK})")
        thread = threading.Thread(target=lambda: done.append(migrate.upgrade(empty_postgres_url)))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert migrate.bring_up(link)
    thread.join(30)
    engine.dispose()
    assert done == [False]


# ---- what breaks ----------------------------------------------------------------------------------------------------


def test_a_restart_is_unavailable_and_then_as_before(tmp_path: Path, connect: Connect) -> None:
    with postgres(tmp_path) as server:
        ledger = connect(server.url)
        with closing(Reader(server.url)) as reader:
            assert add(ledger, 3) == reader.head()
            for end in (server.kill, server.stop):
                before = ledger.load()
                with pytest.raises(StoreUnavailable), ledger.transaction() as transaction:
                    transaction.append(*rows_after(transaction.head, 2))
                    end()
                for call in (ledger.load, ledger.reopen, ledger.load, reader.head):
                    with pytest.raises(StoreUnavailable):
                        call()
                server.again()
                ledger.reopen()
                assert ledger.load() == before
                assert add(ledger) == reader.head()
            assert verify_database(server.url).ok


@pytest.mark.parametrize("committed", [True, False])
def test_a_lost_commit_is_looked_up_again(
    committed: bool, postgres_url: str, postgres_server: Postgres, connect: Connect
) -> None:
    """The connection is cut when COMMIT was sent: with its answer held back, or before the server has it."""
    server_port = int(postgres_url.rpartition(":")[2].partition("/")[0])
    with Proxy(server_port) as proxy:
        ledger = connect(postgres_url.replace(f":{server_port}/", f":{proxy.port}/"))
        before = add(ledger)
        armed = False

        def at_commit(data: bytes) -> None:
            if armed and b"COMMIT" in data:
                if committed:
                    proxy.hold_answers()
                else:
                    proxy.cut()

        def cut_when_there() -> None:
            head = ("SELECT id FROM head", before.id + 1)
            wait_until(lambda: postgres_server.execute(head[0], database=name_of(postgres_url)) == [(head[1],)])
            proxy.cut()

        proxy.on_request = at_commit
        cutter = threading.Thread(target=cut_when_there)
        if committed:
            cutter.start()
        with pytest.raises(StoreUnavailable), ledger.transaction() as transaction:
            rows, after = rows_after(transaction.head, 1)
            transaction.append(rows, after)
            transaction.save([Fact("slot", "a", "1")], [])
            armed = True
        with pytest.raises(StoreUnavailable), ledger.transaction():
            pass
        armed = False
        ledger.reopen()
        snapshot = ledger.load()
        assert snapshot.head == (after if committed else before)
        assert snapshot.facts == ([Fact("slot", "a", "1")] if committed else [])
        if committed:
            cutter.join(10)
        assert add(ledger).id == snapshot.head.id + 1


def test_a_frozen_holder_is_thrown_out(postgres_url: str, connect: Connect) -> None:
    frozen, other = connect(postgres_url), connect(postgres_url)
    waited = 0.0
    with pytest.raises(StoreUnavailable), frozen.transaction() as transaction:
        rows, head = rows_after(transaction.head, 1)
        transaction.append(rows, head)
        assert list(transaction.missed(0)) == [rows[0].line]  # sent, and answered
        began = time.monotonic()
        assert add(other).id == 1
        waited = time.monotonic() - began
    assert 1.5 < waited < 4.5
    frozen.reopen()
    assert frozen.load().head.id == 1 and add(frozen).id == 2


def test_one_that_freezes_with_the_head_in_hand_is_thrown_out(postgres_url: str, connect: Connect) -> None:
    """Before it has said anything more; nothing but the limit on idle transactions ends that before PostgreSQL 17."""
    frozen, other = connect(postgres_url), connect(postgres_url)
    waited = 0.0
    with pytest.raises(StoreUnavailable), frozen.transaction():
        began = time.monotonic()
        assert add(other).id == 1
        waited = time.monotonic() - began
    assert 1.5 < waited < 4.5


def test_one_that_freezes_amid_a_statement_is_thrown_out(
    postgres_url: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the limit on whole transactions ends that: the server waits for the rest of what was begun."""
    monkeypatch.setattr(connection, "_IN_ALL", connection._IN_ALL.replace("8s", "300ms"))
    frozen = connect(postgres_url)
    monkeypatch.undo()
    other = connect(postgres_url)
    after: Head | None = None
    with pytest.raises(StoreUnavailable), frozen.transaction() as transaction:
        link = transaction._cursor.connection.pgconn
        link.enter_pipeline_mode()
        link.send_query_params(b"SELECT 1", [])
        link.send_flush_request()
        link.flush()
        after = add(other)
    assert after is not None and after.id == 1


def test_whoever_waits_too_long_for_the_head_gives_up(
    postgres_url: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = connect(postgres_url)
    monkeypatch.setattr(connection, "WRITER", connection.WRITER | {"lock_timeout": "100ms"})
    waiting = connect(postgres_url)
    with holder.transaction(), pytest.raises(StoreUnavailable, match="lock timeout"), waiting.transaction():
        pass
    assert add(waiting).id == 1


def test_a_server_that_is_frozen_is_unavailable(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.3)
    with (
        postgres(tmp_path) as server,
        closing(PostgresClaims(migrated(server.url), "a")) as claims,
        closing(Reader(server.url)) as reader,
    ):
        ledger = connect(server.url)
        head = add(ledger, 3)
        assert reader.head() == head and claims.take(["x"], 60) == {"x"}
        processes = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children()]
        for process in processes:
            process.suspend()
        for call in (lambda: add(ledger), reader.head, lambda: claims.take(["y"], 60)):
            with pytest.raises(StoreUnavailable, match="does not answer"):
                call()
        for process in processes:
            process.resume()
        ledger.reopen()
        assert ledger.load().head == head == reader.head()
        assert claims.take(["x", "y"], 60) == {"x", "y"}
        assert add(ledger).id == 4


def migrated(url: str) -> str:
    migrate.upgrade(url)
    return url


def test_a_load_may_take_longer_than_an_answer(
    postgres_url: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.3)
    ledger = connect(postgres_url)
    add(ledger)
    ledger._statements.facts = "SELECT 'slot', 'a', '1', NULL::float8 FROM pg_sleep(0.8)"
    assert ledger.load().facts == [Fact("slot", "a", "1")]
    link = ledger._link.driver_connection
    assert link.answer_seconds == 0.3
    with pytest.raises(StoreUnavailable), ledger.transaction() as transaction:
        transaction._cursor.execute("SELECT pg_sleep(2)")


def test_an_error_of_the_database_on_the_way_leaves_nothing(
    postgres_url: str, postgres_server: Postgres, connect: Connect
) -> None:
    """In a pipeline the error of a statement shows only later: the commit must not go through without it."""
    ledger = connect(postgres_url)
    postgres_server.execute("ALTER TABLE facts ADD CONSTRAINT no CHECK (data <> 'bad')", database=name_of(postgres_url))
    for count in (1, 50):
        facts = [Fact("slot", f"k{n}", "good") for n in range(count - 1)] + [Fact("slot", "z", "bad")]
        with pytest.raises(StoreUnavailable, match="violates check"), ledger.transaction() as transaction:
            transaction.append(*rows_after(transaction.head, 1))
            transaction.save(facts, [])
    assert ledger.load().head.id == 0 and ledger.load().facts == []
    assert add(ledger).id == 1


def test_a_load_sees_one_moment_and_holds_up_nobody(postgres_url: str, connect: Connect) -> None:
    ledger, other = connect(postgres_url), connect(postgres_url)
    add(ledger)
    original = type(ledger)._read_all
    link = ledger._link.driver_connection

    def slow(self: PostgresLedger) -> object:
        link.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        link.execute("SELECT 1")
        with other.transaction() as transaction:
            transaction.append(*rows_after(transaction.head, 1))
            transaction.save([Fact("slot", "a", "1")], [])
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgresLedger, "_read_all", slow)
        snapshot = ledger.load()
    assert (snapshot.head.id, snapshot.facts) == (1, [])
    assert ledger.load().head.id == 2


# ---- partitions -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "SIZE", 100)
    monkeypatch.setattr(partitions, "AHEAD", 50)


def parts(server: Postgres, url: str) -> list[str]:
    return sorted(name for name in tables(server, url) if name.startswith("events_"))


def test_partitions_are_made_ahead(
    small_partitions: None, postgres_url: str, postgres_server: Postgres, connect: Connect
) -> None:
    first, second = connect(postgres_url), connect(postgres_url)
    add(first, 49)
    assert parts(postgres_server, postgres_url) == ["events_000000"]
    add(second, 1)
    assert parts(postgres_server, postgres_url) == ["events_000000", "events_000001"]
    for ledger in (first, second, first, second):
        add(ledger, 30)
    add(first, 400)
    assert parts(postgres_server, postgres_url) == [f"events_{n:06d}" for n in range(7)]
    sql = "SELECT tableoid::regclass::text, min(id), max(id) FROM events GROUP BY 1 ORDER BY 2"
    found = postgres_server.execute(sql, database=name_of(postgres_url))
    assert found[0] == ("events_000000", 1, 99) and found[-1] == ("events_000005", 500, 570)
    indexes = postgres_server.execute(
        "SELECT count(*) FROM pg_indexes WHERE tablename = 'events_000003'", database=name_of(postgres_url)
    )
    assert indexes == [(5,)]
    assert verify_database(postgres_url).ok


def test_a_partition_that_was_rolled_back_is_made_again(
    small_partitions: None, postgres_url: str, connect: Connect
) -> None:
    ledger = connect(postgres_url)
    add(ledger, 40)
    for _ in range(2):
        with pytest.raises(RuntimeError), ledger.transaction() as transaction:
            transaction.append(*rows_after(transaction.head, 70))
            raise RuntimeError
    assert add(ledger, 200).id == 240


def test_readers_and_the_other_writer_go_on_beside_a_new_partition(
    small_partitions: None, postgres_url: str, postgres_server: Postgres, connect: Connect
) -> None:
    ledger = connect(postgres_url)
    add(ledger, 10)
    engine = connection.reader(postgres_url)
    with engine.connect() as reading:
        reading.exec_driver_sql("BEGIN")
        reading.exec_driver_sql("SELECT count(*) FROM events")
        add(ledger, 300)  # would wait for the reader, and fail after 5 s, if it locked the events as a whole
        with ledger.transaction() as transaction:
            transaction.append(*rows_after(transaction.head, 300))
            with closing(Reader(postgres_url)) as reader:
                assert len(reader.lines_after(0, 1000)) == 310
        reading.exec_driver_sql("ROLLBACK")
    engine.dispose()


def test_a_ledger_may_begin_late(small_partitions: None, postgres_url: str, connect: Connect) -> None:
    ledger = connect(postgres_url)
    with ledger.transaction() as transaction:
        transaction.start_after(12345)
        transaction.append(*rows_after(transaction.head, 10))
    assert [event_id for event_id, _ in closing_reader(postgres_url)] == list(range(12346, 12356))


def closing_reader(url: str) -> list[tuple[int, str]]:
    with closing(Reader(url)) as reader:
        return reader.lines_after(0)


def test_the_real_size_is_what_the_tables_have(postgres_url: str, postgres_server: Postgres, connect: Connect) -> None:
    add(connect(postgres_url))
    bound = postgres_server.execute(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'events_000000'",
        database=name_of(postgres_url),
    )
    assert bound == [("FOR VALUES FROM ('0') TO ('1000000')",)]


def test_a_start_on_postgres_does_not_import_alembic(postgres_url: str) -> None:
    code = (
        "import sys\nfrom autoheal.store.postgres import PostgresLedger\n"
        "PostgresLedger(sys.argv[1]).load()\nprint('alembic' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, postgres_url]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "False\n"
