"""Everything can be done by keyboard alone: the order of Tab, dialogs, the skip link, single keys, the list."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.service import Autoheal, alert, policy, rule
from tests.browser.conftest import Serve
from tests.browser.tabs import Tabs, on_screen, wait_for

RUN = {"action": {"command": ["true"]}}
FOCUSED = """() => {
  const it = document.activeElement;
  return it === document.body ? "" : it.dataset.testid || it.getAttribute("aria-label") || it.textContent.trim();
}"""
RINGED = """() => {
  const style = getComputedStyle(document.activeElement);
  return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none";
}"""
INSIDE = "() => document.querySelector('dialog[open]').contains(document.activeElement)"


@pytest.fixture(scope="module")
def service(serve: Serve) -> Autoheal:
    started = serve(
        policy(
            rule("asks", "Asks", RUN, approval={"timeout": "15m"}, cooldown_by=["instance"]),
            rule("quick", "Quick", RUN, cooldown_by=["instance"]),
        )
    )
    started.send(*(alert("Quick", instance=f"i{number}") for number in range(4)))
    return started


def press_until(page: Page, key: str, wanted: str, most: int = 60) -> list[str]:
    """Press a key until the focus is where it is wanted; where it has been on the way."""
    way = []
    for _ in range(most):
        page.keyboard.press(key)
        way.append(page.evaluate(FOCUSED))
        if way[-1] == wanted:
            return way
    raise AssertionError(f"{wanted} is not reached by {key}: {way}")


def test_the_skip_link_comes_first_and_leads_to_the_content(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator("a.skip")).to_be_focused()
    expect(page.locator("a.skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("main")).to_be_focused()


def test_approve_without_a_mouse(service: Autoheal, page: Page) -> None:
    [result] = service.send(alert("Asks", instance="keys"))
    expect(page.get_by_test_id("approve")).to_be_visible()
    way = press_until(page, "Tab", "approve")
    order = [way.index(name) for name in ("nav-now", "nav-events", "mode-badge", "reject", "approve")]
    assert order == sorted(order)
    assert page.evaluate(RINGED)
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("dialog-approve")).to_be_visible()
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate(INSIDE) or page.evaluate("document.activeElement === document.body")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("dialog-approve")).to_have_count(0)
    expect(page.get_by_test_id("approve")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("dialog-approve")).to_be_visible()
    press_until(page, "Tab", "verb-note")
    page.keyboard.type("by keyboard")
    press_until(page, "Tab", "dialog-confirm")
    page.keyboard.press("Enter")
    approved = service.await_event("approved", remediation_id=result["remediation_id"])
    assert approved["note"] == "by keyboard"
    expect(page.get_by_test_id("approve")).to_have_count(0)
    wait_for(page, "() => document.activeElement !== document.body")


def test_single_keys_go_everywhere(page: Page, tabs: Tabs) -> None:
    tabs.allow(r"status of 409 .*/silences")  # no Alertmanager is configured here
    for keys, title in (("ge", "Events"), ("gr", "Remediations"), ("gu", "Rules"), ("ga", "Acknowledge")):
        page.keyboard.type(keys)
        expect(page.locator("main h1")).to_have_text(title)
        expect(page.locator("main h1")).to_be_focused()
        expect(page).to_have_title(re.compile(title))
    page.keyboard.type("gn")
    expect(page.get_by_test_id("mode-banner")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_test_id("filter-q")).to_be_focused()
    page.keyboard.type("gn?p")
    expect(page.get_by_test_id("filter-q")).to_have_value("gn?p")
    expect(page.get_by_test_id("dialog-help")).to_have_count(0)


def test_help_and_the_switch_that_turns_keys_off(page: Page) -> None:
    page.keyboard.press("?")
    dialog = page.get_by_test_id("dialog-help")
    expect(dialog).to_contain_text("Search the events")
    dialog.get_by_test_id("keys-on").uncheck()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.keyboard.type("ge?")
    expect(page.get_by_test_id("mode-banner")).to_be_visible()
    expect(dialog).to_have_count(0)


def test_the_list_by_arrow_keys(tabs: Tabs) -> None:
    page = on_screen(tabs.open("/console?view=events"))
    toggles = page.locator(".event-toggle")
    expect(toggles.nth(3)).to_be_visible()
    toggles.nth(0).focus()
    page.keyboard.press("ArrowDown")
    expect(toggles.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(toggles.nth(1)).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_test_id("event-detail")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("event-detail")).to_have_count(0)
    page.keyboard.press("ArrowUp")
    expect(toggles.nth(0)).to_be_focused()


def test_a_list_that_grows_leaves_the_focus_where_it_is(service: Autoheal, tabs: Tabs) -> None:
    page = on_screen(tabs.open("/console?view=events"))
    row = page.get_by_test_id("event").nth(1)
    known = row.get_attribute("data-id")
    page.locator(f'[data-id="{known}"] .event-toggle').focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    service.send(alert("Nobodys"))
    expect(page.get_by_test_id("new-events")).to_be_visible()
    expect(page.locator(f'[data-id="{known}"] .event-toggle')).to_be_focused()


def test_what_happens_is_spoken(service: Autoheal, page: Page) -> None:
    service.send(alert("Asks", instance="spoken"))
    expect(page.get_by_test_id("spoken")).to_contain_text("Asks")
