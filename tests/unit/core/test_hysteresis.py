"""Down and up take rows of answers; healed takes a row that lasts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.core.hysteresis import Hysteresis, Streak


def test_down_takes_a_row_and_so_does_up() -> None:
    seen = Hysteresis(3, 2)
    assert [seen.feed(ok) for ok in (False, False, False, False, True, True, True)] == [
        None,
        None,
        "down",
        None,
        None,
        "up",
        None,
    ]


def test_the_counters_reset_each_other() -> None:
    seen = Hysteresis(3, 2)
    assert [seen.feed(ok) for ok in (False, False, True, False, False, True)] == [None] * 6
    assert not seen.down
    assert [seen.feed(False) for _ in range(3)] == [None, None, "down"]
    assert [seen.feed(ok) for ok in (True, False, True, False)] == [None] * 4
    assert seen.down


def test_wavering_is_the_time_between() -> None:
    seen = Hysteresis(2, 1)
    assert not seen.wavering
    seen.feed(False)
    assert seen.wavering
    seen.feed(False)
    assert seen.down and not seen.wavering


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_changes_alternate_and_each_is_earned(answers: list[bool], down_after: int, up_after: int) -> None:
    seen = Hysteresis(down_after, up_after)
    changes = []
    for index, ok in enumerate(answers):
        change = seen.feed(ok)
        if change is not None:
            changes.append(change)
            needed = down_after if change == "down" else up_after
            assert answers[index + 1 - needed : index + 1] == [change == "up"] * needed
    assert changes == ["down", "up"] * (len(changes) // 2) + ["down"] * (len(changes) % 2)


# ---- healed --------------------------------------------------------------------------------------------------------


def test_three_good_ones_over_ten_seconds_are_healed() -> None:
    streak = Streak(since=100)
    assert [streak.feed("good", at) for at in (101, 106, 111)] == [None, None, "healed"]


def test_three_good_ones_too_quickly_are_not() -> None:
    streak = Streak(since=100)
    assert [streak.feed("good", at) for at in (101, 102, 103, 110.9)] == [None] * 4
    assert streak.feed("good", 111) == "healed"


def test_two_good_ones_far_apart_are_not() -> None:
    streak = Streak(since=100)
    assert [streak.feed("good", at) for at in (101, 200)] == [None, None]


@pytest.mark.parametrize("between", ["bad", "none"])
def test_anything_else_ends_the_row(between: str) -> None:
    streak = Streak(since=0)
    streak.feed("good", 1)
    streak.feed("good", 6)
    assert streak.running
    streak.feed(between, 8)  # type: ignore[arg-type]
    assert not streak.running
    assert [streak.feed("good", at) for at in (11, 16)] == [None, None]
    assert streak.feed("good", 21) == "healed"


def test_what_was_seen_before_the_actions_end_counts_for_nothing() -> None:
    streak = Streak(since=100)
    assert [streak.feed("good", at) for at in (80, 90, 99)] == [None] * 3
    assert not streak.running
    assert streak.verdict_at_deadline() == "inconclusive"


def test_a_clock_that_jumps_back_starts_the_row_anew() -> None:
    streak = Streak(since=0)
    streak.feed("good", 50)
    assert [streak.feed("good", at) for at in (40, 45)] == [None, None]
    assert streak.feed("good", 50) == "healed"


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([], "inconclusive"),
        (["none"], "inconclusive"),
        (["bad"], "failed"),
        (["good", "bad"], "failed"),
        (["none", "bad"], "failed"),
        (["bad", "none"], "inconclusive"),
        (["bad", "good"], "inconclusive"),
    ],
)
def test_the_verdict_at_the_deadline(answers: list[str], verdict: str) -> None:
    streak = Streak(since=0)
    for at, answer in enumerate(answers):
        streak.feed(answer, at)  # type: ignore[arg-type]
    assert streak.verdict_at_deadline() == verdict


@given(st.lists(st.tuples(st.sampled_from(["good", "bad", "none"]), st.floats(0, 8)), max_size=40))
def test_healed_only_by_an_unbroken_row(steps: list[tuple[str, float]]) -> None:
    streak, now, row = Streak(since=5), 0.0, list[float]()
    for answer, gap in steps:
        now += gap
        healed = streak.feed(answer, now)  # type: ignore[arg-type]
        if now >= 5:
            row = [*row, now] if answer == "good" else []
        assert (healed == "healed") == (answer == "good" and now >= 5 and len(row) >= 3 and now - row[0] >= 10)
