"""Verification: whatever single thing is done to the file or the database is found, and the right one named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoheal.core.events import GENESIS
from autoheal.engine.ports import Head, StoreUnavailable
from autoheal.store import chain as chains
from autoheal.store.replay import verify_state
from autoheal.store.retention import prune
from autoheal.store.verify import Report, verify_database, verify_file, verify_pair
from tests.unit.store.trail import Trail, sealed

COUNT = 12
EVENTS: list[dict[str, Any]] = [
    {"kind": kind, "alertname": f"A{n}", "rule": "r", "output": "x" * n, "ts": float(n % 7)}
    for n, kind in enumerate(["decision_act", "action_ok", "verify_ok"] * (COUNT // 3))
]
ROWS, HEAD = sealed(Head(0, GENESIS, 0.0), EVENTS)
LINES = [row.line for row in ROWS]
ids = st.integers(1, COUNT)


def written(path: Path, lines: Sequence[str | bytes], tail: bytes = b"") -> Path:
    raw = [line.encode() if isinstance(line, str) else line for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in raw) + tail)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verify") / "audit.jsonl"


def named(report: Report) -> set[tuple[str, int | None]]:
    return {(problem.wrong, problem.event_id) for problem in report.problems}


each = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


# ---- the file -----------------------------------------------------------------------------------------------------


def test_a_whole_file_is_fine_and_the_note_says_what_that_proves(place: Path) -> None:
    report = verify_file([written(place, LINES)])
    assert report.ok and (report.checked, report.first_id, report.last_id) == (COUNT, 1, COUNT)
    assert report.last_hash == HEAD.hash and "a tail that was cut off" in report.note


@each
@given(event_id=ids, at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_an_edited_byte_is_found(place: Path, event_id: int, at: int, byte: int) -> None:
    raw = bytearray(LINES[event_id - 1].encode())
    at %= len(raw)
    if raw[at] == byte:
        return
    raw[at] = byte
    lines: list[str | bytes] = [*LINES]
    lines[event_id - 1] = bytes(raw)
    report = verify_file([written(place, lines)], end=HEAD)
    assert not report.ok
    assert any(problem.place == f"{place}:{event_id}" for problem in report.problems), report.problems
    if event_id < COUNT and byte != 10:
        assert {problem.event_id for problem in report.problems} <= {event_id}, report.problems


@pytest.mark.parametrize("event_id", [1, 2, COUNT - 1])
@pytest.mark.parametrize("false", [1, 5, 900])
def test_an_edited_id_is_found_and_named_by_its_true_one(place: Path, event_id: int, false: int) -> None:
    if false == event_id:
        return
    lines = [*LINES]
    lines[event_id - 1] = lines[event_id - 1].replace(f'"id":{event_id},', f'"id":{false},')
    report = verify_file([written(place, lines)], end=HEAD)
    assert named(report) == {("edited", event_id)} and f"calls itself event {false}" in report.problems[0].detail


@pytest.mark.parametrize("event_id", [1, 6, COUNT])
def test_a_line_that_lost_its_hash_is_named(place: Path, event_id: int) -> None:
    lines = [*LINES]
    lines[event_id - 1] = lines[event_id - 1].split(',"hash"')[0] + "}"
    report = verify_file([written(place, lines)], anchor=(0, GENESIS))
    assert named(report) == {("edited", event_id)} and "no hash" in report.problems[0].detail


def test_the_first_line_far_behind_is_out_of_order(place: Path) -> None:
    rows, _ = sealed(Head(0, GENESIS, 0.0), [{}] * 60)
    lines = [row.line for row in rows]
    report = verify_file([written(place, [*lines[1:50], lines[0], *lines[50:]])])
    assert named(report) == {("out of order", 1)} and report.total == 1


@each
@given(event_id=ids)
def test_an_event_that_was_edited_and_sealed_anew_is_found(place: Path, event_id: int) -> None:
    before = Head(event_id - 1, GENESIS if event_id == 1 else LINES[event_id - 2][-66:-2], 0.0)
    changed = sealed(before, [{**EVENTS[event_id - 1], "output": "nothing happened"}])[0][0].line
    report = verify_file([written(place, [*LINES[: event_id - 1], changed, *LINES[event_id:]])], end=HEAD)
    assert not report.ok and len(report.problems) == 1
    shown = "head" if event_id == COUNT else f"event {event_id} was and sealed anew"
    assert shown in str(report.problems[0])


@each
@given(low=ids, length=st.integers(1, 4))
def test_removed_lines_are_found_and_named(place: Path, low: int, length: int) -> None:
    high = min(COUNT, low + length - 1)
    report = verify_file([written(place, LINES[: low - 1] + LINES[high:])], anchor=(0, GENESIS), end=HEAD)
    assert len(report.problems) == 1 and not report.ok
    problem = report.problems[0]
    if high == COUNT:
        assert problem.wrong == "cut" and f"ends at event {low - 1}, the database at event {COUNT}" in problem.detail
    else:
        ids_gone = f"event {low} is" if low == high else f"events {low}–{high} are"
        assert (problem.wrong, problem.event_id) == ("missing", low) and ids_gone in problem.detail


@each
@given(source=ids, target=ids)
def test_a_moved_line_is_found_and_named(place: Path, source: int, target: int) -> None:
    lines = [*LINES]
    lines.insert(target - 1, lines.pop(source - 1))
    report = verify_file([written(place, lines)], end=HEAD)
    assert report.ok == (source == target)
    kinds = {wrong for wrong, _ in named(report)}
    assert kinds <= {"out of order"}
    moved = {problem.event_id for problem in report.problems}
    earlier, later = min(source, target), max(source, target)
    assert moved <= set(range(earlier, later + 1))


@each
@given(event_id=ids, after=ids)
def test_a_doubled_line_is_found_and_named(place: Path, event_id: int, after: int) -> None:
    after = max(event_id, after)
    report = verify_file([written(place, [*LINES[:after], LINES[event_id - 1], *LINES[after:]])], end=HEAD)
    assert named(report) == {("duplicated", event_id)} and report.total == 1
    assert report.problems[0].place == f"{place}:{after + 1}"


@each
@given(
    after=st.integers(0, COUNT), text=st.sampled_from([b"", b"{}", b"null", b"hello", b'{"id":"1"}', b"\xff\0", b"[1]"])
)
def test_an_inserted_line_that_is_no_event_is_found(place: Path, after: int, text: bytes) -> None:
    report = verify_file([written(place, [*LINES[:after], text, *LINES[after:]])], end=HEAD)
    assert {wrong for wrong, _ in named(report)} == {"not an event"} and report.total == 1
    assert report.problems[0].place == f"{place}:{after + 1}"


@each
@given(event_id=ids)
def test_a_forged_event_that_was_inserted_is_found(place: Path, event_id: int) -> None:
    before = Head(event_id - 1, GENESIS if event_id == 1 else LINES[event_id - 2][-66:-2], 0.0)
    forged = sealed(before, [{"kind": "approved", "actor": "mallory"}])[0][0].line
    report = verify_file([written(place, [*LINES[: event_id - 1], forged, *LINES[event_id - 1 :]])], end=HEAD)
    assert ("duplicated", event_id) in named(report)
    assert "not as before" in report.problems[0].detail or "sealed anew" in str(report.problems)


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_a_half_written_end_is_named(place: Path, cut: int) -> None:
    written(place, LINES[:-1], LINES[-1].encode()[:-cut] if cut > 1 else LINES[-1].encode())
    report = verify_file([place])
    assert named(report) == {("cut", None)} and report.problems[0].place == f"{place}:{COUNT}"


def test_segments_are_one_sequence(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a", LINES[:5]), written(tmp_path / "b", LINES[5:])
    assert verify_file([first, second], end=HEAD).ok
    assert not verify_file([second, first], end=HEAD).ok
    gap = verify_file([first, written(tmp_path / "c", LINES[7:])], end=HEAD)
    assert named(gap) == {("missing", 6)} and "events 6–7 are missing" in gap.problems[0].detail


def test_where_retention_took_the_beginning(place: Path) -> None:
    written(place, LINES[4:])
    free = verify_file([place])
    assert free.ok and "starts at event 5: what came before was not checked" in free.note
    assert verify_file([place], anchor=(4, LINES[3][-66:-2])).ok
    assert named(verify_file([place], anchor=(4, "f" * 64))) == {("edited", 5)}
    assert named(verify_file([place], anchor=(0, GENESIS))) == {("missing", 1)}


def test_a_witness_shows_a_tail_that_was_cut_and_a_trail_written_anew(place: Path) -> None:
    assert verify_file([written(place, LINES)], witness=(COUNT, HEAD.hash)).ok
    cut = verify_file([written(place, LINES[:-2])], witness=(COUNT, HEAD.hash))
    assert named(cut) == {("witness", COUNT)}
    anew, _ = sealed(Head(0, GENESIS, 0.0), [{"kind": "ack"}] * COUNT)
    report = verify_file([written(place, [row.line for row in anew])], witness=(5, LINES[4][-66:-2]))
    assert named(report) == {("witness", 5)}


def test_no_file_and_an_empty_one(tmp_path: Path) -> None:
    assert verify_file([]).ok and verify_file([written(tmp_path / "x", [])]).checked == 0
    assert named(verify_file([tmp_path / "none"])) == {("cut", None)}
    assert named(verify_file([written(tmp_path / "x", [])], end=HEAD)) == {("cut", COUNT)}


def test_the_list_of_problems_is_bounded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "MAX_PROBLEMS", 3)
    report = verify_file([written(place, ["x"] * 10)])
    assert len(report.problems) == 3 and report.total == 10


# ---- the database -------------------------------------------------------------------------------------------------

Damage = tuple[str, tuple[Any, ...], str]
DAMAGES: dict[str, Damage] = {
    "line edited": ('UPDATE events SET line=replace(line, \'"rule":"r"\', \'"rule":"s"\') WHERE id=5', (), "edited"),
    "hash edited": ("UPDATE events SET line=substr(line, 1, length(line)-3) || '-\"}' WHERE id=5", (), "edited"),
    "line is no text": ("UPDATE events SET line=x'ff00' WHERE id=5", (), "not an event"),
    "row removed": ("DELETE FROM events WHERE id=5", (), "missing"),
    "kind column": ("UPDATE events SET kind='heartbeat' WHERE id=5", (), "columns"),
    "ts column": ("UPDATE events SET ts=ts+0.5 WHERE id=5", (), "columns"),
    "alertname column": ("UPDATE events SET alertname=NULL WHERE id=5", (), "columns"),
    "rule column": ("UPDATE events SET rule='other' WHERE id=5", (), "columns"),
    "remediation column": ("UPDATE events SET remediation_id='r1' WHERE id=5", (), "columns"),
    "first row removed": ("DELETE FROM events WHERE id<5", (), "missing"),
    "tail cut": ("DELETE FROM events WHERE id>=5", (), "cut"),
    "head hash": ("UPDATE head SET hash=?", ("f" * 64,), "head"),
    "head back": ("UPDATE head SET id=id-1", (), "head"),
    "all gone": ("DELETE FROM events", (), "cut"),
    "step hidden": ("DELETE FROM clock_steps", (), "clock steps"),
    "step invented": ("INSERT INTO clock_steps VALUES (5, 1.0, 2.0)", (), "clock steps"),
}


@pytest.fixture
def fresh(new_trail: Callable[[], Trail]) -> Callable[[], Trail]:
    def make() -> Trail:
        trail = new_trail()
        trail.add(*EVENTS)
        written(trail.copy, trail.lines)
        return trail

    return make


def test_a_whole_ledger_is_fine_beside_its_copy(fresh: Callable[[], Trail]) -> None:
    trail = fresh()
    database, copy = verify_pair([trail.copy], trail.url, witness=(COUNT, HEAD.hash))
    assert database.ok and copy.ok and database.last_hash == copy.last_hash == HEAD.hash
    assert "copy and database agree" in copy.note
    trail.close()


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_to_the_database_is_found_and_named(fresh: Callable[[], Trail], name: str) -> None:
    sql, values, wrong = DAMAGES[name]
    trail = fresh()
    trail.sql((sql, values))
    report = verify_database(trail.url)
    assert wrong in {problem.wrong for problem in report.problems}, report.problems
    named_ids = {problem.event_id for problem in report.problems if problem.wrong == wrong}
    assert wrong in ("head", "clock steps") or name == "all gone" or (1 if "first" in name else 5) in named_ids
    assert name == "step invented" or wrong != "clock steps" or 8 in named_ids
    trail.close()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(one=ids, other=ids)
def test_lines_that_changed_places_are_named(fresh: Callable[[], Trail], one: int, other: int) -> None:
    trail = fresh()
    sql = "UPDATE events SET line=? WHERE id=?"
    trail.sql((sql, (LINES[other - 1], one)), (sql, (LINES[one - 1], other)))
    report = verify_database(trail.url)
    assert report.ok == (one == other)
    if one != other:
        assert {("columns", one), ("columns", other)} <= named(report)
    trail.close()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(event_id=ids, data=st.data())
def test_a_difference_between_copy_and_database_is_named(
    fresh: Callable[[], Trail], event_id: int, data: st.DataObject
) -> None:
    """Even where both halves verify by themselves: the last event, edited and sealed anew in one of them."""
    trail = fresh()
    before = Head(event_id - 1, GENESIS if event_id == 1 else LINES[event_id - 2][-66:-2], 0.0)
    changed, _ = sealed(before, [{**EVENTS[n], "output": "other"} for n in range(event_id - 1, COUNT)])
    written(trail.copy, LINES[: event_id - 1] + [row.line for row in changed])
    database, copy = verify_pair([trail.copy], trail.url)
    assert database.ok and verify_file([trail.copy]).ok
    assert named(copy) == {("differs", n) for n in range(event_id, COUNT + 1)}
    trail.close()


def test_a_cut_copy_and_a_cut_database_are_told_apart(fresh: Callable[[], Trail]) -> None:
    trail = fresh()
    written(trail.copy, LINES[:8])
    database, copy = verify_pair([trail.copy], trail.url)
    assert database.ok and named(copy) == {("cut", 9)}
    assert "ends at event 8, the database at event 12" in copy.problems[0].detail
    written(trail.copy, LINES)
    trail.sql(("DELETE FROM events WHERE id>10", ()), ("UPDATE head SET id=10, hash=?", (LINES[9][-66:-2],)))
    database, copy = verify_pair([trail.copy], trail.url)
    assert database.ok and named(copy) == {("differs", 11), ("differs", 12)}
    trail.close()


SET_ANCHOR = "INSERT INTO facts (space, key, data) VALUES ('ledger', 'anchor', ?)"


@pytest.mark.parametrize(
    "noted",
    ["{}", "nojson", "", "[2]", "[2,3]", '[2,"short"]', '["2",null]', "[true,null]", "[-1,null]", "null", "2", '"ab"'],
)
def test_a_damaged_anchor_is_named(fresh: Callable[[], Trail], noted: str) -> None:
    trail = fresh()
    trail.sql((SET_ANCHOR, (noted,)), ("DELETE FROM events WHERE id<=2", ()))
    report, copy = verify_pair([trail.copy], trail.url)
    assert named(report) == {("anchor", None)} and report.checked == COUNT - 2 and copy.ok
    assert "ledger/anchor" in report.problems[0].place
    assert named(verify_database(trail.url)) == {("anchor", None)}
    with pytest.raises(StoreUnavailable, match="ledger/anchor is damaged"):
        prune(trail.url, 1e12)
    with pytest.raises(StoreUnavailable, match="ledger/anchor is damaged"):
        verify_state(trail.url)
    trail.close()


def test_a_ledger_that_begins_late_says_that_nothing_in_it_vouches_for_that(fresh: Callable[[], Trail]) -> None:
    trail = fresh()
    anchor = f'[2,"{LINES[1][-66:-2]}"]'
    trail.sql((SET_ANCHOR, (anchor,)), ("DELETE FROM events WHERE id<=2", ()))
    report = verify_database(trail.url)
    assert report.ok and report.first_id == 3 and "it begins at event 3: nothing in the database vouches" in report.note
    assert "witness from the process log" in report.note
    assert "begins at" not in verify_database(trail.url, anchor=(2, LINES[1][-66:-2])).note
    trail.close()


def test_a_database_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is no database" * 100)
    for name in ("x.db", "none.db"):
        with pytest.raises(StoreUnavailable):
            verify_database(f"sqlite:///{tmp_path / name}")
