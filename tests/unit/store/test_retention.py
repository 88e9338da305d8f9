"""Old events go, and what is left is whole: on both databases, beside a running writer, killed at any step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from autoheal.core.events import GENESIS
from autoheal.engine.ports import Fact, RemediationRow, StoreUnavailable
from autoheal.store import connection, partitions, retention
from autoheal.store.copy import AuditCopy
from autoheal.store.lines import hash_of
from autoheal.store.query import Reader
from autoheal.store.replay import verify_state
from autoheal.store.retention import Pruned, prune
from autoheal.store.schema import ANCHOR
from autoheal.store.verify import verify_database, verify_pair
from tests.unit.store.trail import Trail


def no_pause(seconds: float) -> None:
    """The tests that are alone need not give way."""


def cut(trail: Trail, before_ts: float, **options: object) -> Pruned:
    return prune(trail.url, before_ts, pause=no_pause, **options)  # type: ignore[arg-type]


def ids(trail: Trail) -> list[int]:
    return [event_id for event_id, _ in trail.reader.lines_after(0, 1_000_000)]


def anchor(trail: Trail) -> str | None:
    with trail.ledger.transaction() as transaction:
        return transaction.fact(*ANCHOR)


def whole(trail: Trail) -> bool:
    report, state = verify_database(trail.url), verify_state(trail.url)
    assert report.ok and state.ok, (report.problems, state.problems)
    return report.first_id == ids(trail)[0] and report.last_id == ids(trail)[-1]


def test_events_older_than_asked_go_and_the_anchor_stays(trail: Trail) -> None:
    rows = trail.add(count=50)
    assert cut(trail, 21.0, batch=7) == Pruned(20, 0, 0, 21)
    assert ids(trail) == list(range(21, 51)) and whole(trail)
    assert anchor(trail) == f'[20,"{hash_of(rows[19].line)}"]'
    assert cut(trail, 21.0) == Pruned(0, 0, 0, 21)
    assert cut(trail, 31.5, batch=1000) == Pruned(11, 0, 0, 32) and whole(trail)
    trail.add(count=3)
    assert whole(trail) and ids(trail)[-1] == 53
    assert len(trail.reader.query(100, since=0.0).lines) == 22 and trail.reader.query(5, until=20.0).lines == []


def test_nothing_old_changes_nothing(trail: Trail) -> None:
    assert cut(trail, 100.0) == Pruned(0, 0, 0, 1)
    trail.add(count=5)
    before = trail.ledger.load()
    assert cut(trail, 1.0) == Pruned(0, 0, 0, 1)
    assert trail.ledger.load() == before and anchor(trail) is None


def test_the_newest_event_stays(trail: Trail) -> None:
    trail.add(count=30)
    assert cut(trail, 1e12).first == 30
    assert ids(trail) == [30] and whole(trail)
    trail.add(count=2)
    assert whole(trail)


def test_what_the_copy_lacks_stays(trail: Trail) -> None:
    trail.add(count=30)
    assert cut(trail, 1e12, below=11).first == 11
    assert cut(trail, 1e12, below=1).events == 0
    assert ids(trail)[0] == 11 and whole(trail)


def test_where_the_clock_went_back_the_first_that_is_young_ends_it(trail: Trail) -> None:
    trail.add(*[{"ts": ts} for ts in (1.0, 2.0, 3.0, 1.0, 2.0, 9.0, 1.0, 10.0, 11.0)])
    assert cut(trail, 9.0, batch=2) == Pruned(5, 0, 0, 6)
    assert ids(trail) == [6, 7, 8, 9] and whole(trail)
    assert [step[0] for step in trail.reader.clock_steps()] == [7]
    assert cut(trail, 10.5, batch=2) == Pruned(3, 0, 0, 9)
    assert trail.reader.clock_steps() == [] and whole(trail)


def test_the_first_that_is_left_may_be_a_step(trail: Trail) -> None:
    trail.add(*[{"ts": ts} for ts in (5.0, 6.0, 3.0, 4.0)])
    assert cut(trail, 1e12, below=3).first == 3 and whole(trail)
    assert cut(trail, 1e12).first == 4 and whole(trail)


def test_remediations_that_ended_before_go(trail: Trail) -> None:
    def row(number: int, state: str, created: float, ended: float | None) -> RemediationRow:
        return RemediationRow(f"r{number}", state, "rule", "A", created, ended, "{}")

    gone = [row(n, state, float(n), n + 1.0) for n, state in enumerate(("healed", "failed", "cancelled"), 1)]
    kept = [
        row(4, "unknown", 4.0, 5.0),
        row(5, "running", 5.0, None),
        row(6, "healed", 6.0, 500.0),
        row(7, "healed", 600.0, 700.0),
    ]
    late = [row(8, "exhausted", 8.0, 9.0), row(9, "healed", 900.0, 901.0), row(10, "healed", 901.0, 901.0)]
    with trail.ledger.transaction() as transaction:
        transaction.save([Fact("slot", "a", "1")], [*gone, *kept, *late])
    assert cut(trail, 100.0, batch=2) == Pruned(0, 0, 4, 1)
    assert [entry.id for entry in trail.reader.remediations()] == ["r10", "r9", "r7", "r6", "r5", "r4"]
    assert trail.ledger.load().facts == [Fact("slot", "a", "1")]


def test_the_copy_may_hold_more_and_is_compared_where_it_can_be(trail: Trail) -> None:
    copy = AuditCopy(trail.copy, trail.reader)
    trail.add(count=40)
    assert copy.catch_up()
    cut(trail, 31.0, batch=7)
    assert all(report.ok for report in verify_pair([trail.copy], trail.url))
    trail.add(count=5)
    assert copy.catch_up()
    reports = verify_pair([trail.copy], trail.url)
    assert all(report.ok for report in reports) and [report.first_id for report in reports] == [31, 1]
    copy.close()
    trail.sql(f"UPDATE facts SET data = '[30,\"{'f' * 64}\"]' WHERE space = 'ledger'")
    database, beside = verify_pair([trail.copy], trail.url)
    assert not database.ok and [(p.event_id, p.wrong) for p in beside.problems] == [(30, "differs")]


def test_a_copy_that_begins_anew_begins_where_the_ledger_does(trail: Trail) -> None:
    trail.add(count=40)
    cut(trail, 31.0)
    copy = AuditCopy(trail.copy, trail.reader)
    assert copy.catch_up() and trail.copy.read_text().count("\n") == 10
    assert all(report.ok for report in verify_pair([trail.copy], trail.url))
    copy.close()


def test_killed_between_two_steps_it_is_whole_and_goes_on(trail: Trail) -> None:
    trail.add(count=40)
    steps = 0

    def dies(seconds: float) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(trail.url, 31.0, batch=7, pause=dies)
    assert ids(trail)[0] == 22 and whole(trail)
    assert cut(trail, 31.0).events == 9 and whole(trail)


def test_beside_a_writer_nothing_is_lost_and_nobody_is_refused(trail: Trail) -> None:
    trail.add(count=3000)
    added = 0
    errors: list[BaseException] = []
    enough = threading.Event()

    def write() -> None:
        nonlocal added
        try:
            while not enough.wait(0.002) or added < 20:
                trail.add(count=3)
                added += 3
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert prune(trail.url, 2501.0, batch=100) == Pruned(2500, 0, 0, 2501)
    finally:
        enough.set()
        thread.join(30)
    assert errors == [] and ids(trail) == list(range(2501, 3001 + added)) and whole(trail)


def test_it_rests_between_its_steps(trail: Trail) -> None:
    trail.add(count=40)
    rests: list[float] = []
    prune(trail.url, 31.0, batch=10, pause=rests.append)
    assert len(rests) == 3 and all(rest > 0 for rest in rests)


def test_what_was_pruned_before_a_process_read_it_is_told(trail: Trail) -> None:
    trail.add(count=40)
    cut(trail, 31.0)
    with trail.ledger.transaction() as transaction:
        assert len(list(transaction.missed(30))) == 10
    with pytest.raises(StoreUnavailable, match="not there any more"), trail.ledger.transaction() as transaction:
        list(transaction.missed(29))
    assert trail.ledger.load().head.id == 40


def test_what_goes_while_it_is_verified_is_no_damage(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    from autoheal.store import verify

    trail.add(count=40)
    monkeypatch.setattr(verify, "_BATCH", 10)
    original = verify._rows

    def rows(link: object, last: int) -> object:
        for row in original(link, last):  # type: ignore[arg-type]
            if row.id == 10:
                cut(trail, 31.0)
            yield row

    monkeypatch.setattr(verify, "_rows", rows)
    with pytest.raises(StoreUnavailable, match="pruned while"):
        verify_database(trail.url)


# ---- SQLite ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_beside_the_service_it_copies_no_pages_home(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before SQLite 3.51.3 two connections that do that could corrupt the file; alone, it must."""
    asked: list[str] = []
    for name in ("writer", "second_writer"):
        original = getattr(connection, name)
        monkeypatch.setattr(connection, name, lambda url, o=original, n=name: asked.append(n) or o(url))
    trail.add(count=10)
    cut(trail, 5.0)
    assert asked[0] == "second_writer"
    trail.ledger.close()
    asked.clear()
    cut(trail, 7.0)
    assert asked == ["writer"]
    engine = connection.second_writer(trail.url)
    with engine.begin() as link:
        assert link.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar() == 0
        assert link.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    engine.dispose()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_service_that_never_rests_is_tried_again(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    trail.add(count=10)
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.01)
    link = trail.ledger._link.driver_connection
    link.execute("BEGIN IMMEDIATE")
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            link.execute("ROLLBACK")

    assert prune(trail.url, 5.0, pause=pause).events == 4 and len(waits) == 4
    link.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(retention, "_TRIES", 2)
    with pytest.raises(StoreUnavailable, match="locked"):
        cut(trail, 8.0)
    link.execute("ROLLBACK")


# ---- PostgreSQL -----------------------------------------------------------------------------------------------------


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Callable[[Trail], list[int]]:
    """Partitions of a hundred events; the first id of each that there is."""
    monkeypatch.setattr(partitions, "SIZE", 100)
    monkeypatch.setattr(partitions, "AHEAD", 50)

    def lows(trail: Trail) -> list[int]:
        with trail.ledger.transaction() as transaction:
            return [part.low for part in partitions.partitions(transaction._cursor)]

    return lows


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_whole_partitions_are_dropped(trail: Trail, parts: Callable[[Trail], list[int]]) -> None:
    for _ in range(5):
        trail.add(count=90)
    rows = [line for _, line in trail.reader.lines_after(0, 1000)]
    assert parts(trail) == [0, 100, 200, 300, 400, 500]
    assert cut(trail, 351.0, batch=20) == Pruned(350, 3, 0, 351)
    assert parts(trail) == [300, 400, 500] and whole(trail)
    assert anchor(trail) == f'[350,"{hash_of(rows[349])}"]'
    assert cut(trail, 400.0) == Pruned(49, 1, 0, 400)
    assert ids(trail)[0] == 400 and parts(trail) == [400, 500] and whole(trail)
    trail.add(count=90)
    assert whole(trail)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_who_reads_for_long_is_waited_for_without_holding_the_head(
    trail: Trail, parts: Callable[[Trail], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_TRIES", 3)
    for _ in range(3):
        trail.add(count=90)
    engine = connection.reader(trail.url)
    waits: list[float] = []

    def between(seconds: float) -> None:
        waits.append(seconds)
        trail.add(count=1)

    with engine.connect() as backup:
        backup.exec_driver_sql("BEGIN")
        backup.exec_driver_sql("SELECT count(*) FROM events")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            prune(trail.url, 150.0, pause=between)
        assert len(waits) == 2 and ids(trail)[0] == 1 and ids(trail)[-1] == 272
        backup.exec_driver_sql("ROLLBACK")
    engine.dispose()
    assert cut(trail, 150.0) == Pruned(149, 1, 0, 150) and whole(trail)


def test_a_newer_schema_is_left_alone(trail: Trail) -> None:
    from autoheal.store.migrate import SchemaMismatch

    trail.add(count=5)
    trail.sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch):
        cut(trail, 3.0)
    with closing(Reader(trail.url)) as reader:
        assert len(reader.lines_after(0)) == 5


def test_the_genesis_is_no_anchor(trail: Trail) -> None:
    trail.add(count=2)
    assert cut(trail, 0.5).events == 0 and trail.reader.head().hash != GENESIS and anchor(trail) is None
