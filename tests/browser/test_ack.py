"""Acknowledging: what would be hidden is shown first, looking changes nothing, one human click makes one silence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.service import Autoheal, policy, rule
from tests.browser.conftest import Serve
from tests.browser.tabs import Tabs, on_screen
from tests.servers import Alertmanager, alertmanager, wait_until

NOWHERE = "http://127.0.0.1:9/alert"


@pytest.fixture(scope="module")
def neighbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """An Alertmanager in which four alerts fire."""
    with alertmanager(tmp_path_factory.mktemp("alertmanager"), NOWHERE) as running:
        for name, instance in (("Latency", "a"), ("Latency", "b"), ("Latency", "c"), ("Disk", "a")):
            running.fire(alertname=name, instance=instance, team="shop")
        wait_until(lambda: len(running.alerts()) == 4, 10, "four alerts")
        yield running


@pytest.fixture(scope="module")
def service(serve: Serve, neighbour: Alertmanager) -> Autoheal:
    quick = rule("quick", "Quick", {"action": {"command": ["true"]}})
    return serve(policy(quick), {"ALERTMANAGER_URL": neighbour.url})


def made(neighbour: Alertmanager) -> list[dict[str, str]]:
    """The labels of each silence that is in force."""
    active = [one for one in neighbour.silences() if one["status"]["state"] == "active"]
    return [{matcher["name"]: matcher["value"] for matcher in one["matchers"]} for one in active]


def link(**labels: str) -> str:
    return f"/console?view=ack&labels={quote(json.dumps(labels))}"


@pytest.fixture
def form(tabs: Tabs) -> Page:
    """The form, with labels out of its address and the answer to what they would hide."""
    page = on_screen(tabs.open(link(alertname="Latency", instance="b")))
    expect(page.get_by_test_id("ack-preview")).to_have_attribute("data-ready", "true")
    return page


def test_the_preview_lists_what_would_be_hidden_and_changes_nothing(form: Page, neighbour: Alertmanager) -> None:
    preview = form.get_by_test_id("ack-preview")
    expect(preview).to_contain_text("1 alert")
    expect(preview.get_by_role("list").first).to_contain_text("shop")
    form.get_by_label("Use label instance").uncheck()
    expect(preview).to_contain_text("3 alerts")
    for instance in "abc":
        expect(preview.get_by_text(instance, exact=True)).to_be_visible()
    assert made(neighbour) == []


def test_one_click_makes_one_silence(form: Page, service: Autoheal, neighbour: Alertmanager) -> None:
    form.get_by_test_id("ack-30m").click()
    form.get_by_test_id("ack-comment").fill("on it")
    expect(form.get_by_test_id("ack-preview")).to_have_attribute("data-ready", "true")
    form.get_by_test_id("ack-submit").dblclick()
    expect(form.get_by_test_id("ack-row")).to_contain_text("on it")
    expect(form.get_by_test_id("ack-submit")).to_have_attribute("aria-disabled", "true")
    assert made(neighbour) == [{"alertname": "Latency", "instance": "b"}]
    [event] = service.events(kind="ack")
    assert (event["actor"], event["duration"], event["comment"]) == ("local", "30m", "on it")


def test_an_acknowledgement_is_ended_behind_a_dialog(tabs: Tabs, service: Autoheal, neighbour: Alertmanager) -> None:
    """On the first screen, too, it stands until it ends."""
    page = on_screen(tabs.open())
    row = page.get_by_test_id("acks").get_by_test_id("ack-row")
    expect(row).to_contain_text("Latency")
    row.get_by_test_id("ack-end").click()
    page.get_by_test_id("dialog-cancel").click()
    assert len(made(neighbour)) == 1
    row.get_by_test_id("ack-end").click()
    page.get_by_test_id("dialog-confirm").click()
    expect(row).to_have_count(0)
    assert made(neighbour) == []
    assert service.await_event("ack_ended")["actor"] == "local"


def test_a_link_out_of_a_message_shows_and_asks_for_one_click(
    tabs: Tabs, service: Autoheal, neighbour: Alertmanager
) -> None:
    labels = quote(json.dumps({"alertname": "Disk", "instance": "a"}))
    before = len(service.events(kind="ack"))
    page = tabs.open(f"/ack?labels={labels}&duration=2h")
    expect(page.get_by_text("Nothing has been changed yet")).to_be_visible()
    expect(page.locator("li")).to_contain_text('alertname="Disk", instance="a", team="shop"')
    assert (made(neighbour), len(service.events(kind="ack"))) == ([], before)
    page.get_by_role("button").click()
    expect(page.locator("h1")).not_to_contain_text("?")
    assert made(neighbour) == [{"alertname": "Disk", "instance": "a"}]
    assert len(service.events(kind="ack")) == before + 1


def test_labels_that_nothing_has_are_said_so(tabs: Tabs, neighbour: Alertmanager) -> None:
    page = on_screen(tabs.open("/console?view=ack"))
    expect(page.get_by_test_id("ack-submit")).to_have_attribute("aria-disabled", "true")
    page.get_by_test_id("ack-value-0").fill("Nobodys")
    expect(page.get_by_test_id("ack-preview")).to_contain_text("No alert that fires now has these labels")
    page.get_by_test_id("ack-other").click()
    page.get_by_test_id("ack-duration").fill("8d")
    expect(page.get_by_test_id("ack-submit")).to_have_attribute("aria-disabled", "true")
