"""The text of an alert is data: whatever it holds is shown as text on every view, and nothing of it is done."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.service import Autoheal, policy, rule
from tests.browser.conftest import Serve
from tests.browser.tabs import Tabs, on_screen

SCRIPT = "<script>window.hacked=1</script>"
IMAGE = "<img src=x onerror=window.hacked=1>"
BIDI = "web\u202e1-gpj.exe\u2066\u200b"
CONTROL = "bell\x07 escape\x1b[31m null\x00 line\nfeed"
LONG = "x" * 10_000
LABELS = {
    "alertname": f"Evil {SCRIPT}",
    "instance": IMAGE,
    "bidi": BIDI,
    "control": CONTROL,
    "long": LONG,
    "template": "{{constructor.constructor('window.hacked=1')()}} ${window.hacked=1}",
    "quote": '"><svg/onload=window.hacked=1>',
}
NOTES = {
    "autoheal": "true",
    "runbook_url": "javascript:window.hacked=1",
    "dashboard": "data:text/html,<script>window.hacked=1</script>",
    "tricky": " javascript:window.hacked=1",
    "summary": f"{SCRIPT}{IMAGE}{BIDI}",
    "good": "https://runbooks.example.org/x?a=1&b=<2>",
}
LEAKS = """() => {
  const hrefs = [...document.querySelectorAll("[href],[src],[action]")]
    .map((e) => e.getAttribute("href") ?? e.getAttribute("src") ?? e.getAttribute("action"))
    .filter((to) => !/^(\\?|#|https?:|console\\/assets\\/|data:image\\/svg)/i.test(to.trim()));
  const handlers = [...document.querySelectorAll("*")]
    .filter((e) => [...e.attributes].some((a) => a.name.startsWith("on"))).map((e) => e.outerHTML);
  const planted = document.querySelectorAll("main script, main img, main svg[onload], main iframe, main style").length;
  const hidden = (document.body.innerText.match(/[\\u202a-\\u202e\\u2066-\\u2069\\u200b\\u0007\\u001b]/g) ?? []).length;
  return {hacked: window.hacked ?? null, hrefs, handlers, planted, hidden};
}"""
CLEAN = {"hacked": None, "hrefs": [], "handlers": [], "planted": 0, "hidden": 0}
OVERFLOWS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def service(serve: Serve) -> Autoheal:
    evil = {"match": ['alertname=~"Evil.*"'], "cooldown": "10m", "opt_in": True, "approval": {"timeout": "15m"}}
    step = {"action": {"command": ["printf", "<b>%s</b>\\033[31m", SCRIPT]}}
    asks = {"name": "evil", "steps": [step]} | evil
    shown = rule("shown", "Shown", step)
    return serve(policy(asks, shown))


@pytest.fixture(scope="module")
def evil(service: Autoheal) -> str:
    """The remediation of an alert whose every text is hostile, and a skip of the same kind."""
    body: list[dict[str, Any]] = [
        {"status": "firing", "labels": LABELS, "annotations": NOTES},
        {"status": "firing", "labels": LABELS | {"alertname": f"Nobodys {IMAGE}"}, "annotations": NOTES},
        {"status": "firing", "labels": {"alertname": "Shown"}, "annotations": NOTES},
    ]
    results = service.send(*body)
    assert [result["result"] for result in results] == ["hold", "skip", "accepted"], results
    service.await_event("action_ok", alertname="Shown")
    return str(results[0]["remediation_id"])


def paths(rid: str) -> dict[str, str]:
    labels = quote(json.dumps(LABELS))
    return {
        "now": "/console",
        "events": "/console?view=events",
        "remediations": "/console?view=remediations",
        "remediation": f"/console?view=remediation&id={rid}",
        "rules": "/console?view=rules",
        "ack": f"/console?view=ack&labels={labels}",
        "explain": f"/console?view=explain&labels={labels}&annotations={quote(json.dumps(NOTES))}",
        "filters": f"/console?view=events&q={quote(SCRIPT)}&alertname={quote(IMAGE)}&rule=%22%3E{quote(IMAGE)}",
        "nonsense": f"/console?view={quote(SCRIPT)}&id=%00&labels=%7B&n=1e9",
    }


def is_clean(page: Page) -> None:
    assert page.evaluate(LEAKS) == CLEAN
    assert page.evaluate(OVERFLOWS) <= 0


def test_every_view_shows_it_as_text(service: Autoheal, tabs: Tabs, evil: str) -> None:
    tabs.allow(r"status of 400 .*/explain")  # labels of that length are refused, and the view says so
    tabs.allow(r"status of 40[09] .*/ack/preview")
    tabs.allow(r"status of 409 .*/silences")  # no Alertmanager is configured here
    page = on_screen(tabs.open())
    for name, path in paths(evil).items():
        page.goto(service.url + path)
        on_screen(page)
        if name in ("now", "remediation", "remediations", "explain"):
            expect(page.get_by_test_id("main")).to_contain_text(SCRIPT)
        is_clean(page)


def test_opened_events_show_it_as_text(tabs: Tabs, evil: str) -> None:
    page = on_screen(tabs.open("/console?view=events"))
    for kind in ("decision_hold", "decision_skip", "action_ok"):
        row = page.locator(f'[data-testid="event"][data-kind="{kind}"]')
        row.get_by_role("button").first.click()
        expect(row.get_by_test_id("event-detail")).to_be_visible()
        is_clean(page)
    detail = page.get_by_test_id("event-detail").filter(has_text="bidi").first
    expect(detail).to_contain_text("\\u202e")
    expect(detail).to_contain_text("\\u001b")


def test_the_dialog_and_what_the_command_said(service: Autoheal, tabs: Tabs, evil: str) -> None:
    page = on_screen(tabs.open("/console?view=remediations"))
    page.get_by_test_id("rem-row").filter(has_text="Shown").get_by_role("link").first.click()
    expect(page.get_by_test_id("output")).to_contain_text(f"<b>{SCRIPT}</b>\\u001b[31m")
    is_clean(page)
    page.goto(f"{service.url}/console?view=remediation&id={evil}")
    page.get_by_test_id("verb-reject").click()
    expect(page.get_by_test_id("dialog-reject")).to_contain_text(SCRIPT)
    is_clean(page)


def test_only_a_web_address_becomes_a_link(service: Autoheal, tabs: Tabs, evil: str) -> None:
    page = on_screen(tabs.open(f"/console?view=remediation&id={evil}"))
    out = page.locator("main a[target=_blank]")
    expect(out.first).to_be_visible()
    assert {link.get_attribute("href") for link in out.all()} == {"https://runbooks.example.org/x?a=1&b=%3C2%3E"}
    assert {link.get_attribute("rel") for link in out.all()} == {"noopener noreferrer"}
    expect(page.get_by_text("javascript:window.hacked=1").first).to_be_visible()
