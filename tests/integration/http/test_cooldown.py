"""`/cooldown` on a live server: set, seen everywhere, refused, kept over a restart, gone with the rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from autoheal.store.replay import verify_state
from autoheal.store.sqlite import database_url
from tests.integration.http.live import POLICY, Server, alert, is_problem, server


def remaining(own: Server, name: str = "Restart") -> float:
    """What `/metrics` says of a cooldown."""
    samples = [s for family in families(own.get("/metrics").text) for s in family.samples]
    [found] = [
        s.value for s in samples if s.name == "autoheal_cooldown_remaining_seconds" and s.labels == {"alertname": name}
    ]
    return found


def of(own: Server, rule: str) -> dict[str, Any]:
    [found] = [row for row in own.get("/cooldown").json()["cooldowns"] if row["rule"] == rule]
    return dict(found)


def gate(own: Server) -> dict[str, Any]:
    explained = own.get("/explain", params={"labels": '{"alertname":"Restart","instance":"x"}'}).json()
    return next(row for row in explained["gates"] if row["gate"] == "cooldown")


def test_a_cooldown_is_set_seen_everywhere_and_reset(tmp_path: Path) -> None:
    with server(tmp_path) as own:
        assert of(own, "restart") == {"rule": "restart", "cooldown": 30.0, "policy": 30.0, "by": None, "since": None}
        assert own.alert(alert("Restart", instance="x")).json()["results"][0]["result"] == "dry_run"
        assert 0 < remaining(own) <= 30 and gate(own)["why"].endswith("s of 30 s remain")

        answer = own.post("/cooldown", json={"rule": "restart", "cooldown": "20m"})
        assert answer.status_code == 200, answer.text
        assert answer.json() == of(own, "restart")
        assert (answer.json()["cooldown"], answer.json()["policy"], answer.json()["by"]) == (1200.0, 30.0, "local")
        assert 1100 < remaining(own) <= 1200
        assert gate(own)["why"].endswith("s of 1200 s remain (set to 1200 s by local, the policy says 30 s)")
        [shown] = [rule for rule in own.get("/rules").json()["rules"] if rule["name"] == "restart"]
        assert (shown["cooldown"], shown["cooldown_set"]["by"], shown["cooldown_set"]["policy"]) == (
            1200.0,
            "local",
            30,
        )
        assert own.get("/overview").json()["cooldowns"][0]["until"] > own.get("/overview").json()["now"] + 1100
        assert own.alert(alert("Restart", instance="x")).json()["results"][0]["reason"] == "cooldown"

        reset = own.post("/cooldown", json={"rule": "restart", "cooldown": None}).json()
        assert (reset["cooldown"], reset["by"]) == (30.0, None) and remaining(own) <= 30
        own.post("/cooldown", json={"rule": "restart", "cooldown": None})
        changes = own.events(kind="cooldown_changed")
        assert [(e["cooldown"], e["before"], e.get("reset"), e["actor"]) for e in changes] == [
            (1200.0, 30.0, None, "local"),
            (30.0, 1200.0, True, "local"),
        ], "what changes nothing is no event"
        assert changes[0]["rule"] == "restart" and own.events(rule="restart", kind="cooldown_changed") == changes


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"rule": "restart"}, 400, "cooldown"),
        ({"cooldown": "5m"}, 400, "rule"),
        ({"rule": "restart", "cooldown": 300}, 400, "cooldown"),
        ({"rule": "restart", "cooldown": "soon"}, 400, "cooldown"),
        ({"rule": "restart", "cooldown": "29s"}, 400, "cooldown"),
        ({"rule": "restart", "cooldown": "0"}, 400, "cooldown"),
        ({"rule": "restart", "cooldown": "367d"}, 400, "cooldown"),
        ({"rule": "restart", "cooldown": "x" * 200}, 400, "cooldown"),
        ({"rule": "", "cooldown": "5m"}, 400, "rule"),
        ({"rule": "restart", "cooldown": "5m", "more": 1}, 400, "more"),
        ({"rule": "restrt", "cooldown": "5m"}, 404, None),
        ({"rule": "restart\0", "cooldown": None}, 404, None),
        ([], 400, None),
    ],
)
def test_what_cannot_be_set_is_refused(live: Server, body: Any, status: int, field: str | None) -> None:
    before = live.last_id
    told = is_problem(live.post("/cooldown", json=body), status, field)
    if body == {"rule": "restrt", "cooldown": "5m"}:
        assert 'did you mean "restart"?' in told["detail"]
    assert live.events(kind="cooldown_changed") == [] and live.last_id == before


def test_it_outlives_a_restart_and_ends_with_its_rule(tmp_path: Path) -> None:
    with server(tmp_path) as own:
        own.post("/cooldown", json={"rule": "restart", "cooldown": "20m"})
        own.post("/cooldown", json={"rule": "fails", "cooldown": "20m"})
    with server(tmp_path) as own:
        assert of(own, "restart")["cooldown"] == of(own, "fails")["cooldown"] == 1200.0
        own.post("/policy/reload")
        assert of(own, "restart")["cooldown"] == 1200.0, "the rule is the same"
        changed = POLICY.replace('alertname="Restart"', 'alertname="Restart", job="x"')
        (tmp_path / "policy.yaml").write_text(changed)
        own.post("/policy/reload")
        assert (of(own, "restart")["cooldown"], of(own, "fails")["cooldown"]) == (30.0, 1200.0)
        [told] = own.events(kind="cooldown_changed", n=1)
        assert (told["rule"], told["reset"], told["reason"]) == ("restart", True, "rule_changed")
        (tmp_path / "policy.yaml").write_text(POLICY)
        own.post("/policy/reload")
        assert of(own, "restart")["cooldown"] == 30.0, "what was set does not come back with the old rule"
        (tmp_path / "policy.yaml").write_text("version: 1\nrules: []\n")
        own.post("/policy/reload")
        assert own.get("/cooldown").json() == {"cooldowns": []}
        assert [e["rule"] for e in own.events(kind="cooldown_changed", n=1)] == ["fails"]
    report = verify_state(database_url(tmp_path / "data"))
    assert report.done and report.ok, report.problems
