"""The test events of the documents that Autoheal was built from give what those documents print."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoheal import __version__
from tests.acceptance.service import Autoheal, policy
from tests.needs import needs
from tests.servers import Alertmanager, alertmanager, receiver

TEST_ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": {"alertname": "TestAlert", "service": "test"},
    "annotations": {"autoheal_action": "echo test"},
}
DOWN: dict[str, Any] = {
    "status": "firing",
    "labels": {"alertname": "TcpEndpointDownFast", "service": "crm-api", "instance": "crm-api:8000"},
    "annotations": {"autoheal_action": "docker restart crm-api"},
}
DEFAULTS = {"AUTOHEAL_ENABLED": "", "AUTOHEAL_DRY_RUN": "", "AUTOHEAL_POLICY_FILE": ""}
"""As a new user has it: no variable set, the example policy."""


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Alertmanager]:
    with receiver() as nobody, alertmanager(tmp_path / "am", nobody.url) as found:
        yield found


@pytest.fixture
def service(tmp_path: Path, one: Alertmanager) -> Iterator[Autoheal]:
    env = DEFAULTS | {"ALERTMANAGER_URL": one.url, "AUTOHEAL_PUBLIC_URL": "http://localhost:9009"}
    with Autoheal(tmp_path / "autoheal", policy(), env=env) as found:
        found.start()
        yield found
        assert found.stop() == 0
        found.assert_whole()


def send(service: Autoheal, alert: Mapping[str, Any]) -> dict[str, object]:
    """The minimal form, as the documents send it."""
    answer = service.post("/alert", {"alerts": [alert]})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["ok"], body["received"]) == (True, 1)
    [result] = body["results"]
    assert isinstance(result, dict)
    return result


def test_the_front_page_is_as_printed(service: Autoheal) -> None:
    assert service.get("/").json() == {
        "status": "ok",
        "enabled": False,
        "dry_run": True,
        "actions": ["CrmMetricsScrapeStale", "TcpEndpointDownFast", "UptimeProbeFailing"],
        "public_base_url": "http://localhost:9009",
        "version": __version__,
    }


def test_the_test_alert_is_answered_and_explained(service: Autoheal) -> None:
    result = send(service, TEST_ALERT)
    assert (result["result"], result["reason"]) == ("skip", "not_allowlisted")
    received, skipped = service.events()[-2:]
    assert (received["kind"], received["alerts"]) == ("webhook_received", 1)
    assert (skipped["kind"], skipped["reason"]) == ("decision_skip", "not_allowlisted")
    assert "no rule" in skipped["trace"]["rule"]
    explained = service.get("/explain", labels=json.dumps(TEST_ALERT["labels"]))
    assert explained.status_code == 200
    assert "not_allowlisted" in explained.text


def test_an_endpoint_down_is_a_dry_run_and_the_second_within_the_cooldown_a_skip(service: Autoheal) -> None:
    first, second = send(service, DOWN), send(service, DOWN)
    assert first["result"] == "dry_run"
    assert (second["result"], second["reason"]) == ("skip", "cooldown")
    [planned] = service.events(kind="action_dry_run")
    assert (planned["cmd"], planned["alertname"]) == ("docker restart crm-api", "TcpEndpointDownFast")
    [skipped] = service.events(kind="decision_skip", contains="cooldown", n=50)
    assert skipped["reason"] == "cooldown"
    assert service.get("/audit", alertname="TcpEndpointDownFast", n=100).json()["count"] == 2


def test_the_metrics_are_there_and_count(service: Autoheal) -> None:
    send(service, DOWN)
    send(service, DOWN)
    lines = service.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values["autoheal_enabled"]) == 0
    assert float(values["autoheal_dry_run"]) == 1
    assert float(values['autoheal_actions_total{alertname="TcpEndpointDownFast",result="dry_run"}']) == 1
    assert float(values['autoheal_actions_total{alertname="TcpEndpointDownFast",result="cooldown_skip"}']) == 1
    assert float(values['autoheal_event_total{kind="webhook_received"}']) == 2
    assert 0 < float(values['autoheal_cooldown_remaining_seconds{alertname="TcpEndpointDownFast"}']) <= 600
    assert float(values["autoheal_last_event_timestamp"]) == service.events()[-1]["ts"]
    names = {name.partition("{")[0] for name in values}
    for name in (
        "autoheal_action_last_timestamp",
        "autoheal_action_failures_total",
        "autoheal_audit_write_seconds_bucket",
        "autoheal_last_webhook_timestamp",
    ):
        assert name in names, name


def test_the_ack_is_an_exact_silence_in_alertmanager(service: Autoheal, one: Alertmanager) -> None:
    labels = {"alertname": "TcpEndpointDownFast", "service": 'a.b|c="d"'}
    answer = service.get("/ack", labels=json.dumps(labels), duration="30m", comment="Test")
    assert answer.status_code == 200
    body = answer.json()
    assert body["ok"] is True
    [silence] = one.silences()
    assert silence["id"] == body["silence_id"]
    assert {(m["name"], m["value"], m["isRegex"], m["isEqual"]) for m in silence["matchers"]} == {
        (name, value, False, True) for name, value in labels.items()
    }
    ends, starts = (datetime.fromisoformat(silence[name]) for name in ("endsAt", "startsAt"))
    assert 1790 <= (ends - starts).total_seconds() <= 1800
    assert datetime.fromisoformat(body["ends_at"]) == ends
    amtool = [needs("amtool", "prometheus-alertmanager"), f"--alertmanager.url={one.url}", "silence", "query", "-q"]
    assert subprocess.run(amtool, capture_output=True, text=True, check=True).stdout.split() == [silence["id"]]
    [event] = service.events(kind="ack")
    assert (event["silence_id"], event["labels"], event["duration"]) == (silence["id"], labels, "30m")


def test_a_browser_that_opens_the_ack_link_changes_nothing(service: Autoheal, one: Alertmanager) -> None:
    link = {"labels": json.dumps(DOWN["labels"]), "duration": "2h"}
    page = httpx.get(f"{service.url}/ack", params=link, headers={"Accept": "text/html,*/*"}, timeout=10)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert one.silences() == []
    assert service.events(kind="ack") == []
