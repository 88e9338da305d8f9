"""Figures from rows, and targets that nothing does not fulfil."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoheal.engine.ports import RemediationRow
from autoheal.remediator.figures import Measured, Results, results, slos


def row(state: str, took: float = 10.0, ended: bool = True, **more: Any) -> RemediationRow:
    end = 1000.0 + took if ended else None
    data = {"state": state, "received_at": 1000.0, "ended_at": end, "labels": {"marked": "false_positive"}, **more}
    return RemediationRow("r1", state, "rule", "A", 1000.0, end, json.dumps(data))


ROWS = [
    row("healed", 10, effect="healed"),
    row("healed", 30, effect="healed", reason="probe"),
    row("healed", 20, effect="healed", marked="false_positive"),
    row("healed", 9999, effect="healed", reason="by_hand"),
    row("healed", 1, effect="unknown"),
    row("failed", effect="ineffective"),
    row("exhausted", effect="ineffective"),
    row("unknown", effect="unknown"),
    row("cancelled", effect="self_resolved"),
    row("rejected"),
    row("expired"),
    row("running", ended=False),
    row("held", ended=False),
]


def test_what_the_newest_came_to() -> None:
    found = results(ROWS)
    assert found == Results(
        ended=11, healed=4, done=1, failed=2, unknown=1, false_positives=1, heal_times=(10.0, 20.0, 30.0)
    )
    assert found.as_dict() == {
        "over": 1000,
        "ended": 11,
        "healed": 4,
        "done": 1,
        "failed": 2,
        "unknown": 1,
        "cancelled": 3,
        "false_positives": 1,
        "success_rate": 5 / 8,
        "median_time_to_heal": 20.0,
    }
    assert found.false_positive_rate == 1 / 8


def test_a_clock_that_went_back_heals_in_no_time() -> None:
    assert results([row("healed", -50, effect="healed")]).median_time_to_heal == 0.0


def stand(**given: Any) -> dict[str, tuple[float | None, bool | None]]:
    nothing = {"heartbeat_age": None, "failures": 0, "actions": 0, "write_p95": None, "results": Results()}
    return {slo["id"]: (slo["value"], slo["ok"]) for slo in slos(Measured(**nothing | given))}


def test_nothing_fulfils_nothing() -> None:
    assert set(stand().values()) == {(None, None)}
    assert all(slo["note"] for slo in slos(Measured(None, 0, 0, None, Results())))
    only_cancelled = results([row("cancelled"), row("rejected")])
    assert stand(results=only_cancelled)["action_success"] == (None, None)


@pytest.mark.parametrize(
    ("name", "given", "value", "ok"),
    [
        ("heartbeat_age", {"heartbeat_age": 299.0}, 299.0, True),
        ("heartbeat_age", {"heartbeat_age": 300.0}, 300.0, False),
        ("failure_rate", {"failures": 0, "actions": 1}, 0.0, True),
        ("failure_rate", {"failures": 45, "actions": 45}, 0.05, False),
        ("failure_rate", {"failures": 44, "actions": 45}, 44 / 900, True),
        ("audit_write_p95", {"write_p95": 0.1}, 0.1, True),
        ("audit_write_p95", {"write_p95": 0.2}, 0.2, False),
        ("action_success", {"results": Results(healed=96, failed=4)}, 0.96, True),
        ("action_success", {"results": Results(healed=95, failed=5)}, 0.95, False),
        ("false_positives", {"results": Results(healed=100, false_positives=4)}, 0.04, True),
        ("false_positives", {"results": Results(healed=100, false_positives=5)}, 0.05, False),
        ("time_to_heal", {"results": Results(heal_times=(1.0, 119.0, 500.0))}, 119.0, True),
        ("time_to_heal", {"results": Results(heal_times=(1.0, 120.0, 500.0))}, 120.0, False),
    ],
)
def test_a_target(name: str, given: dict[str, Any], value: float, ok: bool) -> None:
    assert stand(**given)[name] == (value, ok)
