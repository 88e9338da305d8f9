"""What happens is on the screen at once, and a view is an address: filters, sharing, back and forward."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.service import Autoheal, alert, policy, rule
from tests.browser.conftest import Serve
from tests.browser.tabs import Tabs, on_screen, wait_for

RUN = {"action": {"command": ["true"]}}
SLOW = {"action": {"command": ["sleep", "30"]}}
BY = {"cooldown_by": ["alertname", "instance"]}


@pytest.fixture(scope="module")
def service(serve: Serve) -> Autoheal:
    return serve(
        policy(
            rule("quick", "Quick", RUN, **BY),
            rule("fails", "Fails", {"action": {"command": ["false"]}}, **BY),
            rule("slow", "Slow", SLOW, **BY),
            rule("asks", "Asks", RUN, approval={"timeout": "15m"}, **BY),
        )
    )


def listed(page: Page) -> list[int]:
    """The ids in the list, as they stand."""
    found: list[int] = page.get_by_test_id("event").evaluate_all("(rows) => rows.map((row) => +row.dataset.id)")
    return found


def test_the_first_screen_follows_without_a_reload(service: Autoheal, page: Page) -> None:
    page.evaluate("window.same = true")
    expect(page.get_by_test_id("active-row")).to_have_count(0)
    service.send(alert("Slow", instance="first"))
    row = page.get_by_test_id("active-row").filter(has_text="Slow").filter(has_text="first")
    expect(row).to_have_attribute("data-state", "running")
    expect(row).to_contain_text("sleep 30")
    service.send(alert("Asks", instance="first"))
    expect(page.get_by_test_id("approval").filter(has_text="Asks")).to_be_visible()
    expect(page).to_have_title(re.compile(r"^\(\d+\) "))
    assert page.evaluate("window.same") is True


def test_an_alert_becomes_a_row_of_the_list(service: Autoheal, tabs: Tabs) -> None:
    page = on_screen(tabs.open("/console?view=events"))
    service.send(alert("Quick", instance="listed"))
    rows = page.get_by_test_id("event")
    expect(rows.filter(has_text="Quick").filter(has_text="listed").first).to_be_visible()
    expect(page.locator('[data-testid="event"][data-kind="action_ok"]').first).to_be_visible()
    ids = listed(page)
    assert ids == sorted(set(ids), reverse=True)


@pytest.fixture(scope="module")
def sent(service: Autoheal) -> None:
    service.send(alert("Quick", instance="needle"), alert("Fails", instance="x"), alert("Nobodys", instance="y"))
    service.await_event("action_fail", alertname="Fails")


def choose(page: Page, filters: dict[str, Any]) -> None:
    for name, value in filters.items():
        if name == "kind":
            page.get_by_test_id("filter-kinds").click()
            page.get_by_test_id(f"kind-{value}").check()
            page.keyboard.press("Escape")
        else:
            page.get_by_test_id(f"filter-{name}").fill(value)


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"kind": "action_fail"}, {"kind": "action_fail"}),
        ({"alertname": "Nobodys", "q": "not_allowlisted"}, {"alertname": "Nobodys", "contains": "not_allowlisted"}),
        ({"kind": "decision_act", "rule": "quick", "q": "needle"}, None),
    ],
    ids=["kind", "alert and text", "kind, rule and text"],
)
def test_filters_stand_in_the_address_and_are_shared_by_it(
    service: Autoheal, tabs: Tabs, sent: None, filters: dict[str, str], wanted: dict[str, str] | None
) -> None:
    page = on_screen(tabs.open("/console?view=events"))
    choose(page, filters)
    for name, value in filters.items():
        expect(page).to_have_url(re.compile(f"[?&]{name}={value}(&|$)"))
    asked = wanted or {"kind": "decision_act", "rule": "quick", "contains": "needle"}
    ids = sorted((event["id"] for event in service.events(**asked)), reverse=True)
    assert ids
    expect(page.get_by_test_id("event")).to_have_count(len(ids))
    assert listed(page) == ids
    other = on_screen(tabs.open(page.url.removeprefix(service.url)))
    expect(other.get_by_test_id("event")).to_have_count(len(ids))
    assert listed(other) == ids
    for name, value in filters.items():
        if name != "kind":
            expect(other.get_by_test_id(f"filter-{name}")).to_have_value(value)


def test_a_filtered_list_takes_of_what_comes_only_what_passes(service: Autoheal, tabs: Tabs, sent: None) -> None:
    page = on_screen(tabs.open("/console?view=events&alertname=Wanted"))
    expect(page.get_by_test_id("event")).to_have_count(0)
    service.send(alert("Unwanted", instance="z"), alert("Wanted", instance="z"))
    expect(page.get_by_test_id("event")).to_have_count(1)
    expect(page.get_by_test_id("event")).to_contain_text("Wanted")


def test_back_and_forward_go_through_the_views(tabs: Tabs, sent: None) -> None:
    page = on_screen(tabs.open())
    page.get_by_test_id("nav-events").click()
    choose(page, {"kind": "action_fail"})
    expect(page).to_have_url(re.compile("kind=action_fail"))
    fails = page.locator('[data-testid="event"]:not([data-kind="action_fail"])')
    expect(fails).to_have_count(0)
    page.get_by_test_id("nav-rules").click()
    expect(page.get_by_test_id("rule")).to_have_count(4)
    page.go_back()
    expect(page).to_have_url(re.compile("kind=action_fail"))
    expect(page.get_by_test_id("event").first).to_be_visible()
    expect(fails).to_have_count(0)
    page.go_back()
    expect(fails.first).to_be_visible()
    page.go_back()
    expect(page.get_by_test_id("mode-banner")).to_be_visible()
    page.go_forward()
    page.go_forward()
    expect(page).to_have_url(re.compile("kind=action_fail"))
    expect(fails).to_have_count(0)


def test_reading_holds_new_events_back(service: Autoheal, tabs: Tabs, sent: None) -> None:
    page = on_screen(tabs.open("/console?view=events"))
    page.get_by_test_id("event").first.get_by_role("button").click()
    expect(page.get_by_test_id("event-detail")).to_be_visible()
    before = listed(page)
    service.send(alert("Nobodys", instance="later"))
    expect(page.get_by_test_id("new-events")).to_contain_text("2")
    assert listed(page)[: len(before)] == before
    page.get_by_test_id("new-events").click()
    wait_for(page, "(id) => +document.querySelector('[data-testid=event]').dataset.id > id", before[0])
