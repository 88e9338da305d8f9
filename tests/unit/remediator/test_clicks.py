"""The proof of a click: bound to what was shown, once, for ten minutes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.remediator import clicks
from autoheal.remediator.clicks import LASTS, Clicks

LABELS = {"alertname": "A"}


def test_a_token_works_once() -> None:
    one = Clicks(lambda: 1000.0)
    token = one.make(LABELS, "1h", "why")
    assert one.redeem(token, LABELS, "1h", "why") is None
    assert "already" in str(one.redeem(token, LABELS, "1h", "why"))


def test_a_token_ends() -> None:
    now = [1000.0]
    one = Clicks(lambda: now[0])
    token = one.make(LABELS, "1h", "")
    now[0] += LASTS + 1
    assert "too long" in str(one.redeem(token, LABELS, "1h", ""))


def test_a_token_is_worth_nothing_elsewhere() -> None:
    token = Clicks(lambda: 1.0).make(LABELS, "1h", "")
    assert "does not belong" in str(Clicks(lambda: 1.0).redeem(token, LABELS, "1h", ""))


def test_used_tokens_are_forgotten_only_after_they_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    one = Clicks(lambda: now[0])
    first = one.make(LABELS, "1h", "")
    assert one.redeem(first, LABELS, "1h", "") is None
    now[0] += LASTS + 5
    assert one.redeem(one.make(LABELS, "1h", ""), LABELS, "1h", "") is None
    assert list(one._used.values()) == [now[0] + LASTS]
    assert "too long" in str(one.redeem(first, LABELS, "1h", ""))


labels = st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), min_size=1, max_size=3)


@given(labels, labels, st.text(max_size=5), st.text(max_size=5))
def test_a_token_holds_for_exactly_what_it_was_made_for(
    shown: dict[str, str], asked: dict[str, str], duration: str, comment: str
) -> None:
    one = Clicks(lambda: 1.0)
    token = one.make(shown, duration, comment)
    if asked != shown:
        assert one.redeem(token, asked, duration, comment) is not None
    assert one.redeem(token, shown, duration + "x", comment) is not None
    assert one.redeem(token, shown, duration, comment + "x") is not None
    assert one.redeem(token, shown, duration, comment) is None


@given(st.text(max_size=40) | st.from_regex(r"\A\w{3}\.[0-9a-z.]{1,9}\.\w{64}\Z"))
def test_no_made_up_token_is_taken(token: str) -> None:
    assert Clicks(lambda: 1.0).redeem(token, LABELS, "1h", "") is not None


def test_how_long() -> None:
    assert clicks.LASTS == 600.0
