"""Tokens for one use: bound to what they were made for, for a while, once over all processes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autoheal.testing.clock import ManualClock
from autoheal.testing.memory_claims import MemoryClaims, Table
from autoheal.web.once import OnceTokens

KEY = b"a key that two processes share"
LABELS = {"alertname": "A"}


def tokens(table: Table | None = None, name: str = "a", key: bytes = KEY) -> OnceTokens:
    table = table or Table(ManualClock())
    return OnceTokens(MemoryClaims(table, name), table.clock.now, key)


def test_a_token_works_once() -> None:
    one = tokens()
    token = one.make("click", LABELS, 600)
    assert [one.redeem("click", LABELS, token), one.redeem("click", LABELS, token)] == [None, "used"]


def test_a_token_ends() -> None:
    clock = ManualClock()
    one = tokens(Table(clock))
    token = one.make("click", LABELS, 600)
    clock.advance(601.5)
    assert one.redeem("click", LABELS, token) == "late"


def test_one_process_makes_it_another_redeems_it_and_then_nobody_does() -> None:
    table = Table(ManualClock())
    here, there = tokens(table, "a"), tokens(table, "b")
    token = here.make("events", None, 30)
    assert there.redeem("events", None, token) is None
    assert [here.redeem("events", None, token), there.redeem("events", None, token)] == ["used", "used"]


def test_a_token_is_worth_nothing_elsewhere_or_for_something_else() -> None:
    token = tokens().make("click", LABELS, 600)
    assert tokens(key=b"another").redeem("click", LABELS, token) == "forged"
    assert tokens().redeem("events", LABELS, token) == "forged"


pairs = st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), min_size=1, max_size=3)


@given(pairs, pairs, st.text(max_size=5))
def test_a_token_holds_for_exactly_what_it_was_made_for(
    shown: dict[str, str], asked: dict[str, str], comment: str
) -> None:
    one = tokens()
    token = one.make("click", [shown, comment], 600)
    assert one.redeem("click", [shown, comment + "x"], token) == "forged"
    assert one.redeem("click", [asked, comment], token) == (None if asked == shown else "forged")
    assert one.redeem("click", [shown, comment], token) == ("used" if asked == shown else None)


@given(st.text(max_size=40) | st.from_regex(r"\A\w{3}\.[0-9a-z.]{1,9}\.\w{64}\Z"))
def test_no_made_up_token_is_taken(token: str) -> None:
    assert tokens().redeem("click", LABELS, token) == "forged"
