"""Whoever keeps to the order is never part of a ring of transactions that wait for each other."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.store.order import CHANNELS, THREADS, WORK, Order, Place

A, B, C = ((THREADS, name, "") for name in "abc")
A_POST, A_EDIT, B_POST = (WORK, "a", "post"), (WORK, "a", "edit"), (WORK, "b", "post")
ONE, TWO = (CHANNELS, "#1", ""), (CHANNELS, "#2", "")


@pytest.mark.parametrize(
    ("held", "may", "may_not"),
    [
        ([], [A, A_POST, ONE], []),
        ([B], [B, C, B_POST, ONE], [A, A_POST]),
        ([A, C], [A, A_POST, A_EDIT], [B, B_POST]),
        ([A, A_POST], [A, A_POST, A_EDIT, ONE], [B, B_POST]),
        ([A, B, B_POST], [A_EDIT, A_POST], [C]),
        ([A_POST], [A_POST, ONE], [A, B, A_EDIT, B_POST]),
        ([A, B_POST], [ONE, TWO], [A_POST, A_EDIT, B]),
        ([A, TWO], [A, TWO, (CHANNELS, "#3", "")], [ONE, B, A_POST]),
    ],
)
def test_what_may_be_waited_for(held: list[Place], may: list[Place], may_not: list[Place]) -> None:
    order = Order()
    for place in held:
        order.has(place)
    assert [place for place in may if not order.allows(place)] == []
    assert [place for place in may_not if order.allows(place)] == []
    assert all(map(order.holds, held))


class Transaction:
    """Takes rows in any order, at random; gives up where the order would be broken and somebody has the row."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.order = Order()
        self.left = dice.randint(1, 6)
        self.wants: Place | None = None

    def step(self, owners: dict[Place, Transaction]) -> bool:
        """Whether it goes on."""
        place = self.wants or random_place(self.dice)
        claims = self.wants is None and self.dice.random() < 0.3
        if owners.get(place, self) is not self:
            if claims:
                return True
            if not self.order.allows(place):
                return False
            self.wants = place
            return True
        self.wants = None
        owners[place] = self
        self.order.has(place)
        self.left -= 1
        return self.left > 0


def random_place(dice: random.Random) -> Place:
    name = dice.choice("abc")
    return dice.choice([(THREADS, name, ""), (WORK, name, "post"), (WORK, name, "edit"), (CHANNELS, name, "")])


@given(st.integers(0, 2**32))
def test_nobody_waits_for_ever(seed: int) -> None:
    dice = random.Random(seed)
    owners: dict[Place, Transaction] = {}
    running = [Transaction(dice) for _ in range(5)]
    for _ in range(400):
        one = dice.choice(running)
        if not one.step(owners):
            owners = {place: owner for place, owner in owners.items() if owner is not one}
            running[running.index(one)] = Transaction(dice)
        for first in running:
            seen, at = [], first
            while at.wants is not None and owners.get(at.wants, at) is not at:
                assert at not in seen, "a ring"
                seen.append(at)
                at = owners[at.wants]
