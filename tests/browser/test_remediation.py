"""A remediation's page: why it was done, what it said, whether it helped, when; and why something was not done."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.service import QUICK, Autoheal, alert, policy, rule
from tests.browser.conftest import Serve
from tests.browser.tabs import Tabs, on_screen

SAYS = {"action": {"command": ["echo", "restarted", "{labels.instance}"]}}
FAILS = {"action": {"command": ["ls", "/no/such/folder"]}}
ORDER = (
    "kill_switch resolved rule opt_in action_allowed maintenance silenced in_progress unsettled cooldown budget breaker"
    " blast_radius approval dry_run"
).split()


@pytest.fixture(scope="module")
def service(serve: Serve) -> Autoheal:
    started = serve(policy(), options=QUICK)
    verify = {"verify": {"within": "20s", "every": "200ms", "http": f"{started.url}/healthz"}}
    by = {"cooldown_by": ["alertname", "instance"]}
    rules = (rule("heals", "Heals", SAYS | verify, **by), rule("climbs", "Climbs", FAILS, SAYS | verify, **by))
    started.write_policy(policy(*rules))
    assert started.post("/policy/reload").status_code == 200
    return started


def opened(service: Autoheal, tabs: Tabs, alertname: str, instance: str) -> tuple[str, Page]:
    """The page of a new remediation, opened while it is under way."""
    [result] = service.send(alert(alertname, instance=instance))
    rid = result["remediation_id"]
    return rid, on_screen(tabs.open(f"/console?view=remediation&id={rid}"))


def test_it_tells_the_whole_story(service: Autoheal, tabs: Tabs) -> None:
    rid, page = opened(service, tabs, "Heals", "web-1")
    expect(page.get_by_test_id("remediation")).to_have_attribute("data-state", "healed")
    expect(page.get_by_test_id("rem-line")).to_contain_text(re.compile(r"Healed, \S+ after the alert came"))
    step = page.get_by_test_id("step")
    expect(step.get_by_test_id("output")).to_have_text(re.compile("restarted web-1"))
    expect(step.get_by_test_id("rc")).to_have_text("rc 0")
    expect(step).to_contain_text("echo restarted web-1")
    expect(step.get_by_test_id("verification")).to_contain_text("healed")
    expect(step.get_by_test_id("verification")).to_contain_text("/healthz")
    gates = page.get_by_test_id("gates").locator("[data-gate]")
    assert [row.get_attribute("data-gate") for row in gates.all()] == ORDER
    assert {row.get_attribute("data-verdict") for row in gates.all()} <= {"pass", "remark"}
    facts = page.get_by_role("region", name="Facts")
    for name in ("heard", "first start", "ended", "cooldown key"):
        expect(facts.get_by_text(name, exact=True)).to_be_visible()
    told = [one.get_attribute("data-kind") for one in page.locator("ol[data-testid=own-events] li").all()]
    assert told == [e["kind"] for e in service.events() if e.get("remediation_id") == rid]


def test_each_step_of_a_ladder_with_its_outcome(service: Autoheal, tabs: Tabs) -> None:
    _, page = opened(service, tabs, "Climbs", "web-2")
    expect(page.get_by_test_id("remediation")).to_have_attribute("data-state", "healed")
    steps = page.get_by_test_id("step")
    expect(steps).to_have_count(2)
    expect(steps.nth(0)).to_contain_text("Step 1 of 2")
    expect(steps.nth(0).get_by_test_id("output")).to_contain_text("/no/such/folder")
    expect(steps.nth(0).get_by_test_id("rc")).to_have_text("rc 2")
    expect(steps.nth(1).get_by_test_id("output")).to_contain_text("restarted web-2")


def test_why_it_was_not_done(service: Autoheal, tabs: Tabs) -> None:
    service.send(alert("Heals", instance="web-3"))
    service.settled()
    service.send(alert("Heals", instance="web-3"))
    page = on_screen(tabs.open("/console?view=events&kind=decision_skip&alertname=Heals"))
    row = page.get_by_test_id("event").first
    expect(row).to_contain_text("cool")
    row.get_by_role("button").first.click()
    then = row.get_by_test_id("gates").locator('[data-gate="cooldown"]')
    expect(then).to_have_attribute("data-verdict", "stopped")
    page.get_by_test_id("why-not").click()
    now = page.get_by_test_id("explain-now")
    expect(now.locator('[data-gate="cooldown"]')).to_have_attribute("data-verdict", "stopped")
    expect(now.locator('[data-gate="rule"]')).to_have_attribute("data-verdict", re.compile("pass|remark"))
    expect(page.get_by_test_id("explain-then").locator('[data-gate="cooldown"]')).to_be_visible()


def test_one_that_is_not_there(tabs: Tabs) -> None:
    tabs.allow("status of 404")
    page = on_screen(tabs.open("/console?view=remediation&id=r999999"))
    expect(page.get_by_text("There is no such remediation")).to_be_visible()


def test_lists_lead_to_it(service: Autoheal, tabs: Tabs) -> None:
    [result] = service.send(alert("Heals", instance="web-4"))
    page = on_screen(tabs.open("/console?view=remediations"))
    row = page.locator(f'[data-testid="rem-row"][data-id="{result["remediation_id"]}"]')
    expect(row).to_have_attribute("data-state", "healed")
    row.get_by_role("link").first.click()
    expect(page.get_by_test_id("remediation")).to_have_attribute("data-state", "healed")
    page.get_by_role("link", name="heals").first.click()
    expect(page.locator('[data-testid="rule"][data-rule="heals"]')).to_be_visible()
