"""The fake Slack's rates, by a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.testing.slack_limits import ON_ITS_WAY, Limits


class At:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def limits(posts_per_second: float = 1.0, burst: int = 3, speed: float = 1.0, **tiers: float) -> tuple[Limits, At]:
    at = At()
    named = {name.replace("_", "."): value for name, value in tiers.items()}
    return Limits(at, posts_per_second, burst, named, speed), at


def test_a_burst_and_then_one_a_second_for_each_channel() -> None:
    found, at = limits()
    assert [found.refused("chat.postMessage", "C1") for _ in range(3)] == [None] * 3
    assert found.refused("chat.postMessage", "C2") is None
    assert found.violations == []
    assert found.refused("chat.postMessage", "C1") == 1
    assert [one.kind for one in found.violations] == ["rate"]
    at.now += 1
    assert found.refused("chat.postMessage", "C1") is None
    assert found.refused("chat.postMessage", "C1") == 1


def test_who_comes_too_early_is_refused_and_noted() -> None:
    found, at = limits(burst=1)
    assert found.refused("chat.postMessage", "C1") is None
    assert found.refused("chat.postMessage", "C1") == 1
    at.now += ON_ITS_WAY / 2
    assert found.refused("chat.postMessage", "C1") == 1
    assert [one.kind for one in found.violations] == ["rate"], "it was on its way already"
    at.now += ON_ITS_WAY
    assert found.refused("chat.postMessage", "C1") == 1
    assert [one.kind for one in found.violations] == ["rate", "impatient"]
    at.now += 1
    assert found.refused("chat.postMessage", "C1") is None


def test_methods_have_tiers() -> None:
    found, _ = limits(chat_update=10)
    taken = [found.refused("chat.update") for _ in range(3)]
    assert taken[:2] == [None, None] and taken[2] == 6
    assert found.refused("conversations.history") is None
    assert [found.refused("no.tier") for _ in range(500)] == [None] * 500


def test_anybody_can_be_turned_away() -> None:
    found, at = limits()
    assert found.block("chat.update", 20) == 20
    assert found.refused("chat.update") == 20
    at.now += 19.5
    assert found.refused("chat.update") == 1
    at.now += 0.5
    assert found.refused("chat.update") is None


def test_speed_makes_everything_shorter() -> None:
    found, at = limits(burst=1, speed=100)
    assert found.refused("chat.postMessage", "C1") is None
    assert found.refused("chat.postMessage", "C1") == pytest.approx(0.01)
    at.now += 0.0101
    assert found.refused("chat.postMessage", "C1") is None


@given(
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
    st.integers(1, 5),
    st.sampled_from([0.5, 1.0, 2.0, 7.0]),
    st.sampled_from([1.0, 10.0]),
)
def test_no_window_has_more_than_allowed(pauses: list[float], burst: int, rate: float, speed: float) -> None:
    found, at = limits(rate, burst, speed)
    taken: list[float] = []
    for pause in pauses:
        at.now += pause / speed
        if found.refused("chat.postMessage", "C1") is None:
            taken.append(at.now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            window = taken[last] - taken[first]
            assert last - first + 1 <= burst + rate * speed * window + 1e-6


@given(st.lists(st.floats(0, 2), max_size=60), st.integers(1, 5))
def test_who_waits_as_told_is_let_in(pauses: list[float], burst: int) -> None:
    found, at = limits(burst=burst)
    for pause in pauses:
        at.now += pause
        seconds = found.refused("chat.postMessage", "C1")
        if seconds is not None:
            assert seconds >= 1 and seconds == int(seconds)
            at.now += seconds
            assert found.refused("chat.postMessage", "C1") is None
    assert {one.kind for one in found.violations} <= {"rate"}
