"""Queries against an oracle that reads everything: every filter, clocks that go back, deadlines."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoheal.store import timerange
from autoheal.store.query import Page, Reader
from tests.unit.store.trail import Trail

KINDS = ["decision_skip", "decision_act", "heartbeat", "ack"]

event = st.fixed_dictionaries(
    {"ts": st.integers(0, 12).map(float), "kind": st.sampled_from(KINDS)},
    optional={
        "alertname": st.sampled_from(["A", "B"]),
        "rule": st.sampled_from(["A", "B"]),
        "remediation_id": st.sampled_from(["r1", "r2"]),
        "output": st.sampled_from(["disk full", "Disk", "é%_"]),
    },
)
question = st.fixed_dictionaries(
    {"n": st.integers(1, 12)},
    optional={
        "kind": st.sampled_from(KINDS),
        "alertname": st.sampled_from(["A", "B", "none"]),
        "rule": st.sampled_from(["A", "B"]),
        "remediation_id": st.sampled_from(["r1", "r2"]),
        "since": st.integers(-1, 13).map(float),
        "until": st.integers(-1, 13).map(float),
        "contains": st.sampled_from(["disk", "Disk", "%", "_", '"B"', "x\0", "\ud800", ""]),
        "before": st.integers(-3, 50),
        "include_heartbeats": st.booleans(),
    },
)


def oracle(lines: list[str], q: dict[str, Any]) -> list[str]:
    def matches(line: str) -> bool:
        e = json.loads(line)
        columns = all(e.get(c) == q[c] for c in ("kind", "alertname", "rule", "remediation_id") if c in q)
        time = q.get("since", -inf) <= e["ts"] <= q.get("until", inf) and e["id"] < q.get("before", inf)
        beats = e["kind"] != "heartbeat" or q.get("kind") == "heartbeat" or q.get("include_heartbeats", False)
        return columns and time and beats and q.get("contains", "") in line

    return [line for line in lines if matches(line)][-q["n"] :]


asked = given(
    batches=st.lists(st.lists(event, min_size=1, max_size=12), max_size=4), questions=st.lists(question, min_size=5)
)
Batches = list[list[dict[str, Any]]]
Questions = list[dict[str, Any]]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@asked
def test_the_same_answer_as_reading_everything(
    new_trail: Callable[[], Trail], batches: Batches, questions: Questions
) -> None:
    same_as_the_oracle(new_trail, batches, questions)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@asked
def test_the_same_answer_as_reading_everything_on_postgres(
    new_trail: Callable[[], Trail], batches: Batches, questions: Questions
) -> None:
    same_as_the_oracle(new_trail, batches, questions)


def same_as_the_oracle(new_trail: Callable[[], Trail], batches: Batches, questions: Questions) -> None:
    trail = new_trail()
    try:
        for batch in batches:
            trail.add(*batch)
        lines = trail.lines
        for q in questions:
            assert trail.reader.query(**q, deadline=60.0) == Page(oracle(lines, q)), q
    finally:
        trail.close()


def test_many_clock_steps_are_read_in_batches(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timerange, "_STEPS", 3)
    times = [float(t) for start in (50, 40, 0, 45, 10, 20, 5) for t in range(start, start + 4)]
    trail.add(*[{"ts": t} for t in times])
    lines = trail.lines
    for since in range(-1, 56):
        for until in (since, since + 7):
            q = {"n": 50, "since": since, "until": until}
            assert trail.reader.query(**q).lines == oracle(lines, q)


def test_windows_find_the_same_as_one_search(trail: Trail) -> None:
    for start in range(0, 15_000, 1000):
        trail.add(*[{"alertname": "A" if i % 2 else "B", "rule": f"r{i % 977}"} for i in range(start, start + 1000)])
    lines = trail.lines
    for q in (
        {"n": 20, "contains": '"r976"'},
        {"n": 10_000, "contains": '"A"'},
        {"n": 20, "alertname": "A", "rule": "r976"},
        {"n": 5000, "alertname": "A", "kind": "decision_skip"},
        {"n": 3, "alertname": "A", "kind": "ack"},
    ):
        assert trail.reader.query(**q, deadline=60.0) == Page(oracle(lines, q))


def test_when_time_is_up_the_page_says_where_to_go_on(trail: Trail) -> None:
    for _ in range(12):
        trail.add(count=1000)
    ticks = count()
    with_clock = Reader(trail.url, monotonic=lambda: float(next(ticks)))
    page = with_clock.query(10, contains='"id":7}', deadline=3.5)
    assert page.partial and page.lines == [] and page.before is not None
    assert 0 < page.before < 12_000
    found, rounds = list(page.lines), 0
    query = {"n": 10, "contains": '"id":7,', "deadline": 2.5}
    page = with_clock.query(**query)
    while page.partial:
        rounds += 1
        found = page.lines + found
        page = with_clock.query(**query, before=page.before)
    assert rounds > 1 and page.lines + found == [trail.reader.event(7)]
    with_clock.close()


def test_a_deadline_of_nothing_looks_at_nothing(trail: Trail) -> None:
    trail.add(count=3)
    assert trail.reader.query(deadline=0.0) == Page([], True, 4)


def test_tails_are_in_order_and_bounded(trail: Trail) -> None:
    rows = trail.add(count=10)
    assert trail.reader.lines_after(7) == [(row.id, row.line) for row in rows[7:]]
    assert [event_id for event_id, _ in trail.reader.lines_after(0, limit=2)] == [1, 2]
    assert trail.reader.lines_after(10) == []


def test_an_empty_ledger_answers(trail: Trail) -> None:
    assert trail.reader.query(since=1.0, kind="ack", contains="x") == Page([])


def test_readers_share_the_pool_while_the_head_writes(trail: Trail) -> None:
    trail.add(count=200)
    wrong: list[object] = []

    def read() -> None:
        for _ in range(20):
            lines = trail.reader.query(50, alertname=None, since=10.0).lines
            ids = [json.loads(line)["id"] for line in lines]
            if len(ids) != 50 or ids != list(range(ids[0], ids[0] + 50)):
                wrong.append(ids)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        trail.add(count=5)
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_every_column_is_found_through_its_index(trail: Trail) -> None:
    """The plans, not the clock: no filter reads the whole table."""
    seen: list[str] = []
    with trail.reader._connection() as link:
        for name in ("kind", "alertname", "rule", "remediation_id"):
            sql = f"SELECT line FROM events WHERE id BETWEEN 1 AND 9 AND {name}='x' ORDER BY id DESC LIMIT 5"
            plan = " ".join(str(row) for row in link.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}"))
            assert f"USING INDEX events_{name}" in plan and "TEMP B-TREE" not in plan
            seen.append(plan)
    assert len(seen) == 4


def test_a_path_with_odd_signs_can_be_read(tmp_path: Path) -> None:
    odd = Trail(tmp_path / "a b%20?#ü")
    odd.add(count=1)
    assert odd.reader.head().id == 1
    odd.close()
