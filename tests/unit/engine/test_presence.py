"""Being there, the shared clock, and what is known of processes that are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from autoheal.engine import presence
from autoheal.engine.claims import LocalClaims, instance_name
from autoheal.engine.clock import SAMPLES, LedgerClock
from autoheal.engine.ports import Presence, StoreUnavailable
from autoheal.engine.presence import LEASE, Attendance
from autoheal.testing.clock import ManualClock
from tests.servers import wait_until


class Table:
    """Claims of two processes, whose leases the test sets."""

    alone = False
    instance = "me"

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.leases: dict[str, float] = {}
        self.away = False
        self.left = False
        self.renewals = 0

    def present(self, seconds: float, data: Mapping[str, Any]) -> float:
        if self.away:
            raise StoreUnavailable("gone")
        self.renewals += 1
        self.leases["me"] = self.clock.monotonic() + seconds
        return self.clock.now() + 1000.0

    def processes(self) -> list[Presence]:
        return [Presence(name, until - self.clock.monotonic(), {}) for name, until in self.leases.items()]

    def leave(self) -> None:
        self.left = True

    def take(self, keys: Sequence[str], seconds: float) -> set[str]:
        return set()

    def release(self, keys: Sequence[str]) -> None:
        pass


def test_alone_everybody_else_is_gone_at_once() -> None:
    clock = ManualClock()
    there = Attendance(LocalClaims("me", clock), clock, {})
    there.start()
    assert there.gone("somebody") and not there.gone("me") and there.others() == []
    there.stop()


def test_nobody_is_taken_for_gone_before_we_were_there_for_a_whole_lease() -> None:
    clock = ManualClock()
    table = Table(clock)
    there = Attendance(table, clock, {})
    there._renew()
    assert not there.gone("other")
    for _ in range(int(LEASE / presence.RENEW)):
        clock.advance(presence.RENEW)
        there._renew()
    assert there.gone("other") and not there.gone("me")
    table.leases["other"] = clock.monotonic() + 1.0
    there._renew()
    assert not there.gone("other") and [p.instance for p in there.others()] == ["other"]
    clock.advance(1.5)
    there._renew()
    assert there.gone("other") and there.others() == []


def test_a_list_from_before_it_came_says_nothing_of_a_process() -> None:
    clock = ManualClock()
    there = Attendance(Table(clock), clock, {})
    for _ in range(5):
        clock.advance(presence.RENEW)
        there._renew()
    told = clock.now() + 1000.0
    assert there.gone("new", told - 10.0) and not there.gone("new", told)
    clock.advance(presence.RENEW)
    there._renew()
    assert there.gone("new", told)


def test_after_a_break_of_our_own_nobody_is_gone_for_another_lease() -> None:
    clock = ManualClock()
    there = Attendance(Table(clock), clock, {})
    for _ in range(5):
        there._renew()
        clock.advance(presence.RENEW)
    assert there.gone("other")
    clock.advance(LEASE + 1.0)
    there._renew()
    assert not there.gone("other")


def test_a_database_that_is_away_is_asked_again_and_nobody_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "RENEW", 0.01)
    monkeypatch.setattr(presence, "TRY_AGAIN", 0.01)
    clock = ManualClock()
    table = Table(clock)
    there = Attendance(table, clock, {})
    there.start()
    table.away = True
    wait_until(lambda: there._since is None, what="the failure to be noticed")
    clock.advance(100.0)
    assert not there.gone("other")
    table.away = False
    before = table.renewals
    wait_until(lambda: table.renewals > before + 2, what="renewals")
    there.stop()
    assert table.left


def test_it_does_not_begin_without_the_database() -> None:
    clock = ManualClock()
    table = Table(clock)
    table.away = True
    with pytest.raises(StoreUnavailable):
        Attendance(table, clock, {}).start()


# ---- the clock ------------------------------------------------------------------------------------------------------


def test_the_ledgers_clock_counts_and_not_the_machines() -> None:
    system = ManualClock(5_000.0)
    clock = LedgerClock(system)
    assert clock.now() == system.now()
    asked = system.monotonic()
    clock.feed(90_000.0, asked, asked + 0.2)
    assert clock.now() == pytest.approx(90_000.0 - 0.1)
    system.advance(7.0)
    assert clock.now() == pytest.approx(90_006.9) and clock.monotonic() == system.monotonic()


def test_of_several_readings_the_quickest_is_believed_until_it_is_old() -> None:
    system = ManualClock(0.0)
    clock = LedgerClock(system)
    at = system.monotonic()
    clock.feed(1000.0, at, at + 0.01)
    clock.feed(1007.0, at, at + 4.0)
    assert clock.now() == pytest.approx(1000.0 - 0.005)
    for _ in range(SAMPLES):
        clock.feed(2000.0, at, at + 1.0)
    assert clock.now() == pytest.approx(1999.5)


def test_an_attendance_feeds_the_clock() -> None:
    system = ManualClock(0.0)
    clock = LedgerClock(system)
    Attendance(Table(system), clock, {})._renew()
    assert clock.now() == pytest.approx(system.now() + 1000.0)


def test_no_two_instances_have_one_name() -> None:
    names = {instance_name("host", 7) for _ in range(100)}
    assert len(names) == 100 and all(name.startswith("host:7:") for name in names)
