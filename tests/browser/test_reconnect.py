"""Autoheal goes away and comes back on the same port: the page says so, goes on, and no event is missing or doubled."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.service import Autoheal, alert, policy, rule
from tests.browser.conftest import Serve
from tests.browser.tabs import UNREACHABLE, Tabs, on_screen
from tests.servers import wait_until

EVERY_ROW = """async () => {
  const seen = [];
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  for (let top = 0; ; top += innerHeight / 2) {
    scrollTo(0, top);
    await frame();
    for (const row of document.querySelectorAll("[data-testid=event]")) seen.push(+row.dataset.id);
    if (top + innerHeight >= document.documentElement.scrollHeight) break;
  }
  scrollTo(0, 0);
  await frame();
  return seen;
}"""
TWICE = """() => {
  const ids = [...document.querySelectorAll("[data-testid=event]")].map((row) => row.dataset.id);
  return ids.length - new Set(ids).size;
}"""


@pytest.fixture(scope="module")
def service(serve: Serve) -> Autoheal:
    """What was cut off takes a hand until it times out, in case it still runs: there are hands enough."""
    quick = rule("quick", "Quick", {"action": {"command": ["true"]}}, cooldown_by=["instance"])
    return serve(policy(quick, limits={"concurrent": 64}))


@pytest.fixture
def watching(service: Autoheal, tabs: Tabs) -> Page:
    """The list of events; what Chromium says of a server that is away is no fault."""
    tabs.allow(UNREACHABLE)
    tabs.allow(r"status of 503")
    return on_screen(tabs.open("/console?view=events"))


def makes_whole(page: Page, service: Autoheal) -> None:
    """The list has every event of the trail, each once."""
    service.settled()
    ids = [event["id"] for event in service.events()]
    expect(page.locator(f'[data-testid="event"][data-id="{ids[-1]}"]')).to_be_visible()
    assert page.evaluate(TWICE) == 0
    wait_until(lambda: not set(page.evaluate(EVERY_ROW)) ^ set(ids), 10, "a list with every event")
    size = page.get_by_test_id("event").first.get_attribute("aria-setsize")
    assert size == str(len(ids))


def send(service: Autoheal, where: str, count: int) -> None:
    for number in range(count):
        service.send(alert("Quick", instance=f"{where}-{number}"))


def lost(page: Page) -> None:
    strip = page.get_by_test_id("connection-lost")
    expect(strip).to_contain_text("Not live since")
    expect(page.get_by_test_id("main")).to_have_class(re.compile("stale"))


def back(page: Page) -> None:
    expect(page.get_by_test_id("connection")).to_have_attribute("data-phase", "live", timeout=20_000)
    expect(page.get_by_test_id("connection-lost")).to_have_count(0)
    expect(page.get_by_test_id("notice").filter(has_text="none was missed").first).to_be_visible()


def test_after_an_orderly_restart_it_goes_on_by_itself(service: Autoheal, watching: Page) -> None:
    send(service, "before", 5)
    service.stop()
    lost(watching)
    service.start()
    send(service, "meanwhile", 10)
    back(watching)
    send(service, "after", 2)
    makes_whole(watching, service)


def test_after_a_kill_it_goes_on_when_asked(service: Autoheal, watching: Page) -> None:
    send(service, "killed", 3)
    service.kill()
    lost(watching)
    service.start()
    send(service, "revived", 10)
    again = watching.get_by_role("button", name="Try now")
    again.evaluate_all("(found) => found.forEach((button) => button.click())")  # it may have come back by itself
    back(watching)
    makes_whole(watching, service)


def test_a_page_opened_while_it_is_away_waits_for_it(service: Autoheal, tabs: Tabs) -> None:
    """The page is there, its data is not: another tab of the same person, say, that was restored."""
    tabs.allow(UNREACHABLE)
    page = tabs.blank()
    page.route("**/overview", lambda route: route.abort())
    page.goto(f"{service.url}/console")
    tabs.allow(r"net::ERR_FAILED")
    expect(page.get_by_test_id("connection-lost")).to_be_visible()
    page.unroute("**/overview")
    on_screen(page)
    expect(page.get_by_test_id("mode-word")).to_contain_text("LIVE")


def test_killed_in_the_middle_of_events(service: Autoheal, watching: Page) -> None:
    """The stream breaks while it tells; what was half told is told again, once."""
    for number in range(8):
        service.post("/alert", {"alerts": [alert("Quick", instance=f"s{number}-{n}") for n in range(5)]})
    service.kill()
    service.start()
    back(watching)
    send(service, "calm", 1)
    makes_whole(watching, service)
