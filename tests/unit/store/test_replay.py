"""The working state is what the events add up to; whatever in it is not, is found and named."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from autoheal.core.moves.people import Approve, Mark, Reject, SetCooldown, Settle
from autoheal.core.moves.service import Heartbeat, PolicyLoaded, Started, Stopped
from autoheal.core.moves.silences import Acked, AckEnded, AckHides, Extended, Refired
from autoheal.core.turn import Move
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Fact, StoreUnavailable
from autoheal.store import replay
from autoheal.store.connection import sqlite_url
from autoheal.store.postgres import PostgresLedger
from autoheal.store.query import Reader
from autoheal.store.replay import verify_state
from autoheal.store.sqlite import SqliteLedger, database_path
from autoheal.store.verify import Report, verify_database
from autoheal.testing.clock import ManualClock
from tests.unit.core.auditor import FIRST
from tests.unit.core.make import T0, Play, alert, resolved
from tests.unit.core.test_machine_properties import QUICK, Machine
from tests.unit.store.trail import sealed


@dataclass
class Headed(Play):
    """Each move is played by a real head on a real ledger."""

    directory: Path = field(default_factory=Path)
    url: str = ""

    def __post_init__(self) -> None:
        self.ledger: SqliteLedger | PostgresLedger
        self.ledger = PostgresLedger(self.url) if self.url else SqliteLedger(self.directory)
        self.clock = ManualClock(self.now)
        self.head = HeadThread(self.ledger, self.clock, self.policy)
        self.head.start()

    def play(self, move: Move) -> Any:
        self.clock.advance(self.now - self.clock.now())
        answer = self.head.submit(move).result(15)
        self.state, self.policy = self.head.state, self.head.policy
        return answer

    def stop(self) -> None:
        self.head.stop()
        self.ledger.close()


def begun(it: Play, instance: str, status: str) -> str:
    [rid] = it.accepted(alert("B", instance, starts_at=it.now))
    it.outcome(it.start(rid), status, error="so it is")
    return rid


def story(it: Headed) -> None:
    """One of everything: healed, failed, unknown, settled, held, rejected, deferred, dry, acknowledged, marked."""
    it.play(Started("1.0", True, False, "here"))
    it.play(PolicyLoaded(FIRST))
    it.mode(True, False)
    [healed] = it.act(alert("A"))
    it.hear(alert("A", starts_at=T0 + 1), alert("Other"))  # the first is in its cooldown: deferred
    it.play(Settle(begun(it, "i4", "unknown"), "ann", "failed"))
    it.now += 301
    begun(it, "i2", "fail")
    begun(it, "i3", "fail")
    it.now += 201  # the breaker closes, and the rule's maintenance window has not begun
    begun(it, "i5", "unknown")
    held = [alert("C", name, starts_at=it.now) for name in ("i1", "i2", "i3")]
    for verb, about in zip((Approve, Reject, None), held, strict=True):
        rid = it.hear(about)[0]["remediation_id"]
        if verb is not None:
            it.play(verb(rid, "ann"))
    it.play(Mark(healed, "ann", known=row_of(it, healed)))
    it.play(Acked("s1", {"alertname": "C"}, it.now + 60, "ann", "later"))
    it.play(Acked("s2", {"alertname": "D"}, it.now + 60, "ann"))
    it.play(AckHides("s1", {"f": {"labels": {"alertname": "C"}, "starts_at": T0}}))
    it.play(AckEnded("s2", "expired", watch=900.0))
    it.play(Refired([alert("D", starts_at=it.now + 1)], {}))
    it.play(Extended("s1", "s3", {"alertname": "C"}, it.now + 600, "ann", "10m"))
    it.play(SetCooldown("stubborn", 45.0, "ann"))
    it.now -= 5  # the clock is set back
    it.hear(resolved("C", "i3", starts_at=it.now + 5), resolved("Other"))
    it.mode(True, True)
    it.hear(alert("D", "i1", starts_at=it.now))
    it.play(Heartbeat())
    it.wake()


def row_of(it: Headed, rid: str) -> dict[str, Any]:
    with closing(Reader(it.ledger.url)) as reader:
        row = reader.remediation(rid)
    assert row is not None
    found: dict[str, Any] = orjson.loads(row.data)
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that the story was written into."""
    it = Headed(FIRST, directory=tmp_path_factory.mktemp("replay") / "told")
    story(it)
    it.play(Stopped("test"))
    it.stop()
    return it.directory


@pytest.fixture
def database(told: Path, tmp_path: Path) -> Path:
    """One's own, to do with as one likes."""
    return Path(shutil.copytree(told, tmp_path / "data")) / database_path(told).name


def verified(database: Path) -> Report:
    assert verify_database(sqlite_url(database)).ok, "only the state was tampered with"
    return verify_state(sqlite_url(database))


def do(database: Path, statement: str, *values: Any) -> int:
    with closing(sqlite3.connect(database)) as connection, connection:
        return connection.execute(statement, values).rowcount


def ask(database: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(statement).fetchall()


def named(report: Report) -> set[tuple[str, str]]:
    return {(problem.place, problem.wrong) for problem in report.problems}


# ---- whole ----------------------------------------------------------------------------------------------------------


def test_what_a_head_wrote_is_whole(database: Path) -> None:
    report = verified(database)
    assert report.ok and report.done, report.problems
    count = ask(database, "select count(*) from remediations")[0][0]
    assert report.checked == report.last_id and f"{count} remediations" in report.note
    spaces = {space for (space,) in ask(database, "select distinct space from facts")}
    wanted = {*replay.SPACES, "start:live", "start:dry"}
    assert spaces >= wanted, f"the story does not tell of {wanted - spaces}"
    states = {state for (state,) in ask(database, "select distinct state from remediations")}
    assert states >= {"healed", "failed", "unknown", "reserved", "rejected", "cancelled"}


def test_small_batches_come_to_the_same(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_BATCH", 1)
    monkeypatch.setattr(replay, "_LOOK_UP", 1)
    heard: list[tuple[int, int]] = []
    report = verify_state(sqlite_url(database), lambda done, last: heard.append((done, last)))
    assert report.ok, report.problems
    assert [done for done, _ in heard] == list(range(1, report.checked + 1))


def test_it_is_whole_at_any_moment_beside_the_one_who_writes(tmp_path: Path) -> None:
    it = Headed(FIRST, directory=tmp_path)
    url, play, reports = it.ledger.url, it.play, []

    def and_verify(move: Move) -> Any:
        answer = play(move)
        reports.append(verify_state(url))
        return answer

    it.play = and_verify  # type: ignore[method-assign]
    story(it)
    it.stop()
    assert len(reports) > 20
    assert [problem for report in reports for problem in report.problems] == []


def test_what_happens_while_it_reads_is_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first reads are not one moment: a mark that comes after its remediation was compared is none the worse."""
    monkeypatch.setattr(replay, "_LOOK_UP", 1)
    it = Headed(FIRST, directory=tmp_path)
    it.mode(True, False)
    [first, second] = [*it.act(alert("A")), *it.act(alert("B"))]
    it.play(Mark(first, "ann", known=row_of(it, first)))
    meanwhile: Iterator[Any] = iter(
        [lambda: it.play(Mark(second, "ann", known=row_of(it, second))), lambda: it.act(alert("D"))]
    )
    report = verify_state(it.ledger.url, lambda done, last: next(meanwhile, lambda: None)())
    it.stop()
    assert report.ok, report.problems
    assert next(meanwhile, None) is None


def test_an_empty_ledger_is_whole(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path)
    assert verify_state(ledger.url).ok
    ledger.close()


def test_facts_of_others_are_passed_over(database: Path) -> None:
    do(database, "insert into facts (space, key, data) values ('patch', 'host', '{}')")
    assert verified(database).ok


def test_what_an_acknowledgement_hides_is_outside_the_trail(database: Path) -> None:
    assert ask(database, "select json_extract(data, '$.hides.f') from facts where space = 'behind'")[0][0] is not None
    assert do(database, "update facts set data = json_set(data, '$.hides', json('{}')) where space = 'behind'") == 1
    assert verified(database).ok
    do(database, "update facts set data = json_set(data, '$.actor', 'eve') where space = 'ack'")
    assert [(p.place, p.detail) for p in verified(database).problems] == [
        ("fact ack s3", 'actor is "eve", the events make it "ann"')
    ]


def test_an_acknowledgement_as_an_older_version_kept_it_is_whole(database: Path) -> None:
    older = "json_set(json_remove(data, '$.starts_at', '$.first'), '$.hides', json('{}'), '$.seen', json('false'))"
    assert do(database, f"update facts set data = {older} where space = 'ack'") == 1
    assert verified(database).ok
    do(database, "update facts set data = json_set(data, '$.first', 'eve') where space = 'ack'")
    assert not verified(database).ok


def test_fields_that_an_older_version_did_not_save_have_their_defaults(database: Path) -> None:
    assert do(database, "update remediations set data = json_remove(data, '$.marked') where state = 'failed'")
    assert verified(database).ok


class Recorded(Machine):
    """What the core's machine has played, written down as a ledger."""

    folder: Path

    def teardown(self) -> None:
        directory = self.folder / str(len(list(self.folder.iterdir())))
        ledger = SqliteLedger(directory)
        facts = [Fact(*where, data, due(where[0], data)) for where, data in self.it.facts.items()]
        with ledger.transaction() as transaction:
            transaction.append(*sealed(transaction.head, self.it.events))
            transaction.save(facts, list(self.it.rows.values()))
        report = verify_state(ledger.url)
        ledger.close()
        assert report.ok, report.problems
        assert report.checked == len(self.it.lines)


def due(space: str, data: str) -> float | None:
    until: float | None = orjson.loads(data)["until"] if space == "deferred" else None
    return until


@pytest.mark.timeout(300)
def test_whatever_comes_is_whole(tmp_path: Path) -> None:
    machine = type("RecordedHere", (Recorded,), {"folder": tmp_path})
    run_state_machine_as_test(machine, settings=settings(QUICK, max_examples=25))


# ---- tampered with --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [*replay.SPACES, "start:live", "start:dry"])
def test_every_fact_that_is_gone_is_named(database: Path, space: str) -> None:
    gone = ask(database, f"select key from facts where space = '{space}'")
    assert do(database, "delete from facts where space = ?", space) == len(gone) > 0
    assert named(verified(database)) == {(f"fact {space} {key}", "missing") for (key,) in gone}


def test_all_facts_gone_are_all_named(database: Path) -> None:
    do(database, "delete from facts where space = 'behind'")
    count = do(database, "delete from facts")
    assert verified(database).total == count


@pytest.mark.parametrize("space", [*replay.SPACES, "start:live"])
def test_a_fact_that_no_event_made_is_named(database: Path, space: str) -> None:
    do(database, "insert into facts (space, key, data) values (?, 'eve', '1')", space)
    assert named(verified(database)) == {(f"fact {space} eve", "extra")}


@pytest.mark.parametrize(
    ("where", "change", "detail"),
    [
        ("space = 'mode'", "data = json_set(data, '$.dry_run', json('false'))", "dry_run is false, the events make"),
        ("space = 'policy'", "data = json_set(data, '$.digest', 'x')", 'digest is "x", the events make it "p1"'),
        ("space = 'slot'", "data = json_set(data, '$.started_at', 1.0)", "started_at is 1.0, the events make it"),
        ("space = 'budget'", "data = json_set(data, '$.times', json('[]'))", "times is [], the events make it ["),
        ("space = 'breaker'", "data = json_remove(data, '$.open_until')", "open_until is absent"),
        ("space = 'escalation'", "data = json_set(data, '$.more', 1)", "more is 1, the events make it absent"),
        ("space = 'resolved'", "data = 'nonsense'", "absent"),
        ("space = 'start:live'", "data = '5.0'", "it is 5.0, the events make it 1"),
        ("space = 'deferred'", "due = 1e12", "column due is 1000000000000.0"),
    ],
)
def test_a_fact_that_was_changed_is_named_with_its_field(database: Path, where: str, change: str, detail: str) -> None:
    [(space, key)] = ask(database, f"select space, key from facts where {where} order by key limit 1")
    assert do(database, f"update facts set {change} where space = ? and key = ?", space, key) == 1
    [problem] = verified(database).problems
    assert (problem.place, problem.wrong) == (f"fact {space} {key}", "differs")
    assert detail in problem.detail


def test_remediations_rejected_by_hand_are_all_named(database: Path) -> None:
    states = dict(ask(database, "select id, state from remediations"))
    do(database, "update remediations set state = 'rejected'")
    report = verified(database)
    others = {rid: state for rid, state in states.items() if state != "rejected"}
    assert named(report) == {(f"remediation {rid}", "differs") for rid in others}
    for problem in report.problems:
        state = others[problem.place.removeprefix("remediation ")]
        assert problem.detail == f'column state is "rejected", the events make it "{state}"'


@pytest.mark.parametrize("state", ["healed", "failed", "unknown", "reserved", "cancelled"])
@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ("rule = 'x'", 'column rule is "x"'),
        ("alertname = 'x'", 'column alertname is "x"'),
        ("created_at = 1", "column created_at is 1.0"),
        ("ended_at = 1", "column ended_at is 1.0"),
        ("id = 'x1'", 'column id is "x1"'),
        ("data = json_set(data, '$.approved_by', 'eve')", 'approved_by is "eve", the events make it'),
        ("data = json_set(data, '$.marked', 'x')", 'marked is "x", the events make it'),
        ("data = json_set(data, '$.more', 1)", "more is 1, the events make it absent"),
        ("data = '[]'", "its data is no remediation's JSON"),
        ("data = '{}'", "its data is no remediation's JSON"),
        ("data = 'x'", "its data is no remediation's JSON"),
    ],
)
def test_a_remediation_that_was_changed_is_named_with_its_field(
    database: Path, state: str, change: str, detail: str
) -> None:
    [(number, rid)] = ask(database, f"select number, id from remediations where state = '{state}' limit 1")
    do(database, f"update remediations set {change} where number = ?", number)
    [problem] = verified(database).problems
    assert (problem.place, problem.wrong) == (f"remediation {rid}", "differs")
    assert problem.detail.startswith(detail)


def test_a_mark_after_the_end_counts_and_its_removal_is_named(database: Path) -> None:
    [(rid,)] = ask(database, "select id from remediations where json_extract(data, '$.marked') is not null")
    do(database, "update remediations set data = json_set(data, '$.marked', null) where id = ?", rid)
    [problem] = verified(database).problems
    assert problem.place == f"remediation {rid}"
    assert problem.detail == 'marked is null, the events make it "false_positive"'


@pytest.mark.parametrize("state", ["healed", "unknown", "reserved"])
def test_a_remediation_that_is_gone_is_named(database: Path, state: str) -> None:
    gone = ask(database, f"select id from remediations where state = '{state}'")
    do(database, "delete from remediations where state = ?", state)
    assert named(verified(database)) == {(f"remediation {rid}", "missing") for (rid,) in gone}


def test_a_remediation_that_no_event_made_is_named(database: Path) -> None:
    columns = "id, state, rule, alertname, created_at, ended_at, data"
    do(database, f"insert into remediations select 9999, {columns} from remediations limit 1")
    assert named(verified(database)) == {("row 9999 of remediations", "extra")}


# ---- what cannot be compared ----------------------------------------------------------------------------------------


def test_a_ledger_that_begins_later_is_not_replayed(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path)
    with ledger.transaction() as transaction:
        transaction.start_after(7)
        transaction.append(*sealed(transaction.head, [{"kind": "heartbeat"}]))
    report = verify_state(ledger.url)
    ledger.close()
    assert report.ok and not report.done and "the events up to 7 are not there" in report.note


def test_an_event_that_cannot_be_applied_is_named_and_ends_the_replay(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path)
    with ledger.transaction() as transaction:
        transaction.append(*sealed(transaction.head, [{"kind": "heartbeat"}, {"kind": "ack"}, {"kind": "heartbeat"}]))
    report = verify_state(ledger.url)
    ledger.close()
    assert [(p.event_id, p.wrong) for p in report.problems] == [(2, "not folded")] and report.checked == 1


def test_versions_that_may_differ_are_told(tmp_path: Path) -> None:
    it = Headed(FIRST, directory=tmp_path)
    it.play(Started("1.0", True, True))
    it.play(Started("1.1", True, True))
    it.stop()
    database = database_path(tmp_path)
    assert "version" not in verified(database).note
    do(database, "delete from facts")
    assert "several versions wrote these events (1.0, 1.1)" in verified(database).note


def test_a_database_that_is_none_is_out_of_reach(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_text("this is not a database, but it is long enough to be looked at" * 20)
    with pytest.raises(StoreUnavailable):
        verify_state(sqlite_url(file))
