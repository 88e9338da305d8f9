"""Every endpoint against the contract: shapes, status codes, problem+json."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from autoheal import __version__
from tests.integration.http.live import POLICY, Server, alert, is_problem, server
from tests.servers import wait_until

METRICS = """\
autoheal_enabled autoheal_dry_run autoheal_build_info autoheal_config_last_reload_successful autoheal_actions_total
autoheal_action_last_timestamp autoheal_cooldown_remaining_seconds autoheal_event_total autoheal_action_failures_total
autoheal_last_event_timestamp autoheal_last_webhook_timestamp autoheal_audit_write_seconds_bucket
autoheal_action_duration_seconds_bucket autoheal_time_to_heal_seconds_bucket autoheal_alert_to_action_seconds_bucket
autoheal_heals_total autoheal_false_positives_total autoheal_remediations autoheal_rejected_total autoheal_sse_clients
autoheal_sse_dropped_total""".split()


def test_the_root_says_what_runs(live: Server) -> None:
    assert live.get("/").json() == {
        "status": "ok",
        "enabled": False,
        "dry_run": True,
        "actions": ["Fails", "NeedsApproval", "Restart"],
        "public_base_url": "http://localhost:9009",
        "version": __version__,
    }


def test_health_and_its_aliases(live: Server) -> None:
    for path in ("/healthz", "/-/healthy"):
        assert live.get(path).json() == {"status": "ok"}
    for path in ("/readyz", "/-/ready"):
        assert live.get(path).json()["status"] == "ready"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/alert/", 404),
        ("GET", "/alert", 405),
        ("PUT", "/alert", 405),
        ("DELETE", "/audit", 405),
        ("HEAD", "/ack", 405),
        ("OPTIONS", "/mode", 405),
        ("GET", "/static/../api.py", 404),
        ("GET", "/static/secret", 404),
        ("GET", "/remediations/r999999", 404),
        ("GET", "/remediations/r99999999999999999999999", 404),
        ("GET", "/remediations/x", 404),
        ("POST", "/remediations/r1/explode", 404),
    ],
)
def test_what_is_not_there_is_a_problem(live: Server, method: str, path: str, status: int) -> None:
    answer = live.client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


# ---- /alert ---------------------------------------------------------------------------------------------------------


def test_an_alert_is_answered_one_result_each_in_order(live: Server) -> None:
    answer = live.alert(
        alert("Restart", instance="order"), alert("Elsewhere"), alert("Restart", "resolved", instance="o2")
    )
    assert answer.status_code == 200
    data = answer.json()
    assert (data["ok"], data["received"]) == (True, 3)
    assert [set(result) for result in data["results"]] == [
        {"alertname", "fingerprint", "result", "reason", "remediation_id"}
    ] * 3
    assert [(r["alertname"], r["result"], r["reason"]) for r in data["results"]] == [
        ("Restart", "dry_run", "dry_run"),
        ("Elsewhere", "skip", "not_allowlisted"),
        ("Restart", "skip", "resolved"),
    ]


def test_the_minimal_form_is_enough(live: Server) -> None:
    data = live.post("/alert", json={"alerts": [{"status": "firing", "labels": {"alertname": "X"}, "annotations": {}}]})
    assert data.json()["results"][0]["fingerprint"]


# ---- /audit ---------------------------------------------------------------------------------------------------------


def test_audit_filters_pages_and_hides_heartbeats(live: Server) -> None:
    for number in range(5):
        live.alert(alert("Audited", number=str(number)))
    everything = live.get("/audit", params={"n": 10_000}).json()
    assert everything["count"] == len(everything["events"])
    ids = [event["id"] for event in everything["events"]]
    assert ids == sorted(ids)
    assert not [event for event in everything["events"] if event["kind"] == "heartbeat"]
    assert live.events(kind="heartbeat")
    named = live.events(alertname="Audited")
    assert [event["labels"]["number"] for event in named] == list("01234")
    assert live.events(alertname="Audited", n=2) == named[-2:]
    assert live.events(alertname="Audited", before=named[3]["id"]) == named[:3]
    assert live.events(contains='"number":"3"') == [named[3]]
    ts = named[2]["ts"]
    assert named[2] in live.events(since=f"{ts:.9f}"[:20], alertname="Audited") or named[2]["ts"] == ts
    assert live.events(until=1) == []
    assert live.events(since="2020-01-01T00:00:00Z", alertname="Audited") == named
    assert live.events(since="2999-01-01T00:00:00+02:00") == []
    assert "partial" not in everything


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("n", value) for value in ("0", "10001", "-1", "x", "", "1.5", "9" * 30)),
        *((name, value) for name in ("since", "until") for value in ("x", "-1", "1e9", "2026-11-21", "NaN", "9" * 40)),
        *(("before", value) for value in ("0", "-5", "x", "9" * 30)),
        ("kind", "x" * 1001),
    ],
)
def test_audit_refuses_what_it_cannot_read(live: Server, name: str, value: str) -> None:
    is_problem(live.get("/audit", params={name: value}), 400, name)


# ---- /explain, /mode, /policy/reload ---------------------------------------------------------------------------------


def test_explain_shows_every_gate(live: Server) -> None:
    data = live.get("/explain", params={"labels": '{"alertname":"NeedsApproval"}', "annotations": '{"a":""}'}).json()
    assert data["rule"] == "needs-approval"
    assert data["cmd"] == ["true"]
    gates = [gate["gate"] for gate in data["gates"]]
    assert gates[:3] == ["kill_switch", "resolved", "rule"]
    assert gates[-1] == "dry_run"
    assert sum(bool(gate.get("decides")) for gate in data["gates"]) == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "labels"),
        ({"labels": "x"}, "labels"),
        ({"labels": "{}"}, "labels"),
        ({"labels": '{"a":1}'}, "labels.a"),
        ({"labels": '{"a":"b"}', "annotations": "x"}, "annotations"),
        ({"labels": '{"a":"b"}', "annotations": "[]"}, "annotations"),
        ({"labels": '{"a":"b"}', "annotations": '{"x":null}'}, "annotations.x"),
    ],
)
def test_explain_refuses_what_it_cannot_read(live: Server, query: dict[str, str], field: str) -> None:
    is_problem(live.get("/explain", params=query), 400, field)


def test_the_mode_is_told_and_changed(tmp_path: Path) -> None:
    with server(tmp_path) as own:
        before = own.get("/mode").json()
        assert set(before) == {"enabled", "dry_run", "source", "since", "by"}
        assert (before["enabled"], before["dry_run"]) == (False, True)
        changed = own.post("/mode", json={"enabled": True, "dry_run": False}).json()
        assert (changed["enabled"], changed["dry_run"], changed["by"]) == (True, False, "local")
        assert own.get("/mode").json() == changed
        [event] = own.events(kind="mode_changed")[-1:]
        assert event["actor"] == "local"
        for body in ({}, {"enabled": True}, {"enabled": "yes", "dry_run": False}, {"enabled": 1, "dry_run": 0}, []):
            is_problem(own.post("/mode", json=body), 400)
        is_problem(own.post("/mode", json={"enabled": True, "dry_run": True, "extra": 1}), 400, "extra")
        is_problem(own.post("/mode", content=b"{", headers={"content-type": "application/json"}), 400, "body")
        is_problem(
            own.post("/mode", content=b'{"enabled":true,"dry_run":true}', headers={"content-type": "text/plain"}), 400
        )
        assert own.get("/mode").json() == changed


def test_a_good_policy_is_taken_and_a_bad_one_refused(tmp_path: Path) -> None:
    with server(tmp_path) as own:
        for path in ("/policy/reload", "/-/reload"):
            assert own.post(path).json()["ok"] is True
        (tmp_path / "policy.yaml").write_text("version: 1\nrules: [{name: x, nonsense: 1}]\n")
        for path in ("/policy/reload", "/-/reload"):
            assert "nonsense" in is_problem(own.post(path), 400, "policy")["detail"]
        assert own.get("/").json()["actions"] == ["Fails", "NeedsApproval", "Restart"]
        assert len(own.events(kind="policy_rejected")) == 2
        assert "autoheal_config_last_reload_successful 0.0" in own.get("/metrics").text
        (tmp_path / "policy.yaml").write_text(POLICY.replace("Restart", "Other"))
        assert own.post("/policy/reload").json()["ok"] is True
        assert own.get("/").json()["actions"] == ["Fails", "NeedsApproval", "Other"]
        assert "autoheal_config_last_reload_successful 1.0" in own.get("/metrics").text


# ---- /remediations ---------------------------------------------------------------------------------------------------


def test_remediations_and_what_people_do_with_them(tmp_path: Path) -> None:
    with server(tmp_path, {"AUTOHEAL_ENABLED": "true", "AUTOHEAL_DRY_RUN": "false"}) as own:
        assert own.get("/remediations").json() == {"count": 0, "remediations": []}
        results = own.alert(*(alert("NeedsApproval", instance=name) for name in "abc")).json()["results"]
        assert [(r["result"], r["reason"]) for r in results] == [("hold", "approval")] * 3
        yes, no, never = (r["remediation_id"] for r in results)
        held = own.get("/remediations", params={"state": "held", "rule": "needs-approval"}).json()
        assert [r["id"] for r in held["remediations"]] == [never, no, yes]
        one = own.get(f"/remediations/{yes}").json()
        assert one["state"] == "held"
        assert one["trace"]
        assert {event["kind"] for event in one["events"]} >= {"decision_hold", "approval_requested"}

        assert own.post(f"/remediations/{yes}/approve", json={"note": "go\0on"}).json()["ok"] is True
        assert own.post(f"/remediations/{no}/reject").json() == {"ok": True, "state": "rejected"}
        assert own.post(f"/remediations/{never}/cancel", json={}).json() == {"ok": True, "state": "cancelled"}
        wait_until(lambda: own.get(f"/remediations/{yes}").json()["state"] == "healed", what="the approved one")
        [approved] = own.events(kind="approved")
        assert approved["note"] == r"go\u0000on"

        for verb in ("approve", "reject", "cancel"):
            assert own.post(f"/remediations/{yes}/{verb}").status_code in (404, 409)
        is_problem(own.post(f"/remediations/{yes}/settle"), 400, "outcome")
        is_problem(own.post(f"/remediations/{yes}/settle", json={"outcome": "fine"}), 400, "outcome")
        is_problem(own.post("/remediations/r999/approve"), 404)
        is_problem(own.post("/remediations/r999/mark"), 404)
        is_problem(own.post(f"/remediations/{yes}/mark", json={"note": "x" * 1001}), 400, "note")
        is_problem(own.post(f"/remediations/{yes}/mark", json={"wrong": 1}), 400, "wrong")
        assert own.post(f"/remediations/{yes}/mark").json()["ok"] is True
        assert own.get(f"/remediations/{yes}").json()["marked"] == "false_positive"
        for query in ({"n": "0"}, {"n": "10001"}, {"n": "x"}):
            is_problem(own.get("/remediations", params=query), 400, "n")
        [open_one] = own.alert(alert("NeedsApproval", instance="d")).json()["results"]
        is_problem(own.post(f"/remediations/{open_one['remediation_id']}/settle", json={"outcome": "healed"}), 409)


# ---- /metrics --------------------------------------------------------------------------------------------------------


def test_every_metric_of_the_contract_in_both_formats(live: Server) -> None:
    live.alert(alert("Restart", instance="metrics"), alert("Strange", instance="x"), alert("Stranger", instance="y"))
    text = live.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain")
    new = live.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert new.headers["content-type"].startswith("application/openmetrics-text")
    assert new.text.endswith("# EOF\n")
    for families in (list(plain(text.text)), list(openmetrics(new.text))):
        samples = [sample for family in families for sample in family.samples]
        assert set(METRICS) <= {sample.name for sample in samples}
        names = {sample.labels["alertname"] for sample in samples if "alertname" in sample.labels}
        assert names == {"Fails", "NeedsApproval", "Restart", "other"}
        values = {(s.name, *sorted(s.labels.items())): s.value for s in samples}
        assert values["autoheal_dry_run",] == 1
        assert values["autoheal_actions_total", ("alertname", "Restart"), ("result", "dry_run")] >= 1
        assert values["autoheal_actions_total", ("alertname", "other"), ("result", "skip")] >= 2
        results = {s.labels["result"] for s in samples if s.name == "autoheal_actions_total"}
        assert results == {"executed", "failed", "dry_run", "cooldown_skip", "skip", "error", "unknown"}
        effects = {s.labels["effect"] for s in samples if s.name == "autoheal_heals_total"}
        assert effects == {"healed", "self_resolved", "ineffective", "unknown"}
        assert values["autoheal_event_total", ("kind", "webhook_received")] >= 1
        assert values["autoheal_cooldown_remaining_seconds", ("alertname", "Restart")] > 0


def test_metrics_of_what_ran(tmp_path: Path) -> None:
    with server(tmp_path, {"AUTOHEAL_ENABLED": "true", "AUTOHEAL_DRY_RUN": "false"}) as own:
        own.alert(alert("Restart", instance="a"), alert("Fails", instance="a"))
        wait_until(lambda: len(own.events(kind="action_ok") + own.events(kind="action_fail")) == 2, what="two ends")
        own.alert(alert("Restart", instance="a"))
        own.post("/alert", content=b"x")
        values = {
            (s.name, *sorted(s.labels.items())): s.value for f in plain(own.get("/metrics").text) for s in f.samples
        }
        assert values["autoheal_enabled",] == 1
        assert values["autoheal_actions_total", ("alertname", "Restart"), ("result", "executed")] == 1
        assert values["autoheal_actions_total", ("alertname", "Fails"), ("result", "failed")] == 1
        assert values["autoheal_actions_total", ("alertname", "Restart"), ("result", "cooldown_skip")] == 1
        assert values["autoheal_action_failures_total", ("alertname", "Fails")] == 1
        assert values["autoheal_alert_to_action_seconds_count",] == 2
        assert values["autoheal_action_duration_seconds_count",] == 2
        assert values["autoheal_rejected_total",] == 1
        assert values["autoheal_action_last_timestamp", ("alertname", "Restart")] > 1e9


@pytest.mark.parametrize(
    "accept", ["", "*/*", ";;;", "application/openmetrics-text;;version", "a=b;escaping=what", "é"]
)
def test_metrics_for_every_accept_header(live: Server, accept: str) -> None:
    assert live.get("/metrics", headers={"accept": accept.encode("utf-8")}).status_code == 200  # type: ignore[dict-item]


def test_without_an_alertmanager_a_silence_is_a_conflict(live: Server) -> None:
    is_problem(live.get("/silences"), 409)
    is_problem(live.post("/silences/abc/expire"), 409)
    is_problem(live.post("/ack", json={"labels": {"a": "b"}}), 409)


def test_the_description_names_no_code_that_is_never_given(live: Server) -> None:
    paths = live.get("/openapi.json").json()["paths"]
    assert not [path for path, verbs in paths.items() for verb in verbs.values() if "422" in verb["responses"]]
