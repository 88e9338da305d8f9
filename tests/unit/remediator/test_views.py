"""What the views remember: one look for all who ask, and only those rules again that something happened to."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from autoheal.core.policy import Policy, Rule
from autoheal.core.state import State
from autoheal.remediator import views
from autoheal.remediator.views import Fresh, Views
from autoheal.testing.clock import ManualClock


def test_many_who_ask_at_once_are_given_one_answer() -> None:
    clock, made = ManualClock(), []

    async def make() -> int:
        made.append(1)
        await asyncio.sleep(0)
        return len(made)

    async def ask() -> None:
        fresh = Fresh(make, clock.monotonic, 5.0)
        assert await asyncio.gather(*(fresh.get() for _ in range(50))) == [1] * 50
        clock.advance(4.9)
        assert await fresh.get() == 1
        clock.advance(0.2)
        assert await asyncio.gather(*(fresh.get() for _ in range(50))) == [2] * 50

    asyncio.run(ask())


def test_a_failure_is_told_and_not_remembered() -> None:
    tries = []

    async def make() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise OSError
        return "there"

    async def ask() -> None:
        fresh = Fresh(make, ManualClock().monotonic, 5.0)
        with pytest.raises(OSError):
            await fresh.get()
        assert await fresh.get() == "there"

    asyncio.run(ask())


class Place:
    """Views of a policy with some rules, on a reader that notes what it is asked for and takes its time."""

    def __init__(self, rules: int, takes: float = 0.0) -> None:
        self.clock = ManualClock()
        self.asked: list[str] = []
        self.takes = takes
        policy = Policy(rules=tuple(Rule(f"rule{at}", (), ()) for at in range(rules)))
        head = SimpleNamespace(clock=self.clock, policy=policy, state=State())
        self.views = Views(SimpleNamespace(head=head, reader=self))  # type: ignore[arg-type]

    def remediations(self, rule: str, n: int) -> list[Any]:
        self.asked.append(rule if n == 1000 else f"{rule} in small")
        self.clock.advance(self.takes)
        return []

    def look(self) -> list[str]:
        """One look at the rules: which were read from the store for it."""
        self.asked.clear()
        assert len(self.views._read_results()) == len(self.views._service.head.policy.rules)
        return list(self.asked)

    def tell(self, kind: str, *rules: str | None) -> None:
        self.views.follow([{"kind": kind, "rule": rule} for rule in rules], [], 0.0)


def test_only_rules_that_something_happened_to_are_read_again() -> None:
    place = Place(3)
    assert place.look() == ["rule0", "rule1", "rule2"]
    assert place.look() == []
    place.tell("heartbeat", None)
    place.tell("decision_skip", "rule0")
    assert place.look() == []
    place.tell("verify_ok", "rule1")
    place.tell("marked", "rule1", "elsewhere")
    assert place.look() == ["rule1"]
    assert place.look() == []


ALL = [f"rule{at}" for at in range(100)]


def test_hundreds_of_rules_are_known_at_once_and_in_full_by_and_by() -> None:
    place = Place(100, takes=views.PATIENCE / 9.5)
    assert place.look() == ALL[:10] + [f"{name} in small" for name in ALL[10:]]
    assert {results.over for results in place.views._rules.values()} == {1000, views.QUICK}
    later = [name for _ in range(9) for name in place.look()]
    assert later == ALL[10:]
    assert place.look() == []


def test_hundreds_of_busy_rules_are_read_in_turns() -> None:
    place = Place(100)
    place.look()
    place.takes = views.PATIENCE / 9.5
    seen: list[str] = []
    for _ in range(10):
        place.tell("action_ok", *ALL)
        found = place.look()
        assert len(found) == 10
        seen += found
    assert sorted(seen) == sorted(ALL), "each had its turn"


def test_a_rule_that_has_left_the_policy_is_forgotten() -> None:
    place = Place(2)
    place.look()
    head: Any = place.views._service.head
    head.policy = Policy(rules=(Rule("rule1", (), ()), Rule("new", (), ())))
    assert place.look() == ["new"]
    assert place.views._rules.keys() == {"rule1", "new"}
