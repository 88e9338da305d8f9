"""The console's server side: what it asks for, and how its page and files are handed out."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoheal import __version__
from autoheal.engine.ports import StoreUnavailable
from autoheal.remediator import console, views
from autoheal.testing.alertmanager import FakeAlertmanager
from tests.integration.http.live import ADMIN, WEBHOOK, Server, alert, is_problem, server
from tests.servers import wait_until

ACTS = {"AUTOHEAL_ENABLED": "true", "AUTOHEAL_DRY_RUN": "false"}
POLICY = """\
version: 1
limits:
  blast_radius: {actions: 1000, per: 10m}
  breaker: {failures: 2, open_for: 30m}
rules:
  - name: needs-approval
    match: ['alertname="NeedsApproval"', 'team=~"a|b"']
    opt_in: false
    cooldown: 30s
    approval: {timeout: 15m}
    max_attempts: {count: 3, per: 24h, by: [alertname]}
    steps:
      - action: {command: ["echo", "{labels.team}"]}
        timeout: 7s
        verify: {within: 2m, http: "http://127.0.0.1:9/health"}
      - action: {command: ["true"]}
  - name: restart
    match: ['alertname="Restart"']
    opt_in: false
    cooldown: 30s
    cooldown_by: [alertname, instance]
    steps: [{action: {command: ["true"]}}]
  - name: fails
    match: ['alertname="Fails"']
    opt_in: false
    cooldown: 10m
    cooldown_by: [alertname, instance]
    steps: [{action: {command: ["false"]}}]
  - name: not-at-weekends
    match: ['alertname="Slow"']
    never_during: ["Sat 00:00-Mon 00:00 Europe/Berlin"]
    steps: [{action: {command: ["true"]}}]
"""
BROWSER = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeAlertmanager]:
    with FakeAlertmanager(time.time) as found:
        yield found


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, fake: FakeAlertmanager) -> Iterator[Server]:
    """One healed, two failed, one that waits for an approval, one skipped; figures are never old."""
    directory = tmp_path_factory.mktemp("busy")
    (directory / "policy.yaml").write_text(POLICY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "FRESH", 0.0)
        with server(directory, {**ACTS, "ALERTMANAGER_URL": fake.url}) as found:
            found.alert(
                alert("Restart", instance="a"),
                alert("Fails", instance="a"),
                alert("Fails", instance="b"),
                alert("NeedsApproval", team="a"),
                alert("Unknown"),
            )
            wait_until(lambda: len(found.events(kind="action_fail")) == 2, what="two failures")
            wait_until(lambda: len(found.events(kind="action_ok")) == 1, what="one success")
            yield found


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"AUTOHEAL_WEBHOOK_TOKEN": WEBHOOK, "AUTOHEAL_ADMIN_TOKEN": ADMIN}
    with server(tmp_path_factory.mktemp("closed"), env) as found:
        yield found


# ---- /overview -------------------------------------------------------------------------------------------------------


def test_the_overview_of_a_server_that_has_done_nothing(live: Server) -> None:
    found = live.get("/overview").json()
    assert found["version"] == __version__ and found["public_url"] == "http://localhost:9009"
    assert found["me"] == {"name": "local", "role": "admin"}
    assert found["ready"] == {"ok": True, "reason": ""}
    assert (found["first_event_id"], found["last_event_id"]) == (1, live.last_id)
    assert {name: found["mode"][name] for name in ("enabled", "dry_run", "acts", "off", "source")} == {
        "enabled": False,
        "dry_run": True,
        "acts": False,
        "off": False,
        "source": "env",
    }
    stand = {slo["id"]: (slo["value"], slo["ok"]) for slo in found["slos"]}
    for name in ("failure_rate", "action_success", "false_positives", "time_to_heal"):
        assert stand[name] == (None, None), "nothing is fulfilled by nothing"
    assert stand["heartbeat_age"][1] is True and 0 <= stand["heartbeat_age"][0] < 60
    assert stand["audit_write_p95"][1] is not None
    assert all(slo["note"] and slo["title"] and slo["better"] in ("lower", "higher") for slo in found["slos"])


def test_the_overview_of_a_server_at_work(busy: Server) -> None:
    found = busy.get("/overview").json()
    [approval] = found["waiting"]["approvals"]
    assert (approval["rule"], approval["hold"], approval["state"]) == ("needs-approval", "approval", "held")
    assert approval["until"] == approval["since"] + 900 == approval["created_at"] + 900
    assert (approval["step"], approval["ladder"], approval["cmd"]) == (0, 2, "echo a")
    assert found["waiting"]["approvals_total"] == 1 and found["waiting"]["unknown_total"] == 0
    assert {e["alertname"] for e in found["waiting"]["escalations"]} == {"Fails"}
    assert found["waiting"]["escalations_total"] == 2
    assert (found["active"], found["active_total"]) == ([], 0)
    assert [(c["rule"], c["lane"]) for c in found["cooldowns"]] == [("restart", "live")] + 2 * [("fails", "live")]
    assert found["cooldowns_total"] == 3
    restart = found["cooldowns"][0]
    assert restart["until"] == restart["started_at"] + 30 and restart["remediation_id"].startswith("r")
    [breaker] = found["breakers"]
    assert (breaker["rule"], breaker["failures"]) == ("fails", 2) and breaker["open_until"] > found["now"]
    assert found["mode"]["acts"] is True
    stand = {slo["id"]: (slo["value"], slo["ok"]) for slo in found["slos"]}
    assert stand["failure_rate"] == (2 / 900, True)
    assert stand["action_success"] == (pytest.approx(1 / 3), False)
    assert stand["false_positives"] == (0.0, True)


def test_the_overview_says_who_asks(closed: Server) -> None:
    found = closed.get("/overview", headers={"authorization": f"Bearer {ADMIN}"}).json()
    assert found["me"] == {"name": "admin-token", "role": "admin"}


def test_without_the_store_the_rest_of_the_overview_is_told(busy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: object) -> Any:
        raise StoreUnavailable("the ledger cannot be read: gone")

    monkeypatch.setattr(busy.service.remediator.reader, "count_kinds", away)
    monkeypatch.setattr(busy.service.head, "healthy", False)
    monkeypatch.setattr(busy.service.head, "error", "the ledger cannot be read: password of alice")
    answer = busy.get("/overview")
    assert answer.status_code == 200 and "alice" not in answer.text
    found = answer.json()
    assert found["ready"] == {"ok": False, "reason": "the ledger cannot be written"}
    assert found["first_event_id"] is None and found["waiting"]["approvals_total"] == 1
    assert [slo["ok"] for slo in found["slos"] if slo["id"] in ("action_success", "failure_rate")] == [None, None]


# ---- /timeline -------------------------------------------------------------------------------------------------------


def test_the_timeline_counts_what_the_trail_holds(busy: Server) -> None:
    found = busy.get("/timeline").json()
    assert found["step"] == 180 and found["until"] - found["since"] in (120 * 180, 121 * 180)
    assert found["outcomes"] == list(found["counts"]) and found["partial"] is False
    assert found["from"] == found["since"]
    kinds = Counter(event["kind"] for event in busy.events())
    sums = {name: sum(row) for name, row in found["counts"].items()}
    assert sums == dict.fromkeys(found["outcomes"], 0) | {
        "done": 1,
        "failed": 2,
        "held": kinds["decision_hold"],
        "skipped": kinds["decision_skip"],
    }
    assert sums["held"] == sums["skipped"] == 1
    size = (found["until"] - found["since"]) // found["step"]
    assert {len(row) for row in found["counts"].values()} == {size}


def test_a_part_of_the_timeline(busy: Server) -> None:
    ended = busy.events(kind="action_ok")[0]["ts"]
    for window, count in (((ended - 5, ended + 5), 1), ((ended - 500, ended - 100), 0)):
        query = {"since": f"{window[0]:.3f}", "until": f"{window[1]:.3f}", "buckets": 10}
        found = busy.get("/timeline", params=query).json()
        assert sum(found["counts"]["done"]) == count
    assert busy.get("/timeline", params={"since": "2026-01-01T00:00:00Z"}).json()["step"] % 3600 == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("buckets=0", "buckets"),
        ("buckets=501", "buckets"),
        ("buckets=x", "buckets"),
        ("since=x", "since"),
        ("until=yesterday", "until"),
        ("since=2&until=2", "since"),
        ("since=3&until=2", "since"),
        ("since=9999999999", "since"),
    ],
)
def test_a_timeline_that_cannot_be(live: Server, query: str, field: str) -> None:
    is_problem(live.get(f"/timeline?{query}"), 400, field)


# ---- /rules ----------------------------------------------------------------------------------------------------------


def test_the_rules_in_force_and_what_they_came_to(busy: Server) -> None:
    found = busy.get("/rules").json()
    assert found["over"] == 1000
    approval, restart, fails, quiet = found["rules"]
    assert {name: value for name, value in approval.items() if name not in ("stats", "steps")} == {
        "name": "needs-approval",
        "match": ['alertname="NeedsApproval"', 'team=~"a|b"'],
        "alertnames": ["NeedsApproval"],
        "cooldown": 30.0,
        "cooldown_set": None,
        "cooldown_by": ["alertname"],
        "opt_in": False,
        "approval": 900.0,
        "max_attempts": {"count": 3, "per": 86400.0, "by": ["alertname"]},
        "queue": "",
        "never_during": [],
        "breaker": None,
        "cooling": 0,
    }
    assert approval["steps"][0] == {
        "cmd": "echo {labels.team}",
        "timeout": 7.0,
        "verify": {"kind": "http", "target": "http://127.0.0.1:9/health", "within": 120.0},
    }
    assert approval["steps"][1]["verify"] is None
    assert approval["stats"]["ended"] == 0 and approval["stats"]["success_rate"] is None
    assert approval["stats"]["last_started_at"] is None
    assert [restart["stats"][name] for name in ("healed", "done", "success_rate")] == [0, 1, 1.0], "nobody looked"
    assert restart["cooling"] == 1
    assert restart["stats"]["last_started_at"] == busy.events(kind="action_started", rule="restart")[0]["ts"]
    assert (fails["stats"]["failed"], fails["stats"]["success_rate"], fails["cooling"]) == (2, 0.0, 2)
    assert fails["breaker"]["failures"] == 2
    assert quiet["never_during"] == ["Sat 00:00-Mon 00:00 Europe/Berlin"]
    assert (quiet["opt_in"], quiet["approval"], quiet["max_attempts"]) == (True, None, None)


def test_a_rule_s_figures_follow_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "FRESH", 0.0)
    with server(tmp_path, ACTS) as own:

        def stats(rule: str) -> dict[str, Any]:
            found: dict[str, Any] = {rule["name"]: rule["stats"] for rule in own.get("/rules").json()["rules"]}[rule]
            return found

        assert stats("restart")["ended"] == 0
        rid = own.alert(alert("Restart")).json()["results"][0]["remediation_id"]
        wait_until(lambda: stats("restart")["done"] == 1, what="the figures of one that ended")
        own.post(f"/remediations/{rid}/mark", json={"note": "nothing was wrong"})
        assert stats("restart")["false_positives"] == 1
        assert [slo["ok"] for slo in own.get("/overview").json()["slos"] if slo["id"] == "false_positives"] == [False]


def test_many_who_ask_at_once_are_answered(busy: Server) -> None:
    async def ask() -> list[int]:
        async with httpx.AsyncClient(base_url=busy.url, timeout=30) as client:
            paths = ["/timeline", "/overview", "/rules"] * 20
            return [answer.status_code for answer in await asyncio.gather(*(client.get(path) for path in paths))]

    assert set(asyncio.run(ask())) == {200}


# ---- /ack/preview ----------------------------------------------------------------------------------------------------


def preview(of: Server, labels: dict[str, str], **query: str) -> dict[str, Any]:
    found: dict[str, Any] = of.get("/ack/preview", params={"labels": json.dumps(labels), **query}).json()
    return found


def test_a_preview_says_what_a_silence_would_hide_and_changes_nothing(busy: Server, fake: FakeAlertmanager) -> None:
    starts = {"startsAt": "2026-11-21T00:00:00Z"}
    many = [{"labels": {"alertname": "Disk", "instance": f"i{at}"}, **starts} for at in range(120)]
    httpx.post(f"{fake.url}/api/v2/alerts", json=many, timeout=10).raise_for_status()
    before = busy.last_id
    found = preview(busy, {"alertname": "Disk", "instance": "i7"})
    assert found["known"] is True and found["matching_total"] == 1
    assert found["matching"] == [{"alertname": "Disk", "instance": "i7"}]
    assert found["labels"] == {"alertname": "Disk", "instance": "i7"} and found["duration"] == "2h"
    assert found["ends_at"] == pytest.approx(time.time() + 7200, abs=60)
    found = preview(busy, {"alertname": "Disk"}, duration="5m")
    assert found["matching_total"] == 120 and len(found["matching"]) == 100
    assert preview(busy, {"alertname": "None"})["matching_total"] == 0
    assert busy.get("/silences").json()["count"] == 0 and busy.events()[-1]["id"] >= before
    assert not busy.events(kind="ack")


def test_a_preview_that_cannot_be(busy: Server, live: Server) -> None:
    for query, field in (
        ("", "labels"),
        ("labels={}", "labels"),
        ("labels=x", "labels"),
        ('labels={"a":""}', "labels"),
        ('labels={"a":"b"}&duration=x', "duration"),
        ('labels={"a":"b"}&duration=8d', "duration"),
    ):
        is_problem(busy.get(f"/ack/preview?{query}"), 400, field)
    is_problem(live.get('/ack/preview?labels={"a":"b"}'), 409)


def test_a_preview_without_alertmanager_s_answer_says_that_it_does_not_know(tmp_path: Path) -> None:
    with server(tmp_path, {"ALERTMANAGER_URL": "http://127.0.0.1:9"}) as own:
        found = preview(own, {"a": "b"})
        assert (found["known"], found["matching"], found["matching_total"]) == (False, [], 0)


# ---- the page and its files ------------------------------------------------------------------------------------------

SHELL = '<!doctype html><script type="module" src="console/assets/index-1a2b3c.js"></script>'


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A console as Vite leaves it."""
    folder = tmp_path / "console"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(SHELL)
    (folder / "assets" / "index-1a2b3c.js").write_text("export {}")
    (folder / "assets" / "index-1a2b3c.css").write_text("a{}")
    (folder / "assets" / "notes.txt").write_text("not for the web")
    (folder / "assets" / ".secret.js").write_text("not for the web")
    (tmp_path / "above.js").write_text("not for the web")
    monkeypatch.setattr(console, "built", lambda: folder)
    return folder


def strict(answer: Any) -> None:
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"


def test_the_page_is_handed_out(live: Server, build: Path) -> None:
    answer = live.get("/console?view=events&kind=action_fail")
    assert (answer.status_code, answer.text) == (200, SHELL)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    strict(answer)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"authorization": "Bearer wrong"}, 401), ({"authorization": f"Bearer {WEBHOOK}"}, 403)],
)
def test_a_browser_without_rights_gets_the_page_to_sign_in(
    closed: Server, build: Path, headers: dict[str, str], status: int
) -> None:
    answer = closed.get("/console", headers=BROWSER | headers)
    assert (answer.status_code, answer.text) == (status, SHELL)
    strict(answer)
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
    is_problem(closed.get("/console", headers=headers), status)
    assert closed.get("/console", headers={"authorization": f"Bearer {ADMIN}"}).status_code == 200


def test_a_foreign_page_s_name_for_us_gets_no_data(live: Server, build: Path) -> None:
    answer = live.get("/console", headers=BROWSER | {"host": "evil.example"})
    assert (answer.status_code, answer.text) == (403, SHELL)
    is_problem(live.get("/overview", headers={"host": "evil.example"}), 403)


def test_the_files_are_public_and_kept_for_good(closed: Server, build: Path) -> None:
    for name, kind in (("index-1a2b3c.js", "text/javascript"), ("index-1a2b3c.css", "text/css")):
        answer = closed.get(f"/console/assets/{name}")
        assert answer.status_code == 200
        assert answer.content == (build / "assets" / name).read_bytes()
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name",
    [
        "missing.js",
        "notes.txt",
        ".secret.js",
        "..%2findex.html",
        "..%2f..%2fabove.js",
        "%2e%2e%2f%2e%2e%2fabove.js",
        "..%5c..%5cabove.js",
        "%2fetc%2fpasswd",
        "x%00.js",
        "a" * 300 + ".js",
        "index-1a2b3c.js/",
    ],
)
def test_no_other_file_is_handed_out(live: Server, build: Path, name: str) -> None:
    answer = live.raw(f"GET /console/assets/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404") and b"not for the web" not in answer


def test_where_it_was_not_built_the_page_says_so(live: Server, build: Path) -> None:
    (build / "index.html").unlink()
    answer = live.get("/console", headers=BROWSER)
    assert answer.status_code == 503
    assert "run scripts/console" in answer.text and "text/html" in answer.headers["content-type"]
