"""Decisions are counted by the gate that did not pass, from zero on, and a policy in force is a policy loaded."""

from __future__ import annotations

import inspect
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest

from autoheal.core import gates
from autoheal.core.moves import intake
from autoheal.core.policy import Policy
from autoheal.engine.head import HeadThread
from autoheal.remediator.metrics import DECISIONS, Metrics

HEAD = cast(HeadThread, SimpleNamespace(clock=SimpleNamespace(monotonic=lambda: 0.0), policy=Policy()))
AT_A_START = {"rule_changed"}
"""No decision about an alert: it ends a remediation that was decided before."""


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(HEAD, "0")


def count(metrics: Metrics, decision: str, reason: str = "") -> float:
    return float(metrics.decisions.labels(decision, reason)._value.get())


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": 1, "ts": 1.0, "kind": kind, **fields}


def test_every_reason_of_a_gate_is_counted_from_zero_on() -> None:
    said = set(re.findall(r'Verdict\(\s*"(skip|hold)", "(\w+)"', inspect.getsource(gates)))
    assert len(said) > 10
    assert {one for one in said if one[1] not in AT_A_START} <= set(DECISIONS)
    stale = re.findall(r'"resolved" if self.firing is False else "(\w+)"', inspect.getsource(intake))
    assert {("skip", word) for word in stale} <= set(DECISIONS)


def test_decisions_are_counted_by_their_reason(metrics: Metrics) -> None:
    events = [
        event("decision_act", alertname="A"),
        event("decision_skip", alertname="A", reason="cooldown"),
        event("decision_skip", alertname="B", reason="cooldown"),
        event("decision_hold", alertname="A", reason="approval"),
        event("action_dry_run", alertname="A"),
        event("escalated", reason="budget"),
    ]
    metrics.listen(events, [], 0.001)
    assert count(metrics, "act") == count(metrics, "dry_run") == count(metrics, "hold", "approval") == 1
    assert count(metrics, "skip", "cooldown") == 2
    assert count(metrics, "skip", "budget") == 0


def test_a_policy_that_another_process_loaded_ends_the_word_of_a_refused_one(metrics: Metrics) -> None:
    metrics.expect(Policy())
    assert metrics.reload._value.get() == 1
    metrics.listen([event("policy_rejected", error="…", count=1)], [], 0.001)
    assert metrics.reload._value.get() == 0
    metrics.expect(Policy())
    assert metrics.reload._value.get() == 1
