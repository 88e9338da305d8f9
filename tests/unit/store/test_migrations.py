"""The schema on both databases: what the migrations make is what the code means; up and down with data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine

from autoheal.engine.ports import Fact, Head, RemediationRow
from autoheal.store import connection, migrate
from autoheal.store.schema import VERSION, metadata
from autoheal.store.verify import verify_database
from tests.unit.store.trail import Trail


@pytest.fixture
def engine(dialect: str, tmp_path: Any, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """On an empty database."""
    url = connection.sqlite_url(tmp_path / "x.db")
    if dialect == "postgresql":
        url = request.getfixturevalue("empty_postgres_url")
    found = connection.writer(url)
    yield found
    found.dispose()


def to(link: Connection, revision: str) -> None:
    found = migrate.current(link)
    run = command.upgrade if found is None or (revision != "base" and revision > found) else command.downgrade
    run(migrate._config(link), revision)


def tables(link: Connection) -> set[str]:
    names = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    }
    return set(link.exec_driver_sql(names[link.dialect.name]).scalars())


def test_the_migrations_make_what_the_code_means_and_go_down_again(engine: Engine) -> None:
    with engine.begin() as link:
        migrate.bring_up(link)
        assert compare_metadata(MigrationContext.configure(link), metadata) == []
        assert tables(link) == {*metadata.tables, "alembic_version"}
        to(link, "base")
        assert tables(link) == {"alembic_version"}
        migrate.bring_up(link)
        assert migrate.current(link) == VERSION


def test_a_migration_that_fails_leaves_nothing(engine: Engine) -> None:
    with pytest.raises(RuntimeError), engine.begin() as link:
        migrate.bring_up(link)
        raise RuntimeError("power cut")
    with engine.begin() as link:
        assert migrate.current(link) is None and tables(link) == set()


def test_down_and_up_again_keeps_the_ledger(new_trail: Callable[[], Trail]) -> None:
    trail = new_trail()
    trail.add(*[{"alertname": "Ünï", "rule": "r", "ts": float(n % 7)} for n in range(100)])
    facts, entries = [Fact("slot", "a", "1", 2.5)], [RemediationRow("r7", "held", "rule", "A", 1.0, None, "{}")]
    with trail.ledger.transaction() as transaction:
        transaction.save(facts, entries)
    before, lines = trail.ledger.load(), trail.lines
    trail.ledger._shut()
    trail.sql("INSERT INTO claims VALUES ('duty', 'x', 'us', 1.5, NULL)")
    engine = connection.writer(trail.url)
    for _ in range(2):
        with engine.begin() as link:
            to(link, "0001")
            assert "claims" not in tables(link)
            assert link.exec_driver_sql("SELECT count(*) FROM events").scalar() == 100
        assert migrate.upgrade(trail.url)
    assert trail.sql("SELECT count(*) FROM claims") == [(0,)]
    engine.dispose()
    trail.ledger.reopen()
    assert trail.ledger.load() == before and trail.lines == lines
    assert verify_database(trail.url).ok
    trail.add(count=1)
    assert trail.reader.head() == Head(101, trail.reader.head().hash, 101.0)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_an_index_of_every_partition_belongs_to_the_whole(trail: Trail) -> None:
    """A partition that was attached with an index too few would be read through."""
    trail.add(count=1)
    found = trail.sql("SELECT count(*) FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhparent")
    assert found == trail.sql("SELECT count(*) FROM pg_indexes WHERE tablename = 'events'") == [(5,)]
