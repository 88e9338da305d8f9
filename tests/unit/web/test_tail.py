"""The tail: whatever comes in whatever order, each reader hears everything after its id once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoheal.web import tail as tails
from autoheal.web.tail import Seat, Tail, Wanted

KINDS = ("act", "skip", "beat")


class Store:
    """A trail in memory; what `Tail` asks of the ledger. `pruned`: ids up to it are gone."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.pruned = 0
        self.asked = 0

    def add(self, kinds: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
        first = len(self.events) + 1
        new = [{"id": first + n, "kind": kind, "alertname": f"A{(first + n) % 3}"} for n, kind in enumerate(kinds)]
        self.events += new
        return new, [json.dumps(event) for event in new]

    def older(self, after: int, limit: int) -> list[tuple[int, str]]:
        self.asked += 1
        rest = self.events[max(after, self.pruned) :][:limit]
        return [(event["id"], json.dumps(event)) for event in rest]

    def newest(self) -> int:
        return len(self.events)


def heard(data: bytes) -> list[dict[str, Any]]:
    found = []
    for frame in data.decode().split("\n\n"):
        if frame:
            number, kind, text = frame.split("\n")
            found.append({"frame": int(number.removeprefix("id: ")), "event": kind.removeprefix("event: ")})
            found[-1] |= json.loads(text.removeprefix("data: "))
    return found


async def drain(tail: Tail, seat: Seat) -> list[dict[str, Any]]:
    found = []
    while (piece := await tail.next(seat)) is not None:
        assert piece.last > seat.after
        seat.after = piece.last
        found += heard(piece.data)
    return found


def played(work: Callable[[Tail, Store], Any]) -> None:
    async def run() -> None:
        store = Store()
        tail = Tail(store.older, store.newest)
        tail.start(0)
        try:
            await work(tail, store)
        finally:
            tail.close()
            await asyncio.sleep(0)

    asyncio.run(run())


async def told(tail: Tail, store: Store, kinds: list[str]) -> None:
    """A commit, and the loop's turn in which it is heard of."""
    tail.listen(*store.add(kinds), 0.0)
    await asyncio.sleep(0)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.lists(st.sampled_from(KINDS), min_size=1, max_size=9)),
        st.tuples(st.just("sit"), st.tuples(st.integers(0, 60) | st.none(), st.sampled_from([None, "act", "beat"]))),
        st.tuples(st.just("read"), st.integers(0, 5)),
        st.tuples(st.just("leave"), st.integers(0, 5)),
    ),
    max_size=40,
)


@settings(max_examples=200)
@given(steps, st.integers(1, 12), st.integers(1, 5), st.sampled_from([1, 60, 10_000]))
def test_no_gap_and_no_double(plan: list[tuple[str, Any]], kept: int, page: int, piece: int) -> None:
    async def work(tail: Tail, store: Store) -> None:
        readers: list[tuple[Seat, int, list[int]]] = []
        for what, value in plan:
            if what == "commit":
                await told(tail, store, value)
            elif what == "sit":
                after, kind = value
                after = None if after is None else min(after, len(store.events))
                seat = tail.sit(after, Wanted(kinds=frozenset([kind]) if kind else None), lambda: None)
                readers.append((seat, seat.after, []))
            elif value < len(readers):
                seat, _, seen = readers[value]
                if what == "leave":
                    tail.leave(seat)
                else:
                    seen += [event["id"] for event in await drain(tail, seat)]
        for seat, after, seen in readers:
            seen += [event["id"] for event in await drain(tail, seat)]
            kinds = seat.wanted.kinds or KINDS
            assert seen == [event["id"] for event in store.events[after:] if event["kind"] in kinds]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tails, "KEPT", kept)
        patch.setattr(tails, "PAGE", page)
        patch.setattr(tails, "PIECE", piece)
        played(work)


def test_what_is_kept_is_fetched_once_for_all_who_come() -> None:
    async def work(tail: Tail, store: Store) -> None:
        await told(tail, store, ["act"] * 1200)
        seats = [tail.sit(after, Wanted(), lambda: None) for after in range(0, 1000, 10)]
        found = await asyncio.gather(*(drain(tail, seat) for seat in seats))
        assert [len(one) for one in found] == [1200 - after for after in range(0, 1000, 10)]
        assert store.asked == 3  # pages of five hundred

    played(work)


def test_a_piece_is_made_once_for_all_who_stand_there() -> None:
    async def work(tail: Tail, store: Store) -> None:
        seats = [tail.sit(None, wanted, lambda: None) for wanted in (Wanted(), Wanted(), Wanted(frozenset({"act"})))]
        await told(tail, store, ["act", "skip"])
        one, two, other = [await tail.next(seat) for seat in seats]
        assert one is two and one is not other
        assert one is not None and other is not None
        assert [len(heard(piece.data)) for piece in (one, other)] == [2, 1]
        assert store.asked == 0

    played(work)


def test_filters_are_joined() -> None:
    item = tails.Item(1, "act", "A", "r", "{}")
    assert Wanted().passes(item)
    assert Wanted(frozenset({"act"}), frozenset({"A"}), frozenset({"r"})).passes(item)
    for wrong in (Wanted(kinds=frozenset({"x"})), Wanted(alertnames=frozenset()), Wanted(rules=frozenset({"x"}))):
        assert not wrong.passes(item)


def test_what_retention_took_is_told() -> None:
    async def work(tail: Tail, store: Store) -> None:
        await told(tail, store, ["act"] * 30)
        store.pruned = 20
        seat = tail.sit(5, Wanted(), lambda: None)
        reset, *rest = await drain(tail, seat)
        assert reset == {"frame": 20, "event": "reset", "first": 21, "asked": 5, "reason": "pruned"}
        assert [event["id"] for event in rest] == list(range(21, 31))

    played(work)


def test_an_id_ahead_of_us_may_be_one_that_only_others_have_heard_of() -> None:
    async def work(tail: Tail, store: Store) -> None:
        await told(tail, store, ["act"])
        store.add(["act"])  # by another process; we have not heard of it yet
        assert [await tail.ahead(after) for after in (0, 1, 2, 3)] == [None, None, None, 2]
        seat = tail.sit(2, Wanted(), lambda: None)
        assert await tail.next(seat) is None
        tail.listen(store.events[1:], [json.dumps(store.events[1])], 0.0)
        await asyncio.sleep(0)
        assert await tail.next(seat) is None
        await told(tail, store, ["skip"])
        assert [event["id"] for event in await drain(tail, seat)] == [3]

    played(work)


def test_a_thousand_readers_are_all_woken() -> None:
    async def work(tail: Tail, store: Store) -> None:
        seats = [tail.sit(None, Wanted(), lambda: None) for _ in range(1000)]
        await told(tail, store, ["act"])
        await asyncio.wait_for(asyncio.gather(*(seat.wake.wait() for seat in seats)), 10)
        assert tail.readers == 1000

    played(work)
