"""Tokens: deterministic, bound to exact labels and to one purpose, expiring, and not to be made by anybody else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.testing.clock import ManualClock
from autoheal.threader.conversation import Acknowledged, Conversation, Member
from autoheal.threader.look import GROUP
from autoheal.threader.tokens import (
    CONFIRM_LASTS,
    DAY,
    LASTS,
    MAX_TOKEN,
    Claim,
    Purpose,
    Tokens,
    digest_of,
    labels_for,
)

KEY = "ab" * 16
NOW = 1_700_000_000.0
PURPOSES: tuple[Purpose, ...] = ("button", "link", "confirm")


def member(number: int, firing: bool = True, **labels: str) -> Member:
    given_ones = {"alertname": "Down", "instance": f"web-{number}", **labels}
    return Member(f"{number:016x}", given_ones, NOW, NOW, firing)


def group(*members: Member, **changed: Any) -> Conversation:
    made = Conversation(KEY, "http://am:9093", "slack", "{}", {"alertname": "Down"}, "#alerts", NOW)
    made.members = {one.fingerprint: one for one in members}
    made.fired_at = made.news_at = made.heard_at = NOW
    return replace(made, **changed)


def tokens(clock: ManualClock | None = None, key: bytes = b"key") -> Tokens:
    return Tokens(key, (clock or ManualClock(NOW)).now)


# ---- what may be silenced -------------------------------------------------------------------------------------------


def test_one_alert_is_asked_for_by_all_its_labels_and_several_by_the_groups() -> None:
    one, two = member(1), member(2)
    assert labels_for(group(one), GROUP) == one.labels
    assert labels_for(group(one, member(3, firing=False)), GROUP) == one.labels
    assert labels_for(group(one, two), GROUP) == {"alertname": "Down"}
    assert labels_for(group(one, truncated=3), GROUP) == {"alertname": "Down"}
    assert labels_for(group(one, two), two.fingerprint) == two.labels


def test_what_does_not_fire_or_would_match_everything_is_never_asked_for() -> None:
    assert labels_for(group(member(1, firing=False)), GROUP) is None
    assert labels_for(group(member(1, firing=False)), f"{1:016x}") is None
    assert labels_for(group(member(1)), f"{9:016x}") is None
    assert labels_for(group(member(1), member(2), group_labels={}), GROUP) is None
    assert labels_for(group(member(1), member(2), group_labels={"a": "", "b": ""}), GROUP) is None
    assert labels_for(group(Member("f" * 16, {"a": ""}, NOW, NOW)), GROUP) is None


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
some = st.dictionaries(names, st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=5)


@given(some, st.lists(some, max_size=3), st.booleans())
def test_no_scope_ever_gives_labels_that_match_everything(
    grouped: dict[str, str], alerts: list[dict[str, str]], firing: bool
) -> None:
    c = group(*(Member(f"{n:016x}", one, NOW, NOW, firing or n == 0) for n, one in enumerate(alerts)))
    c.group_labels = grouped
    for scope in (GROUP, *c.members, "nothing"):
        labels = labels_for(c, scope)
        assert labels is None or any(labels.values())
        assert labels is None or labels in [grouped, *(one.labels for one in c.firing)]


# ---- what a token is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_token_says_what_it_was_made_for(purpose: Purpose) -> None:
    c, by = group(member(1), member(2)), tokens()
    claim = by.read(purpose, by.make(purpose, c, GROUP, "2h", "seen"))
    assert isinstance(claim, Claim)
    assert (claim.key, claim.scope, claim.duration, claim.shown) == (KEY, GROUP, "2h", "seen")
    assert claim.labels_digest == digest_of({"alertname": "Down"})


def test_the_same_conversation_gives_the_same_bytes() -> None:
    c = group(member(1), member(2))
    for purpose in ("button", "link"):
        assert tokens().make(purpose, c, GROUP, "2h") == tokens(ManualClock(NOW + 50)).make(purpose, c, GROUP, "2h")
    assert tokens().make("confirm", c, GROUP, "2h") != tokens().make("confirm", c, GROUP, "2h")


def test_a_link_is_another_one_after_each_transition_and_a_button_is_not() -> None:
    c, by = group(member(1)), tokens()
    later = replace(c, number=c.number + 1)
    assert by.make("button", c, GROUP, "2h") == by.make("button", later, GROUP, "2h")
    assert by.make("link", c, GROUP, "2h") != by.make("link", later, GROUP, "2h")


def test_a_link_is_another_one_in_each_thread_of_a_group() -> None:
    """A new thread begins to count anew, so that all else is the same."""
    c, by = group(member(1)), tokens()
    again = replace(c, opened_at=c.opened_at + 3600)
    assert by.make("link", c, GROUP, "2h") != by.make("link", again, GROUP, "2h")
    assert by.make("button", c, GROUP, "2h") == by.make("button", again, GROUP, "2h")


def test_a_token_is_short_enough_for_a_menu_and_needs_no_quoting() -> None:
    silence = "0f8fad5b-d9cb-469f-a165-70867728950e"
    c = group(member(1), member(2), number=10**6)
    c.acks[silence] = Acknowledged(silence, {}, NOW + 60, "ann", NOW)
    by = tokens()
    assert len(by.make("button", c, f"{1:016x}", "24h")) <= 150
    for purpose in PURPOSES:
        for scope in (GROUP, f"{1:016x}", silence):
            token = by.make(purpose, c, scope, "1d12h30m", digest_of("seen"))
            assert 0 < len(token) < 300 < MAX_TOKEN and quote(token, safe="") == token


def test_where_nothing_can_be_done_there_is_no_token() -> None:
    gone = group(member(1, firing=False))
    by = tokens()
    assert by.make("button", gone, GROUP, "2h") == by.make("button", gone, GROUP, "undo") == ""
    assert by.make("button", group(member(1)), "9" * 16, "2h") == ""
    odd = group(member(1))
    odd.acks["an id <with> signs"] = Acknowledged("x", {}, NOW, "ann", NOW)
    assert by.make("button", odd, "an id <with> signs", "2h") == ""


def test_an_undo_holds_whatever_becomes_of_the_alerts() -> None:
    c = group(member(1))
    c.acks["s-1"] = Acknowledged("s-1", {}, NOW + 60, "ann", NOW)
    by = tokens()
    token = by.make("button", c, GROUP, "undo")
    c.members.clear()
    assert by.make("button", c, GROUP, "undo") == token != ""
    claim = by.read("button", token)
    assert isinstance(claim, Claim) and claim.labels_digest == ""


# ---- until when ------------------------------------------------------------------------------------------------------


@given(st.floats(0, 3 * DAY), st.floats(0, 3 * DAY))
def test_it_holds_for_a_week_after_the_last_that_was_heard_and_not_much_longer(fired: float, heard: float) -> None:
    clock = ManualClock(NOW)
    by = tokens(clock)
    c = group(member(1), fired_at=NOW + fired, news_at=NOW, heard_at=NOW + heard)
    token = by.make("button", c, GROUP, "2h")
    last = max(fired, heard)
    clock.advance(last + LASTS * DAY)
    assert isinstance(by.read("button", token), Claim)
    clock.advance(DAY + 1)
    assert by.read("button", token) == "late"
    assert by.signed("button", token) is not None


def test_a_confirmation_holds_for_ten_minutes() -> None:
    clock = ManualClock(NOW)
    by = tokens(clock)
    token = by.make("confirm", group(member(1)), GROUP, "2h")
    clock.advance(CONFIRM_LASTS)
    assert isinstance(by.read("confirm", token), Claim)
    clock.advance(1.1)
    assert by.read("confirm", token) == "late"


# ---- by whom ---------------------------------------------------------------------------------------------------------


def test_a_token_is_worth_nothing_elsewhere_or_for_something_else() -> None:
    c = group(member(1))
    for made_for in PURPOSES:
        token = tokens().make(made_for, c, GROUP, "2h")
        assert tokens(key=b"another").read(made_for, token) == "forged"
        for used_for in PURPOSES:
            assert (tokens().read(used_for, token) == "forged") is (used_for != made_for)


@given(st.integers(0, 400), st.characters(codec="utf-8"))
def test_any_change_is_seen(place: int, letter: str) -> None:
    token = tokens().make("button", group(member(1)), GROUP, "2h")
    place %= len(token)
    changed = token[:place] + letter + token[place + 1 :]
    assert (tokens().read("button", changed) == "forged") is (changed != token)


@given(st.text() | st.text("abc.-_0129", max_size=700))
def test_what_is_no_token_is_refused_and_never_raises(text: str) -> None:
    assert tokens().read("link", text) == "forged"
    assert len(tokens().code(text)) == 4


def test_parts_cannot_be_moved_from_one_token_to_another() -> None:
    by, c = tokens(), group(member(1), member(2))
    short, long = (by.make("button", c, GROUP, duration) for duration in ("30m", "24h"))
    mixed = ".".join([*long.split(".")[:-1], short.split(".")[-1]])
    assert by.read("button", mixed) == "forged"


def test_digits_are_four_belong_to_one_token_and_are_none_that_are_guessed_first() -> None:
    by, c = tokens(), group(member(1))
    codes = [by.code(by.make("link", replace(c, number=n), GROUP, "2h")) for n in range(3000)]
    assert all(len(code) == 4 and code.isdecimal() and code.isascii() for code in codes)
    assert not {"1234", "0000", "1111", "4321"} & set(codes)
    assert len(set(codes)) > 2000
    assert by.code("x") == tokens().code("x") and by.code("x") != tokens(key=b"another").code("x")


@given(some, some)
def test_a_digest_stands_for_exactly_its_labels(one: dict[str, str], other: dict[str, str]) -> None:
    assert (digest_of(one) == digest_of(other)) is (one == other)
    assert digest_of(one) == digest_of(dict(reversed(one.items())))
