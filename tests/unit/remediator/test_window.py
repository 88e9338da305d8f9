"""A quantile over the last minutes: near the true one, and without what is too old."""

from __future__ import annotations

import random
from statistics import quantiles

import pytest

from autoheal.remediator.window import Durations
from autoheal.testing.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_nothing_has_no_quantile(clock: ManualClock) -> None:
    assert Durations(clock.monotonic, 10).quantile(0.95) is None


@pytest.mark.parametrize("middle", [0.0004, 0.003, 0.05, 0.2, 3.0])
def test_it_is_near_the_true_one(clock: ManualClock, middle: float) -> None:
    given = random.Random(7)
    durations = Durations(clock.monotonic, 10)
    values = [middle * given.lognormvariate(0, 0.7) for _ in range(3000)]
    for value in values:
        durations.add(value)
        clock.advance(0.15)
    assert durations.quantile(0.95) == pytest.approx(quantiles(values, n=20)[-1], rel=0.2)


def test_it_says_on_which_side_of_the_target_it_lies(clock: ManualClock) -> None:
    for value, below in ((0.199, True), (0.201, False)):
        durations = Durations(clock.monotonic, 10)
        for _ in range(100):
            durations.add(value)
        found = durations.quantile(0.95)
        assert found is not None and (found < 0.2) is below


def test_what_is_old_is_forgotten_minute_by_minute(clock: ManualClock) -> None:
    durations = Durations(clock.monotonic, 10)
    durations.add(5.0)
    clock.advance(9 * 60)
    durations.add(0.001)
    assert (durations.quantile(1.0) or 0) > 4
    clock.advance(60)
    assert (durations.quantile(1.0) or 0) < 0.01
    clock.advance(600)
    assert durations.quantile(1.0) is None


def test_extremes_are_counted_and_memory_is_bounded(clock: ManualClock) -> None:
    durations = Durations(clock.monotonic, 10)
    durations.add(0.0)
    assert 0 <= (durations.quantile(0.95) or 0) < 0.001
    for _ in range(100):
        durations.add(1e6)
        clock.advance(60)
    assert len(durations._minutes) == 10
    assert 30 < (durations.quantile(0.5) or 0) < 60
