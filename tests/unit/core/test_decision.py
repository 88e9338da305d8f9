"""The walk through the gates: what comes out, the trace up to the deciding gate, and the whole explanation."""

from __future__ import annotations

from autoheal.core.decision import PASS, command_lines, decide, explain
from autoheal.core.gates import GATES, Case
from autoheal.core.policy import Policy
from autoheal.core.state import Mode, Slot, State
from tests.unit.core.make import T0, alert, policy, resolved, rule, step

KEY = 'live|r{alertname="A"}'
LIVE, DRY = Mode(True, False), Mode(True, True)


def case(by: Policy | None = None, mode: Mode = LIVE, name: str = "A", **values: object) -> Case:
    state = State(mode=mode)
    if "started_at" in values:
        for lane in ("live", "dry"):
            at = float(str(values["started_at"]))
            state.slots[KEY.replace("live", lane)] = Slot(at, "A", "r", "e")
    return Case(alert(name), T0 + 100.0, by or policy(), state)


def test_when_every_gate_lets_pass_it_acts_and_the_trace_names_them_all() -> None:
    decision = decide(case())
    assert (decision.result, decision.reason, decision.until, decision.wait_key) == ("act", "", None, None)
    assert list(decision.trace) == [name for name, _ in GATES]
    assert decision.trace["kill_switch"] == decision.trace["dry_run"] == PASS
    assert decision.rule is not None and decision.rule.name == "r"


def test_the_first_gate_that_does_not_pass_decides_and_ends_the_trace() -> None:
    decision = decide(case(started_at=T0 + 90.0))
    assert (decision.result, decision.reason, decision.until) == ("skip", "cooldown", T0 + 150.0)
    assert list(decision.trace) == [name for name, _ in GATES][:10]
    assert decision.trace["cooldown"] == decision.why == "50 s of 60 s remain"


def test_without_a_rule_nothing_behind_it_is_asked() -> None:
    decision = decide(case(name="Unheard"))
    assert (decision.result, decision.reason, decision.rule) == ("skip", "not_allowlisted", None)
    assert list(decision.trace) == ["kill_switch", "resolved", "rule"]


def test_in_dry_run_what_would_hold_is_traced_and_passed() -> None:
    asks = policy(rule(approval_timeout=60.0))
    assert decide(case(asks)).result == "hold"
    decision = decide(case(asks, DRY))
    assert (decision.result, decision.reason) == ("dry_run", "dry_run")
    assert decision.trace["approval"] == "would hold: somebody must approve within 60 s"


def test_in_dry_run_a_cooldown_still_skips() -> None:
    assert decide(case(mode=DRY, started_at=T0 + 90.0)).reason == "cooldown"


def test_explain_asks_every_gate_also_behind_the_deciding_one() -> None:
    found = explain(case(policy(rule(approval_timeout=60.0)), started_at=T0 + 90.0))
    assert [row["gate"] for row in found["gates"]] == [name for name, _ in GATES]
    assert (found["result"], found["reason"], found["until"]) == ("skip", "cooldown", T0 + 150.0)
    assert (found["rule"], found["key"], found["cmd"]) == ("r", 'r{alertname="A"}', ["do it"])
    verdicts = {row["gate"]: row["verdict"] for row in found["gates"]}
    assert verdicts["cooldown"] == "skip" and verdicts["approval"] == "hold" and verdicts["dry_run"] == "pass"
    assert [row["gate"] for row in found["gates"] if row["decides"]] == ["cooldown"]


def test_explain_says_would_in_dry_run_and_dry_run_decides() -> None:
    found = explain(case(policy(rule(approval_timeout=60.0)), DRY))
    verdicts = {row["gate"]: row["verdict"] for row in found["gates"]}
    assert verdicts["approval"] == "would_hold" and verdicts["dry_run"] == "dry_run"
    assert [row["gate"] for row in found["gates"] if row["decides"]] == ["dry_run"]


def test_explain_when_it_would_act() -> None:
    found = explain(case())
    assert found["result"] == "act" and not any(row["decides"] for row in found["gates"])


def test_explain_without_a_rule() -> None:
    found = explain(case(name="Unheard"))
    assert (found["rule"], found["key"], found["cmd"]) == (None, None, [])
    verdicts = {row["gate"]: row["verdict"] for row in found["gates"]}
    assert verdicts["rule"] == "skip" and verdicts["cooldown"] == "not_reached" and verdicts["dry_run"] == "pass"


def test_explain_of_a_resolved_alert() -> None:
    found = explain(Case(resolved(), T0, policy(), State(mode=LIVE)))
    assert (found["result"], found["reason"]) == ("skip", "resolved")


def test_command_lines_say_what_cannot_be_filled_in() -> None:
    by = policy(rule(steps=(step("restart", "{labels.instance}"), step("page", "{labels.team}"))))
    first, second = command_lines(case(by))
    assert first == "restart i1"
    assert second.startswith("(cannot be filled in: labels.team:")
