"""Safety rule 5: a GET from a link changes nothing; one human click, or a program that proves itself, does."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from autoheal.remediator import ack
from autoheal.testing.alertmanager import FakeAlertmanager
from tests.integration.http.live import ADMIN, Server, is_problem, server

LABELS = {"alertname": "TcpEndpointDownFast", "service": "crm-api"}
QUERY = {"labels": json.dumps(LABELS), "duration": "30m", "comment": "on it"}
BROWSER = {"accept": "text/html,application/xhtml+xml", "sec-fetch-mode": "navigate", "sec-fetch-site": "none"}


@dataclass
class Place:
    live: Server
    fake: FakeAlertmanager

    @property
    def silences(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = httpx.get(f"{self.fake.url}/api/v2/silences", timeout=5).json()
        return found

    def click(self, page: str, **other: str) -> httpx.Response:
        return self.live.post("/ack", data={**fields(page), **other}, headers={"origin": self.live.url})


def fields(page: str) -> dict[str, str]:
    """The page's form, as a browser would send it."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page)
    return {name: html.unescape(value) for name, value in found}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeAlertmanager]:
    with FakeAlertmanager(time.time) as found:
        yield found


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory, fake: FakeAlertmanager) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("open"), {"ALERTMANAGER_URL": fake.url}) as found:
        yield found


@pytest.fixture
def place(open_server: Server, fake: FakeAlertmanager) -> Place:
    fake._alerts.clear()
    fake._silences.clear()
    fake.requests.clear()
    return Place(open_server, fake)


@pytest.mark.parametrize(
    "headers",
    [
        BROWSER,
        {"accept": "text/html"},
        {"accept": "*/*", "sec-fetch-site": "cross-site"},
        {"accept": "*/*", "sec-fetch-dest": "image"},
        {"accept": "*/*", "origin": "https://evil.example"},
        {"accept": "*/*", "referer": "https://slack.example/x"},
        {"accept": "*/*", "purpose": "prefetch"},
        {"accept": "*/*", "sec-purpose": "prefetch"},
        {"accept": "*/*", "x-moz": "prefetch"},
        {"accept": "*/*", "authorization": "Bearer made-up", "referer": "x"},
    ],
)
def test_a_get_by_anything_like_a_browser_changes_nothing(place: Place, headers: dict[str, str]) -> None:
    before = place.live.events()
    page = place.live.get("/ack", params=QUERY, headers=headers)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert "<script" not in page.text
    assert "on it" in page.text
    assert not place.fake.asked("POST|DELETE|PUT")
    assert place.live.events() == before


def test_the_page_shows_what_would_be_hidden(place: Place) -> None:
    for instance in ("a:1", "b:1"):
        alerts = [{"labels": {**LABELS, "instance": instance}}, {"labels": {"alertname": "Else", "instance": instance}}]
        httpx.post(f"{place.fake.url}/api/v2/alerts", json=alerts, timeout=5).raise_for_status()
    page = place.live.get("/ack", params=QUERY, headers=BROWSER).text
    assert "2 alerts that fire now" in page
    assert "a:1" in page
    assert "Else" not in page


def test_one_click_works_once(place: Place) -> None:
    page = place.live.get("/ack", params=QUERY, headers=BROWSER).text
    assert place.click(page).status_code == 200
    [silence] = place.silences
    assert {m["name"]: m["value"] for m in silence["matchers"]} == LABELS  # type: ignore[attr-defined]
    assert all(m["isEqual"] and not m["isRegex"] for m in silence["matchers"])  # type: ignore[attr-defined]
    again = place.click(page)
    assert again.status_code == 409
    assert "used already" in again.text
    assert "content-security-policy" in again.headers
    assert len(place.silences) == 1
    [event] = [e for e in place.live.events(kind="ack") if e["silence_id"] == silence["id"]]
    assert (event["labels"], event["duration"], event["comment"], event["actor"]) == (LABELS, "30m", "on it", "local")


@pytest.mark.parametrize(
    "other",
    [
        {"labels": json.dumps({"alertname": "Other"})},
        {"duration": "7d"},
        {"comment": "other"},
        {"token": ""},
        {"token": "a.b.c"},
        {"token": "é.1.\udc80".encode("utf-8", "replace").decode()},
    ],
)
def test_a_click_holds_only_for_what_was_shown(place: Place, other: dict[str, str]) -> None:
    page = place.live.get("/ack", params=QUERY, headers=BROWSER).text
    assert place.click(page, **other).status_code == 409
    assert place.silences == []


def test_a_click_on_an_old_page_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ack, "CLICK_LASTS", -1.0)
    page = place.live.get("/ack", params=QUERY, headers=BROWSER).text
    answer = place.click(page)
    assert answer.status_code == 409
    assert "too long" in answer.text
    assert place.silences == []


@pytest.mark.parametrize(
    "text", ["two\r\nlines\tand  spaces ", "family 👨‍👩‍👧 \u202eturned", "<b>&amp;\"'", "nul\0", "x" * 5000, "é" * 3]
)
def test_a_click_works_whatever_the_comment_and_labels_hold(place: Place, text: str) -> None:
    labels = json.dumps({**LABELS, "note": text.replace("\0", "")})
    page = place.live.get("/ack", params={**QUERY, "labels": labels, "comment": text}, headers=BROWSER).text
    assert len(fields(page)["comment"]) <= 1000
    assert place.click(page).status_code == 200
    assert len(place.silences) == 1


def test_another_site_cannot_click(place: Place) -> None:
    page = place.live.get("/ack", params=QUERY, headers=BROWSER).text
    is_problem(place.live.post("/ack", data=fields(page), headers={"origin": "https://evil.example"}), 403)
    is_problem(place.live.post("/ack", data=fields(page), headers={"sec-fetch-site": "cross-site"}), 403)
    assert place.silences == []


def test_a_program_on_an_open_loopback_server_acts_by_get(place: Place) -> None:
    data = place.live.get("/ack", params=QUERY, headers={"accept": "*/*"}).json()
    assert set(data) == {"ok", "silence_id", "ends_at"}
    assert [silence["id"] for silence in place.silences] == [data["silence_id"]]
    assert data["ends_at"].endswith("Z")


def test_a_program_acts_by_post(place: Place) -> None:
    data = place.live.post("/ack", json={"labels": LABELS, "duration": "24h", "comment": "x" * 2000}).json()
    assert data["ok"] is True
    [silence] = place.silences
    assert silence["comment"] == "x" * 1000
    listed = place.live.get("/silences").json()["silences"]
    assert [(s["id"], s["ours"]) for s in listed] == [(data["silence_id"], True)]
    assert place.live.post(f"/silences/{data['silence_id']}/expire").json() == {"ok": True, "ours": True}
    assert place.live.post(f"/silences/{data['silence_id']}/expire").json() == {"ok": True, "ours": False}
    is_problem(place.live.post("/silences/a%20b/expire"), 404)


@pytest.mark.parametrize(
    ("labels", "field"),
    [
        (None, "labels"),
        ("", "labels"),
        ("{}", "labels"),
        ("[]", "labels"),
        ("x", "labels"),
        ("null", "labels"),
        ('{"a":""}', "labels"),
        ('{"a":1}', "labels.a"),
        ('{"a":null}', "labels.a"),
        ('{"":"b"}', "labels."),
        ('{"a":"\\u0000"}', "labels.a"),
        ('{"a":"\\ud800"}', "labels"),
        (json.dumps({f"l{n}": "x" for n in range(101)}), "labels"),
    ],
)
def test_labels_that_cannot_be_are_refused(place: Place, labels: str | None, field: str) -> None:
    query = {"duration": "30m", **({} if labels is None else {"labels": labels})}
    for headers in (BROWSER, {"accept": "*/*"}):
        is_problem(place.live.get("/ack", params=query, headers=headers), 400, field)
    body = f'{{"labels":{labels or "null"},"duration":"30m"}}'
    answer = place.live.post("/ack", content=body, headers={"content-type": "application/json"})
    is_problem(answer, 400)
    assert place.silences == []


def test_labels_that_alertmanager_refuses_are_refused(place: Place) -> None:
    is_problem(place.live.post("/ack", json={"labels": {"no name!": "x"}}), 400, "labels")


@pytest.mark.parametrize("duration", ["", "0", "0s", "-1h", "8d", "7d1ms", "1h30", "forever", "9" * 50 + "h", "1y"])
def test_durations_that_cannot_be_are_refused(place: Place, duration: str) -> None:
    for headers in (BROWSER, {"accept": "*/*"}):
        answer = place.live.get("/ack", params={**QUERY, "duration": duration}, headers=headers)
        is_problem(answer, 400, "duration")
    is_problem(place.live.post("/ack", json={"labels": LABELS, "duration": duration}), 400, "duration")
    is_problem(place.live.post("/ack", json={"labels": LABELS, "duration": 30}), 400, "duration")
    is_problem(place.live.post("/ack", json={"labels": LABELS, "comment": []}), 400, "comment")
    assert place.silences == []


def test_what_is_no_form_and_no_json_is_refused(place: Place) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    is_problem(place.live.post("/ack", content=b"\xff\xfe", headers=form), 400, "body")
    is_problem(place.live.post("/ack", content=b"a=1&" * 20, headers=form), 400, "body")
    is_problem(place.live.post("/ack", content=b"", headers=form), 400, "labels")
    is_problem(place.live.post("/ack", content=b"{}", headers={"content-type": "text/plain"}), 415, "content-type")
    is_problem(place.live.post("/ack", content=b"[1]", headers={"content-type": "application/json"}), 400, "body")
    is_problem(place.live.post("/ack", content=b"x" * 300_000, headers=form), 413, "body")


ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'onmouseover='x",
    "</table><form>",
    "\u202egnp",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_labels_are_only_text_on_the_page(place: Place, attack: str) -> None:
    httpx.post(f"{place.fake.url}/api/v2/alerts", json=[{"labels": {**LABELS, "evil": attack}}], timeout=5)
    labels = json.dumps({**LABELS, "evil": attack, attack: "name"})
    query = {"labels": labels, "duration": "30m", "comment": attack}
    page = place.live.get("/ack", params=query, headers=BROWSER).text
    markup = re.sub(r'value="[^"]*"', "", page)
    for forbidden in ("<script", "<img", "onerror=alert(1)>", "\u202e", "<form>"):
        assert forbidden not in markup
    assert page.count("<form") == 1
    assert set(re.findall(r"<(\w+)", page)) <= set(
        "html head meta title link body main h1 p table tr th td ul li code form input button".split()
    )


def test_behind_a_token_a_get_acts_only_with_it(
    tmp_path_factory: pytest.TempPathFactory, fake: FakeAlertmanager
) -> None:
    fake._silences.clear()
    env = {"ALERTMANAGER_URL": fake.url, "AUTOHEAL_ADMIN_TOKEN": ADMIN}
    with server(tmp_path_factory.mktemp("token"), env) as own:
        is_problem(own.get("/ack", params=QUERY), 401)
        led = own.get("/ack", params={**QUERY, "comment": "a&b", "other": "x"}, headers=BROWSER)
        assert led.status_code == 303
        to = httpx.URL(led.headers["location"])
        assert (to.is_relative_url, to.path) == (True, "console")
        assert dict(to.params) == {"view": "ack", **QUERY, "comment": "a&b"}
        place = Place(own, fake)
        assert place.silences == []
        token = {"authorization": f"Bearer {ADMIN}"}
        assert own.get("/ack", params=QUERY, headers=token).json()["ok"] is True
        assert len(place.silences) == 1
        [event] = own.get("/audit", params={"kind": "ack"}, headers=token).json()["events"]
        assert event["actor"] == "admin-token"


def test_an_alertmanager_out_of_reach_is_said(tmp_path_factory: pytest.TempPathFactory) -> None:
    with server(tmp_path_factory.mktemp("gone"), {"ALERTMANAGER_URL": "http://127.0.0.1:9"}) as own:
        is_problem(own.get("/ack", params=QUERY), 502)
        is_problem(own.get("/silences"), 502)
        page = own.get("/ack", params=QUERY, headers=BROWSER)
        assert "cannot be asked" in page.text
