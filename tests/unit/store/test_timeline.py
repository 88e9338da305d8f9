"""The timeline against a naive count over all events: whatever the clock did, with much or nothing remembered."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import closing, nullcontext
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from autoheal.store import timeline, timerange
from autoheal.store.query import Reader
from autoheal.store.retention import prune
from autoheal.store.timeline import KEPT, OUTCOMES, Counts, Timeline, step_for
from tests.unit.store.trail import Trail

HOUR = 3600.0
EFFECTS = {"healed": "healed", "self_resolved": "self_resolved", "ineffective": "failed", "unknown": "unknown"}
PLAIN = {"action_dry_run": "dry_run", "decision_hold": "held", "decision_skip": "skipped"}

# events as the core makes them
ENDS: list[dict[str, Any]] = [
    {"kind": "verify_ok", "effect": "healed"},
    {"kind": "verify_fail", "effect": "ineffective"},
    {"kind": "verify_fail", "state": "reserved"},
    {"kind": "action_ok", "effect": "unknown"},
    {"kind": "action_ok", "state": "verifying", "output": '"effect":"healed" {"effect":"healed"}'},
    {"kind": "action_fail", "effect": "self_resolved"},
    {"kind": "action_fail", "effect": "ineffective"},
    {"kind": "action_unknown", "effect": "unknown"},
    {"kind": "cancelled", "effect": "self_resolved"},
    {"kind": "cancelled", "reason": "by_hand"},
    {"kind": "settled", "effect": "healed"},
    {"kind": "settled", "effect": "unknown"},
    {"kind": "settled", "escalation": "blast_radius"},
    {"kind": "rejected", "state": "rejected"},
    {"kind": "heartbeat"},
    {"kind": "decision_act"},
    *({"kind": kind} for kind in PLAIN),
]

event = st.builds(lambda ts, what: {"ts": float(ts), **what}, st.integers(0, 40), st.sampled_from(ENDS))
view = st.tuples(st.integers(-5, 40), st.integers(1, 45), st.integers(1, 12))
"""since, span, buckets"""


def outcome(event: dict[str, Any]) -> str | None:
    """What the event means, read as a person would."""
    if event["kind"] == "action_ok" and event.get("effect") == "unknown":
        return "done"
    return PLAIN.get(event["kind"]) or EFFECTS.get(event.get("effect", ""))


def naive(lines: list[str], since: float, until: float, step: int) -> dict[str, list[int]]:
    size = round((until - since) / step)
    found = {name: [0] * size for name in OUTCOMES}
    for line in lines:
        event = json.loads(line)
        name = outcome(event)
        if name is not None and since <= event["ts"] < until:
            found[name][int((event["ts"] - since) // step)] += 1
    return found


def same(trail: Trail, given: Counts) -> None:
    assert not given.partial
    assert given.counts == naive(trail.lines, given.since, given.until, given.step)


def fresh(reader: Reader, kept: int = KEPT) -> Timeline:
    """One that remembers nothing yet."""
    return Timeline(reader._connection, reader._substring, kept=kept)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.lists(event, min_size=1, max_size=15), st.lists(view, max_size=4)), max_size=5))
@example([([{"ts": 9.0, **ENDS[0]}], [(0, 10, 1)]), ([{"ts": 3.0, **ENDS[0]}], [(0, 10, 1)])])
@example([([{"ts": 3.0, **ENDS[0]}], [(0, 5, 1)]), ([{"ts": 4.0, **ENDS[0]}], [(0, 10, 2)])])
def test_the_same_counts_as_reading_everything(
    new_trail: Callable[[], Trail], rounds: list[tuple[list[dict[str, Any]], list[tuple[int, int, int]]]]
) -> None:
    same_as_the_oracle(new_trail, rounds)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.lists(event, min_size=1, max_size=15), st.lists(view, max_size=4)), max_size=4))
def test_the_same_counts_as_reading_everything_on_postgres(
    new_trail: Callable[[], Trail], rounds: list[tuple[list[dict[str, Any]], list[tuple[int, int, int]]]]
) -> None:
    same_as_the_oracle(new_trail, rounds)


def same_as_the_oracle(
    new_trail: Callable[[], Trail], rounds: list[tuple[list[dict[str, Any]], list[tuple[int, int, int]]]]
) -> None:
    """Events and questions in turn: what is remembered from one round must be right in the next."""
    trail = new_trail()
    few = fresh(trail.reader, kept=3)
    try:
        for events, views in rounds:
            trail.add(*events)
            for since, span, buckets in views:
                for at in (trail.reader.timeline, few, fresh(trail.reader)):
                    found = at.count(since, since + span, buckets, deadline=60.0)
                    assert found.since <= since and since + span <= found.until
                    assert found.until - found.since <= (buckets + 1) * found.step
                    same(trail, found)
    finally:
        trail.close()


def many(trail: Trail, events: int, span: float = HOUR) -> None:
    for start in range(0, events, 1000):
        trail.add(*[{"ts": i * span / events, **ENDS[i % len(ENDS)]} for i in range(start, start + 1000)])


def test_many_events_are_found_by_many_probes(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timerange, "_PROBES", 20)
    monkeypatch.setattr(timeline, "_FIRST_WINDOW", 700)
    many(trail, 6000)
    for buckets in (1, 7, 60, 500):
        same(trail, fresh(trail.reader).count(0, HOUR, buckets, deadline=60.0))


def test_the_past_is_counted_once_and_the_newest_bucket_goes_on(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    many(trail, 3000)
    reader = trail.reader
    reader.timeline.count(0, HOUR, 60, deadline=60.0)
    asked: list[tuple[int, int]] = []
    counting = reader.timeline._statement

    class Watched:
        """Where the counting looks."""

        def execute(self, statement: Any, values: Any = None) -> Any:
            if statement is counting:
                asked.append((values["low"], values["high"]))
            return link.execute(statement, values)

    with reader._connection() as link:
        monkeypatch.setattr(reader.timeline, "_connect", lambda: nullcontext(Watched()))
        same(trail, reader.timeline.count(0, HOUR, 60, deadline=60.0))
        assert asked == []
        trail.add({"ts": HOUR - 0.5, **ENDS[0]}, {"ts": HOUR + 70, **ENDS[0]})
        same(trail, reader.timeline.count(0, HOUR, 60, deadline=60.0))
        assert asked == [(3001, 3001)]


def test_a_clock_that_went_back_changes_the_past(trail: Trail) -> None:
    many(trail, 1000)
    before = trail.reader.timeline.count(0, HOUR, 6, deadline=60.0)
    trail.add({"ts": 700.0, **ENDS[0]}, {"ts": HOUR, **ENDS[0]})
    after = trail.reader.timeline.count(0, HOUR, 6, deadline=60.0)
    assert [b - a for a, b in zip(before.counts["healed"], after.counts["healed"], strict=True)] == [0, 1, 0, 0, 0, 0]
    same(trail, after)


def test_when_time_is_up_the_newest_are_there_and_the_next_call_goes_on(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "_FIRST_WINDOW", 500)
    many(trail, 6000)
    ticks = count()
    reader = trail.reader
    slow = Timeline(reader._connection, reader._substring, lambda: float(next(ticks)))
    first = slow.count(0, HOUR, 6, deadline=8.0)
    assert first.partial and 0 < first.counted_from < HOUR
    whole = naive(trail.lines, 0, HOUR, 600)
    at = int(first.counted_from // 600)
    for name in OUTCOMES:
        assert first.counts[name][at:] == whole[name][at:]
        assert all(some <= all_ for some, all_ in zip(first.counts[name], whole[name], strict=True))
    rounds, found = 0, first
    while found.partial:
        rounds += 1
        found, before = slow.count(0, HOUR, 6, deadline=8.0), found
        assert found.counted_from <= before.counted_from
    assert 0 < rounds < 10
    same(trail, found)


def test_one_bucket_that_is_too_large_for_one_call_is_counted_by_several(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "_FIRST_WINDOW", 500)
    many(trail, 6000)
    ticks = count()
    slow = Timeline(trail.reader._connection, trail.reader._substring, lambda: float(next(ticks)))
    rounds = 0
    while (found := slow.count(0, HOUR, 1, deadline=6.0)).partial:
        rounds += 1
        trail.add({"ts": HOUR - 1, **ENDS[0]})
        assert next(ticks) < 500
    assert rounds > 1
    same(trail, found)


def test_no_time_at_all_counts_nothing_and_says_so(trail: Trail) -> None:
    many(trail, 1000)
    found = fresh(trail.reader).count(0, HOUR, 6, deadline=0.0)
    assert found.partial and found.counted_from == HOUR
    assert not any(any(row) for row in found.counts.values())


def test_what_was_pruned_is_gone_from_the_counts(trail: Trail) -> None:
    many(trail, 2000)
    same(trail, trail.reader.timeline.count(0, HOUR, 12, deadline=60.0))
    assert prune(trail.url, 1000.0).events > 0
    found = trail.reader.timeline.count(0, HOUR, 12, deadline=60.0)
    same(trail, found)
    assert found.counted_from == json.loads(trail.lines[0])["ts"] >= 1000.0
    same(trail, fresh(trail.reader).count(0, HOUR, 12, deadline=60.0))


def test_rows_taken_out_by_hand_do_not_stop_the_search(trail: Trail) -> None:
    many(trail, 2000)
    trail.sql("DELETE FROM events WHERE id BETWEEN 300 AND 900", "DELETE FROM events WHERE id - id / 7 * 7 = 3")
    same(trail, fresh(trail.reader).count(0, HOUR, 60, deadline=60.0))


def test_an_empty_ledger_counts_nothing(trail: Trail) -> None:
    found = trail.reader.timeline.count(1000.0, 2000.0, 10, deadline=60.0)
    assert (found.since, found.until, found.step, found.partial) == (960, 2040, 120, False)
    assert not any(any(row) for row in found.counts.values())


def test_threads_share_what_is_counted(trail: Trail) -> None:
    many(trail, 2000)
    whole = naive(trail.lines, 0, HOUR, 60)
    wrong: list[object] = []

    def ask() -> None:
        for _ in range(10):
            found = trail.reader.timeline.count(0, HOUR, 60, deadline=60.0)
            if found.counts != whole:
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(trail.reader.timeline._known) == 60


def test_memory_is_bounded(trail: Trail) -> None:
    many(trail, 1000)
    with closing(Reader(trail.url)) as reader:
        small = fresh(reader, kept=100)
        for buckets in range(1, 500, 61):
            small.count(0, HOUR, buckets, deadline=60.0)
        assert len(small._known) <= 100


@pytest.mark.parametrize(
    ("span", "buckets", "step"),
    [
        (6 * HOUR, 120, 180),
        (6 * HOUR, 119, 240),
        (0.5, 500, 1),
        (500, 500, 1),
        (501, 500, 2),
        (7 * 86_400, 120, 7200),
        (30 * 86_400, 120, 21_600),
        (365 * 86_400, 120, 4 * 86_400),
        (1.76e9, 1, 20_371 * 86_400),
    ],
)
def test_a_step_is_a_round_length(span: float, buckets: int, step: int) -> None:
    assert step_for(span, buckets) == step
    assert span / step <= buckets
