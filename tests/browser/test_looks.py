"""How it looks: every view in light and dark, on a wide and on a narrow screen; the pictures for people to judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import expect

from tests.acceptance.service import Autoheal
from tests.browser.checks import fits, is_accessible, settles
from tests.browser.scene import scene
from tests.browser.shots import SCHEMES, SIZES, prepare, views
from tests.browser.tabs import Tabs, on_screen

NAMES = ("now", "events", "remediation", "approval", "remediations", "rules", "ack", "explain")
PHOTOGRAPHED = ("now", "events", "remediation", "approval")
LOOKED_AT = (("1440", "light"), ("360", "dark"))
"""By axe-core, which takes a second for each: so every view is seen in both schemes and at both sizes."""
MOVING = """() => document.getAnimations()
  .filter((one) => one.effect.getComputedTiming().duration > 10)
  .map((one) => one.animationName ?? one.transitionProperty)
"""
EMPTY = 15_000
"""Bytes of a picture on which there is nothing but a header, compressed."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Autoheal]:
    with scene(tmp_path_factory.mktemp("scene") / "autoheal") as running:
        yield running


@pytest.mark.parametrize("name", NAMES)
def test_every_view_at_every_size_and_in_every_scheme(name: str, service: Autoheal, tabs: Tabs, tmp_path: Path) -> None:
    page = prepare(tabs, views(service)[name])
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        fits(page)
        for scheme in SCHEMES:
            if name not in PHOTOGRAPHED and (size, scheme) not in LOOKED_AT:
                continue
            page.emulate_media(color_scheme=scheme)
            settles(page)
            if (size, scheme) in LOOKED_AT:
                is_accessible(page)
            if name in PHOTOGRAPHED:
                file = tmp_path / f"{name}-{size}-{scheme}.png"
                page.screenshot(path=file)
                assert file.stat().st_size > EMPTY


def test_the_first_screen_answers(service: Autoheal, tabs: Tabs) -> None:
    """Is it on, is it well, what runs, what happened, what waits."""
    page = on_screen(tabs.open())
    now = service.get("/overview").json()
    expect(page.get_by_test_id("mode-word")).to_have_text("LIVE")
    for slo in now["slos"]:
        state = {True: "ok", False: "breach", None: "none"}[slo["ok"]]
        expect(page.get_by_test_id(f"slo-{slo['id']}")).to_have_attribute("data-state", state)
    expect(page.get_by_test_id("active-row")).to_have_count(now["active_total"])
    expect(page.get_by_test_id("active-row").filter(has_text="SearchIndexStale")).to_contain_text("times out in")
    waiting = page.get_by_test_id("waiting")
    expect(waiting.get_by_test_id("approval")).to_have_count(1)
    expect(waiting.get_by_test_id("unknown")).to_have_count(1)
    expect(waiting.get_by_test_id("escalation")).to_have_count(1)
    expect(page.get_by_test_id("waiting-count")).to_have_text("3")
    expect(page.get_by_test_id("cooldown")).to_have_count(now["cooldowns_total"])


def test_the_timeline_counts_what_the_trail_has_and_zooms(service: Autoheal, tabs: Tabs) -> None:
    page = on_screen(tabs.open("/console?range=24h"))
    expect(page.locator(".chart canvas")).to_be_visible()
    first = str(page.get_by_test_id("timeline-events").get_attribute("href"))
    since = int(parse_qs(first)["since"][0])
    healed = len(service.events(kind="verify_ok", since=since))
    expect(page.get_by_test_id("legend-healed")).to_contain_text(str(healed))
    box = page.locator(".chart .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(page.get_by_test_id("zoom-reset")).to_be_visible()
    expect(page.get_by_test_id("legend-healed")).not_to_contain_text(str(healed))
    page.get_by_test_id("zoom-reset").click()
    expect(page.get_by_test_id("legend-healed")).to_contain_text(str(healed))


def test_who_wants_no_motion_gets_none(tabs: Tabs) -> None:
    page = on_screen(tabs.open(reduced_motion="reduce"))
    page.get_by_test_id("mode-badge").click()
    expect(page.get_by_test_id("dialog-modes")).to_be_visible()
    assert page.evaluate(MOVING) == []


def test_the_chosen_colours_are_kept(service: Autoheal, tabs: Tabs) -> None:
    page = on_screen(tabs.open(color_scheme="light"))
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    button = page.get_by_test_id("theme")
    button.click()
    expect(button).to_have_attribute("data-theme-now", "light")
    button.click()
    expect(button).to_have_attribute("data-theme-now", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.reload()
    on_screen(page)
    expect(button).to_have_attribute("data-theme-now", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
