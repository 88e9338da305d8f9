"""A hundred thousand events in the trail: first screen and list stay quick, and few rows are drawn."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from autoheal.store.sqlite import database_url
from bench import fill, trail
from tests.acceptance.service import Autoheal, alert, policy, rule
from tests.browser.checks import settles
from tests.browser.tabs import Tabs, on_screen, wait_for

EVENTS = 100_000
MOST_ROWS = 120
HEIGHT = "document.documentElement.scrollHeight"
IN_VIEW = """() => [...document.querySelectorAll("[data-testid=event]")].filter((row) => {
  const box = row.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
}).map((row) => +row.dataset.id)"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Autoheal]:
    """Its trail ends a minute ago, and is fourteen hours long."""
    folder = tmp_path_factory.mktemp("many")
    quick = rule("quick", "Quick", {"action": {"command": ["true"]}}, cooldown_by=["instance"])
    found = Autoheal(folder, policy(quick))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trail, "BEGAN", float(int(time.time() - EVENTS * trail.EVERY - 1500)))
        fill.fill(database_url(found.data), EVENTS)
    with found:
        found.start()
        yield found


def rows(page: Page) -> int:
    return page.get_by_test_id("event").count()


def test_the_first_screen_is_there_at_once(service: Autoheal, tabs: Tabs) -> None:
    began = time.monotonic()
    page = on_screen(tabs.open("/console?range=24h"))
    expect(page.locator(".chart canvas")).to_be_visible()
    took = time.monotonic() - began
    assert took < 5, f"{took:.1f} s"
    expect(page.get_by_test_id("legend-skipped")).to_contain_text(re.compile(r"\d\d,?\d\d\d"))


def test_the_list_draws_few_rows_however_far_one_goes(tabs: Tabs) -> None:
    page = on_screen(tabs.open("/console?view=events"))
    expect(page.get_by_test_id("event").first).to_be_visible()
    assert rows(page) < MOST_ROWS
    for _ in range(6):
        before = page.evaluate(HEIGHT)
        page.evaluate(f"scrollTo(0, {before})")
        wait_for(page, f"(before) => {HEIGHT} > before", before)
        assert rows(page) < MOST_ROWS
    assert page.evaluate(HEIGHT) > 2000 * 30


def test_a_jump_lands_where_it_should(tabs: Tabs) -> None:
    """By the scroll bar, as it were: the rows that are drawn are those of that place."""
    page = on_screen(tabs.open("/console?view=events"))
    expect(page.get_by_test_id("event").first).to_be_visible()
    for top in (3000, 600, 5000, 0):
        page.evaluate("(top) => scrollTo(0, top)", top)
        settles(page)
        wait_for(page, f"() => ({IN_VIEW})().length >= 15")
        assert abs(page.evaluate("scrollY") - top) < 2
        seen = page.evaluate(IN_VIEW)
        assert seen == sorted(seen, reverse=True)
        assert len(set(seen)) == len(seen)


def test_something_rare_is_found_by_its_text(service: Autoheal, tabs: Tabs) -> None:
    page = on_screen(tabs.open("/console?view=events&q=AlertRare"))
    found = page.get_by_test_id("event").filter(has_text="AlertRare")
    for _ in range(5):
        if found.count():
            break
        more = page.get_by_test_id("load-older")
        more.or_(found).first.wait_for()
        more.evaluate_all("(found) => found.forEach((button) => button.click())")
    expect(found.first).to_be_visible()


def test_what_is_new_comes_on_top(service: Autoheal, tabs: Tabs) -> None:
    page = on_screen(tabs.open("/console?view=events"))
    expect(page.get_by_test_id("event").first).to_be_visible()
    for number in range(30):
        service.send(alert("Nobodys", instance=f"new-{number}"))
    expect(page.get_by_test_id("event").filter(has_text="new-29").first).to_be_visible()
    assert rows(page) < MOST_ROWS
