"""The overview from a state: which list, which times, and never more than is shown."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from autoheal.core.policy import Policy, Rule
from autoheal.core.remediation import Remediation
from autoheal.core.state import Ack, Breaker, Escalation, Mode, Override, Slot, State
from autoheal.remediator import overview
from autoheal.remediator.overview import Slots

NOW = 1_000_000.0


def remediation(number: int, state: str, **more: Any) -> Remediation:
    given = {
        "rule": "restart",
        "rule_digest": "",
        "key": f"k{number}",
        "alertname": "A",
        "fingerprint": f"f{number}",
        "episode": "e",
        "labels": {"alertname": "A"},
        "annotations": {},
        "starts_at": NOW,
        "received_at": NOW,
        "created_at": NOW,
    }
    return Remediation(id=f"r{number}", state=state, **given | more)


def holding(*given: Remediation) -> State:
    state = State(last_id=9, mode=Mode(True, False))
    for one in given:
        state.index(one)
    return state


@pytest.mark.parametrize(
    ("given", "place", "since", "until"),
    [
        ({"state": "held", "hold": "approval", "hold_until": NOW + 900}, "approvals", NOW, NOW + 900),
        ({"state": "held", "hold": "blast_radius", "hold_until": NOW + 60}, "active", NOW, NOW + 60),
        ({"state": "reserved", "queued_at": NOW + 5}, "active", NOW + 5, None),
        (
            {"state": "running", "run_until": NOW + 80, "steps": [{"started_at": NOW + 9}, {"started_at": NOW + 10}]},
            "active",
            NOW + 10,
            NOW + 70,
        ),
        ({"state": "running", "queued_at": NOW + 1}, "active", NOW + 1, None),
        ({"state": "verifying", "step_ended_at": NOW + 20, "verify_until": NOW + 140}, "active", NOW + 20, NOW + 140),
        ({"state": "unknown", "ended_at": NOW + 30, "hold": "approval"}, "unknown", NOW + 30, None),
    ],
)
def test_each_stands_in_its_place_with_its_times(
    given: dict[str, Any], place: str, since: float, until: float | None
) -> None:
    found = overview.of_state(holding(remediation(1, **given)))
    lists = {"active": found["active"]} | {name: found["waiting"][name] for name in ("approvals", "unknown")}
    assert {name: len(rows) for name, rows in lists.items()} == dict.fromkeys(lists, 0) | {place: 1}
    [row] = lists[place]
    assert (row["since"], row["until"]) == (since, until)
    assert row["hold"] == (given["hold"] if given["state"] == "held" else None)


def test_the_newest_are_shown_and_all_are_counted() -> None:
    state = holding(*(remediation(number, ("reserved", "unknown")[number % 2]) for number in range(1, 1001)))
    found = overview.of_state(state)
    assert found["active_total"] == found["waiting"]["unknown_total"] == 500
    assert [row["id"] for row in found["active"]] == [f"r{number}" for number in range(1000, 800, -2)]
    assert [row["id"] for row in found["waiting"]["unknown"]] == [f"r{number}" for number in range(999, 799, -2)]
    orjson.dumps(found)


def test_what_is_told_does_not_change_with_the_state() -> None:
    one = remediation(1, "reserved")
    state = holding(one)
    found = overview.of_state(state)
    one.labels["alertname"] = "B"
    assert found["active"][0]["labels"] == {"alertname": "A"}


def test_escalations_silences_and_breakers() -> None:
    state = holding()
    for at in range(150):
        key = f"e{at}"
        state.escalations[key] = Escalation(key, "warning", "failed", "what", NOW + at, "restart", "A", f"r{at}")
    state.acks["s2"] = Ack("s2", {"a": "b"}, NOW + 20, "ann", "later")
    state.acks["s1"] = Ack("s1", {"a": "b"}, NOW + 10, "ann", "sooner")
    state.breakers["live|restart"] = Breaker(3, NOW + 9)
    found = overview.of_state(state)
    assert [e["key"] for e in found["waiting"]["escalations"]] == [f"e{at}" for at in range(149, 49, -1)]
    assert found["waiting"]["escalations_total"] == 150
    assert [a["silence_id"] for a in found["acks"]] == ["s1", "s2"] and "hides" not in found["acks"][0]
    assert found["breakers"] == [{"rule": "restart", "failures": 3, "open_until": NOW + 9}]


POLICY = Policy(rules=(Rule("slow", (), (), cooldown=600), Rule("quick", (), (), cooldown=1)))


def slots(*given: tuple[str, str, float]) -> Slots:
    state = State()
    for key, rule, ago in given:
        state.slots[key] = Slot(NOW - ago, "A", rule, "e", 1, "r1")
    return Slots.of(state)


def test_cooldowns_that_run_in_this_lane_the_soonest_end_first() -> None:
    taken = slots(
        ("live|slow{x}", "slow", 100),
        ("live|quick{x}", "quick", 10),
        ("live|quick{y}", "quick", 30),
        ("live|slow{y}", "slow", 600),
        ("dry|slow{x}", "slow", 1),
        ("live|gone{x}", "gone", 1),
        ("live|slow{z}", "slow", 590),
    )
    rows, total = overview.cooldowns(taken, POLICY, "live", NOW)
    assert [(row["key"], row["until"] - NOW) for row in rows] == [("slow{z}", 10), ("quick{x}", 20), ("slow{x}", 500)]
    assert total == 3
    assert overview.by_rule(taken, POLICY, "live", NOW) == {"slow": (2, NOW - 100), "quick": (1, NOW - 10)}


def test_no_more_cooldowns_than_are_shown() -> None:
    taken = slots(*((f"live|slow{{{at}}}", "slow", 300 - at / 10) for at in range(800)))
    rows, total = overview.cooldowns(taken, POLICY, "live", NOW)
    assert (len(rows), total) == (500, 800)
    assert rows[0]["key"] == "slow{0}" and rows[-1]["key"] == "slow{499}"


def test_a_cooldown_that_a_person_has_set_counts_while_the_rule_is_the_same() -> None:
    state = State(slots={"live|a": Slot(NOW - 100, "A", "slow", "e"), "live|b": Slot(NOW - 100, "B", "quick", "e")})
    overrides = {"slow": Override(300.0, "", NOW, "ann"), "quick": Override(200.0, "another digest", NOW, "ann")}
    rows, total = overview.cooldowns(Slots.of(state), POLICY, "live", NOW, overrides)
    assert [(row["rule"], row["until"]) for row in rows] == [("slow", NOW + 200)] and total == 1
    assert overview.by_rule(Slots.of(state), POLICY, "live", NOW, overrides)["slow"] == (1, NOW - 100)
    shorter = {"slow": Override(60.0, "", NOW, "ann")}
    assert overview.cooldowns(Slots.of(state), POLICY, "live", NOW, shorter) == ([], 0)
    assert overview.by_rule(Slots.of(state), POLICY, "live", NOW, shorter)["slow"] == (0, NOW - 100)
