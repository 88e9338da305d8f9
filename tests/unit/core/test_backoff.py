"""Waits grow, are capped, and spread."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.core.backoff import delay


@pytest.mark.parametrize(("attempt", "span"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (10**9, 30), (0, 1)])
def test_the_span_doubles_up_to_the_cap(attempt: int, span: float) -> None:
    assert delay(attempt, 1, 30, 0.5) == span / 2
    assert delay(attempt, 1, 30, 0.5, "equal") == span * 0.75


@given(st.integers(1, 10_000), st.floats(0.001, 100), st.floats(0.001, 1e6), st.floats(0, 1, exclude_max=True))
def test_it_stays_within_its_span(attempt: int, base: float, cap: float, random01: float) -> None:
    full, equal = delay(attempt, base, cap, random01), delay(attempt, base, cap, random01, "equal")
    most = delay(attempt, base, cap, 1.0)
    assert 0 <= full <= most <= cap
    assert most / 2 <= equal <= most
