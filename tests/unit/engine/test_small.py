"""The small parts: the alert book, the clocks, the crash points."""

from __future__ import annotations

import os
import signal

import pytest

from autoheal.core.gates import Silenced
from autoheal.engine import crash
from autoheal.engine.book import FRESH, AlertBook
from autoheal.engine.clock import SystemClock
from autoheal.testing.clock import ManualClock
from autoheal.testing.fake_world import FakeAlertmanagers
from tests.unit.core.make import T0, alert


@pytest.mark.anyio
async def test_one_answer_serves_many_for_a_moment() -> None:
    clock = ManualClock(T0)
    cluster = FakeAlertmanagers(clock=clock)
    book = AlertBook(cluster, clock)
    cluster.fire("f", alert().labels, T0)
    for _ in range(5):
        page = await book.page()
        assert page is not None and page.firing("f") is True and page.firing("g") is False
    assert cluster.asked == 1
    clock.advance(FRESH + 0.1)
    cluster.complete = False
    page = await book.page()
    assert cluster.asked == 2 and page is not None and page.firing("g") is None


@pytest.mark.anyio
async def test_out_of_reach_is_an_answer_that_serves_many_too() -> None:
    clock = ManualClock(T0)
    cluster = FakeAlertmanagers(clock=clock, down={"http://am-1:9093"})
    book = AlertBook(cluster, clock)
    assert [await book.page() for _ in range(3)] == [None] * 3
    assert cluster.asked == 1 and await book.silenced("f") == Silenced(False)


@pytest.mark.anyio
async def test_silenced_by_what_and_until_when() -> None:
    clock = ManualClock(T0)
    cluster = FakeAlertmanagers(clock=clock)
    silence = await cluster.create_silence({"a": "b"}, T0, T0 + 60.0, "bob", "")
    cluster.fire("f", alert().labels, T0, (silence,))
    book = AlertBook(cluster, clock)
    assert await book.silenced("f") == Silenced(True, (silence,), T0 + 60.0)
    assert await book.silenced("g") == Silenced(True)


def test_the_machines_clock_is_seconds() -> None:
    clock = SystemClock()
    assert clock.now() > 1.6e9
    first = clock.monotonic()
    assert clock.monotonic() >= first


def test_a_manual_clock_passes_and_jumps() -> None:
    clock = ManualClock(T0)
    before = clock.monotonic()
    clock.advance(5.0)
    clock.jump(-100.0)
    assert clock.now() == T0 - 95.0 and clock.monotonic() == before + 5.0


def test_a_crash_point_kills_when_it_is_passed_often_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, how: killed.append((pid, how)))
    monkeypatch.setattr(crash, "_wanted", "")
    with pytest.raises(ValueError, match="no crash point 'somewhere'"):
        crash.arm("somewhere")
    crash.crash_point("before_commit")
    crash.arm("before_commit", 2)
    crash.crash_point("after_commit")
    crash.crash_point("before_commit")
    assert killed == []
    crash.crash_point("before_commit")
    assert killed == [(os.getpid(), signal.SIGKILL)]
