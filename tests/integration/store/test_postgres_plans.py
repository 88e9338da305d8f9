"""The plans of every query on a large ledger on PostgreSQL: by an index, never by reading all events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from autoheal.core.events import GENESIS
from autoheal.store import partitions
from autoheal.store.postgres import PostgresLedger
from autoheal.store.query import Reader
from tests.databases import Postgres

EVENTS = 300_000
SIZE = 100_000

FILL = f"""
INSERT INTO events SELECT n, n::float8, (ARRAY['decision_skip', 'decision_act', 'ack', 'heartbeat'])[1 + n % 4],
  CASE WHEN n % 3 > 0 THEN 'Alert' || n % 40 END, CASE WHEN n % 3 > 0 THEN 'rule' || n % 20 END,
  CASE WHEN n % 5 = 0 THEN 'r' || n / 50 END, '{{"id":' || n || ',"text":"' || repeat('x', 200) || '"}}'
  FROM generate_series(1, {EVENTS}) n"""
REMEDIATIONS = """
INSERT INTO remediations SELECT n, 'r' || n, CASE WHEN n % 1000 = 0 THEN 'running' ELSE 'healed' END, 'rule' || n % 20,
  'Alert' || n % 40, n::float8, n::float8, repeat('y', 500) FROM generate_series(1, 50000) n"""

STEPS = "INSERT INTO clock_steps SELECT n, n, n + 1 FROM generate_series(500, 250000, 500) n"


@pytest.fixture(scope="module", params=["analysed", "never analysed"])
def large(request: pytest.FixtureRequest, postgres_server: Postgres, postgres_template: str) -> Iterator[str]:
    """A ledger of four partitions. "never analysed": what PostgreSQL knows before it has had time to look."""
    url = postgres_server.create_database(template=postgres_template)
    name = url.rpartition("/")[2]
    with pytest.MonkeyPatch.context() as patch, closing(PostgresLedger(url)) as ledger:
        patch.setattr(partitions, "SIZE", SIZE)
        patch.setattr(partitions, "AHEAD", SIZE // 2)
        with ledger.transaction() as transaction:
            partitions.make_room(transaction._cursor, 1, EVENTS)
            if request.param != "analysed":
                for table in (*partitions.partitions(transaction._cursor), ("remediations",)):
                    transaction._cursor.execute(f"ALTER TABLE {table[0]} SET (autovacuum_enabled = off)")
    for sql in (
        FILL,
        REMEDIATIONS,
        "INSERT INTO clock_steps SELECT n, n, n + 1 FROM generate_series(500, 250000, 500) n",
    ):
        postgres_server.execute(sql, database=name)
    postgres_server.execute(f"UPDATE head SET id = {EVENTS}, hash = '{GENESIS}', ts = {EVENTS}", database=name)
    if request.param == "analysed":
        postgres_server.execute("ANALYZE", database=name)
    yield url
    postgres_server.drop_database(url)


@contextmanager
def explained(reader: Reader) -> Iterator[list[tuple[str, str]]]:
    """Every statement that the reader runs within, and its plan."""
    seen: list[tuple[str, str]] = []

    def explain(link: Any, cursor: Any, statement: str, values: Any, context: Any, many: bool) -> None:
        with cursor.connection.cursor() as other:
            plan = other.execute(f"EXPLAIN {statement}", values or None).fetchall()
        seen.append((statement, "\n".join(line for (line,) in plan)))

    event.listen(reader._engine, "before_cursor_execute", explain)
    try:
        yield seen
    finally:
        event.remove(reader._engine, "before_cursor_execute", explain)


QUERIES: dict[str, tuple[dict[str, Any], str]] = {
    "newest": ({}, "pkey"),
    "kind": ({"kind": "ack"}, "kind_id_idx"),
    "heartbeats": ({"kind": "heartbeat"}, "kind_id_idx"),
    "no such kind": ({"kind": "none"}, "kind_id_idx"),
    "alertname": ({"alertname": "Alert8"}, "alertname_id_idx"),
    "no such alertname": ({"alertname": "none"}, "alertname_id_idx"),
    "rule": ({"rule": "rule8"}, "rule_id_idx"),
    "remediation": ({"remediation_id": "r100"}, "remediation_id_id_idx"),
    "no such remediation": ({"remediation_id": "r99999999"}, "remediation_id_id_idx"),
    "two columns": ({"alertname": "Alert8", "rule": "rule8"}, "_id_idx"),
    "three columns": ({"alertname": "Alert8", "kind": "ack", "remediation_id": "r100"}, "remediation_id_id_idx"),
    "since": ({"since": 299_000.0}, "pkey"),
    "until": ({"until": 1000.0}, "pkey"),
    "a range of time and a column": ({"since": 100_000.0, "until": 120_000.0, "rule": "rule8"}, "rule_id_idx"),
    "before": ({"before": 5000}, "pkey"),
    "before and a column": ({"before": 150_000, "alertname": "Alert8"}, "alertname_id_idx"),
    "contains": ({"contains": "no such text", "deadline": 0.2}, "pkey"),
}


@pytest.mark.parametrize("name", QUERIES)
def test_events_are_found_by_an_index(large: str, name: str) -> None:
    query, index = QUERIES[name]
    with closing(Reader(large)) as reader:
        reader.head()
        with explained(reader) as seen:
            page = reader.query(**query)
        assert bool(page.lines) == (not name.startswith(("no such", "three", "contains")))
        assert any(index in plan for _, plan in seen), seen[-1]
        check(seen)
        assert len(seen) < 400


def check(seen: list[tuple[str, str]]) -> None:
    assert seen
    for statement, plan in seen:
        assert "Seq Scan on events" not in plan and "Seq Scan on remediations" not in plan, f"{statement}\n{plan}"
        assert "Sort" not in plan, f"{statement}\n{plan}"


def test_the_tail_an_event_and_the_steps_are_found_by_their_ids(large: str) -> None:
    with closing(Reader(large)) as reader:
        reader.head()
        with explained(reader) as seen:
            assert [event_id for event_id, _ in reader.lines_after(EVENTS - 2)] == [EVENTS - 1, EVENTS]
            assert reader.lines_after(EVENTS) == []
            assert len(reader.lines_after(5)) == 1000
            assert reader.event(123_456) is not None
            assert len(reader.clock_steps()) == 100
        check(seen)
        touched = seen[3][1]
        assert "events_000001" in touched and "events_000000" not in touched, "one partition is enough for one event"


@pytest.mark.parametrize(
    "given",
    [{}, {"state": "running"}, {"rule": "rule8"}, {"alertname": "Alert8"}, {"rule": "rule8", "state": "healed"}],
)
def test_remediations_are_found_by_an_index(large: str, given: dict[str, str]) -> None:
    with closing(Reader(large)) as reader:
        reader.head()
        with explained(reader) as seen:
            assert reader.remediations(**given, n=20)
            assert reader.remediation("r4711") is not None
        for statement, plan in seen:
            assert "Seq Scan on remediations" not in plan, f"{statement}\n{plan}"


@pytest.mark.parametrize(("since", "until"), [(299_000.0, 300_001.0), (100_000.0, 120_000.0), (0.0, 300_001.0)])
def test_the_timeline_is_counted_by_an_index(large: str, since: float, until: float) -> None:
    """The clock went back 500 times: each part is found by its ids. The second time only the newest are looked at."""
    with closing(Reader(large)) as reader:
        with explained(reader) as seen:
            found = reader.timeline.count(since, until, 100, deadline=60.0)
        inside = range(max(1, found.since), min(EVENTS + 1, found.until))
        assert sum(found.counts["skipped"]) == sum(1 for n in inside if n % 4 == 0)
        assert seen and not [(statement, plan) for statement, plan in seen if "Seq Scan on events" in plan]
        with explained(reader) as again:
            assert reader.timeline.count(since, until, 100).counts == found.counts
        assert len(again) == 3 < len(seen)


def test_what_has_ended_and_what_came_lately_are_found_by_an_index(large: str) -> None:
    with closing(Reader(large)) as reader:
        with explained(reader) as seen:
            ended = [int(row.id[1:]) for row in reader.ended(1000)]
            assert reader.count_kinds(("ack", "heartbeat"), 299_001.0) == {"ack": 250, "heartbeat": 250}
            assert reader.first_id() == 1
        assert ended == [n for n in range(50_000, 40_000, -1) if n % 1000][:1000]
        for statement, plan in seen:
            assert "Seq Scan" not in plan, f"{statement}\n{plan}"


def test_a_statement_that_takes_too_long_is_ended(large: str) -> None:
    from autoheal.engine.ports import StoreUnavailable
    from autoheal.store.connection import reader as engine_of

    engine = engine_of(large)
    with engine.connect() as link:
        assert link.exec_driver_sql("SHOW statement_timeout").scalar() == "5s"
        assert link.exec_driver_sql("SHOW plan_cache_mode").scalar() == "force_custom_plan"
    engine.dispose()
    with (
        closing(Reader(large)) as reader,
        pytest.raises(StoreUnavailable, match="statement timeout"),
        reader._connection() as link,
    ):
        link.exec_driver_sql("SET statement_timeout = '50ms'")
        link.exec_driver_sql("SELECT pg_sleep(5)")
