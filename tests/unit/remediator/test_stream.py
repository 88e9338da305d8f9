"""Tickets: one use, a short life, a bounded number."""

from __future__ import annotations

import pytest

from autoheal.remediator import stream
from autoheal.remediator.stream import TICKET_LASTS, Tickets


def test_a_ticket_works_once_and_not_for_long() -> None:
    now = [100.0]
    tickets = Tickets(lambda: now[0])
    one, two = tickets.make(), tickets.make()
    assert tickets.redeem(one)
    assert not tickets.redeem(one)
    assert not tickets.redeem("other")
    now[0] += TICKET_LASTS + 0.1
    assert not tickets.redeem(two)


def test_the_oldest_tickets_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_TICKETS", 2)
    tickets = Tickets(lambda: 1.0)
    first, second, third = (tickets.make() for _ in range(3))
    assert [tickets.redeem(one) for one in (first, second, third)] == [False, True, True]
