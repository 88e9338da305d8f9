"""What people decide in the console, each behind a dialog and each in the trail: approve, reject, settle, the mode."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.acceptance.service import QUICK, Autoheal, alert, policy, rule
from tests.browser.conftest import Serve
from tests.browser.tabs import Tabs, on_screen

RUN = {"action": {"command": ["true"]}}
BY = {"cooldown_by": ["alertname", "instance"]}
LIVE, DRY, OFF = ({"enabled": True, "dry_run": False}, {"enabled": True, "dry_run": True}, {"enabled": False})


@pytest.fixture(scope="module")
def service(serve: Serve) -> Autoheal:
    """One remediation ended unknown: it was killed while its command ran."""
    breaks = rule("breaks", "Breaks", {"action": {"command": ["sleep", "5"]}, "timeout": "6s"}, **BY)
    asks = rule("asks", "Asks", RUN, approval={"timeout": "15m"}, **BY)
    started = serve(policy(breaks, asks, rule("quick", "Quick", RUN, **BY)), options=QUICK)
    started.send(alert("Breaks", instance="a"))
    started.await_event("action_started", alertname="Breaks")
    started.kill()
    started.start()
    started.await_event("escalated", alertname="Breaks")
    return started


@pytest.fixture
def posts(page: Page) -> list[str]:
    """The paths of every request of the page that is not a GET."""
    found: list[str] = []
    page.on("request", lambda sent: found.append(urlsplit(sent.url).path) if sent.method != "GET" else None)
    return found


def ask(service: Autoheal, page: Page, instance: str) -> tuple[str, Locator]:
    """An approval that waits: its id, and its row on the first screen."""
    [result] = service.send(alert("Asks", instance=instance))
    row = page.locator(f'[data-testid="approval"][data-id="{result["remediation_id"]}"]')
    expect(row).to_be_visible()
    return result["remediation_id"], row


def decide(page: Page, verb: str, note: str = "") -> None:
    dialog = page.get_by_test_id(f"dialog-{verb}")
    expect(dialog).to_be_visible()
    if note:
        dialog.get_by_test_id("verb-note").fill(note)
    dialog.get_by_test_id("dialog-confirm").click()
    expect(dialog).to_have_count(0)


def test_approve_with_a_note(service: Autoheal, page: Page) -> None:
    rid, row = ask(service, page, "yes")
    row.get_by_test_id("approve").click()
    expect(page.get_by_test_id("dialog-approve")).to_contain_text("true")
    decide(page, "approve", "looked at it")
    expect(row).to_have_count(0)
    approved = service.await_event("approved", remediation_id=rid)
    assert (approved["actor"], approved["note"]) == ("local", "looked at it")
    service.await_event("action_ok", remediation_id=rid)
    page.goto(f"{service.url}/console?view=remediation&id={rid}")
    expect(page.get_by_test_id("remediation")).to_have_attribute("data-state", "healed")
    expect(page.locator("ol[data-testid=own-events]")).to_contain_text("looked at it")


def test_reject_with_a_note(service: Autoheal, page: Page) -> None:
    rid, row = ask(service, page, "no")
    row.get_by_test_id("reject").click()
    decide(page, "reject", "not now")
    expect(row).to_have_count(0)
    rejected = service.await_event("rejected", remediation_id=rid)
    assert (rejected["actor"], rejected["note"]) == ("local", "not now")
    assert "action_started" not in [e["kind"] for e in service.events() if e.get("remediation_id") == rid]


def test_cancelled_dialogs_do_nothing(service: Autoheal, page: Page, posts: list[str]) -> None:
    rid, row = ask(service, page, "undecided")
    for verb in ("approve", "reject"):
        row.get_by_test_id(verb).click()
        page.get_by_test_id("dialog-cancel").click()
        row.get_by_test_id(verb).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
    assert posts == []
    assert service.get(f"/remediations/{rid}").json()["state"] == "held"


def test_somebody_else_was_faster(service: Autoheal, page: Page) -> None:
    """The open dialog says who decided, and nothing is left to click."""
    rid, row = ask(service, page, "raced")
    row.get_by_test_id("approve").click()
    expect(page.get_by_test_id("dialog-approve")).to_be_visible()
    assert service.post(f"/remediations/{rid}/reject", {"note": "first"}).status_code == 200
    dialog = page.get_by_test_id("dialog-approve")
    expect(dialog.get_by_role("alert")).to_contain_text("Rejected by local")
    expect(dialog.get_by_test_id("dialog-confirm")).to_have_attribute("aria-disabled", "true")
    assert service.get(f"/remediations/{rid}").json()["state"] == "rejected"


def test_settle_what_nobody_knows(service: Autoheal, page: Page) -> None:
    row = page.get_by_test_id("unknown").filter(has_text="Breaks")
    row.get_by_test_id("settle").click()
    dialog = page.get_by_test_id("dialog-settle")
    expect(dialog.get_by_test_id("dialog-confirm")).to_have_attribute("aria-disabled", "true")
    dialog.get_by_test_id("settle-healed").check()
    decide(page, "settle", "it answers again")
    expect(row).to_have_count(0)
    settled = service.await_event("settled", note="it answers again")
    assert (settled["actor"], settled["state"]) == ("local", "healed")


def test_mark_a_false_positive(service: Autoheal, tabs: Tabs) -> None:
    [result] = service.send(alert("Quick", instance="marked"))
    rid = result["remediation_id"]
    service.await_event("action_ok", remediation_id=rid)
    page = on_screen(tabs.open(f"/console?view=remediation&id={rid}"))
    page.get_by_test_id("verb-mark").click()
    decide(page, "mark", "a probe was slow")
    assert service.await_event("marked", remediation_id=rid)["note"] == "a probe was slow"
    expect(page.get_by_test_id("verb-mark")).to_have_count(0)


# ---- the mode -------------------------------------------------------------------------------------------------------


@pytest.fixture
def live_again(service: Autoheal) -> Any:
    yield
    assert service.post("/mode", LIVE).status_code == 200


def mode(service: Autoheal) -> tuple[bool, bool]:
    found = service.get("/mode").json()
    return found["enabled"], found["dry_run"]


def test_the_brake_asks_and_then_holds(service: Autoheal, page: Page, posts: list[str], live_again: None) -> None:
    page.get_by_test_id("brake").first.click()
    dialog = page.get_by_test_id("dialog-mode-dry")
    expect(dialog).to_contain_text("nothing more starts")
    page.get_by_test_id("dialog-cancel").click()
    expect(dialog).to_have_count(0)
    assert (mode(service), posts) == ((True, False), [])
    page.get_by_test_id("brake").first.click()
    page.get_by_test_id("dialog-confirm").click()
    expect(page.get_by_test_id("mode-banner")).to_have_attribute("data-mode", "dry")
    expect(page.get_by_test_id("mode-badge")).to_contain_text("DRY RUN")
    expect(page.get_by_test_id("brake")).to_have_count(0)
    assert (mode(service), posts) == ((True, True), ["/mode"])
    assert service.await_event("mode_changed", dry_run=True)["actor"] == "local"
    assert service.send(alert("Quick", instance="braked"))[0]["result"] == "dry_run"


def test_live_needs_a_second_yes(service: Autoheal, page: Page, posts: list[str], live_again: None) -> None:
    assert service.post("/mode", DRY).status_code == 200
    expect(page.get_by_test_id("mode-banner")).to_have_attribute("data-mode", "dry")
    page.get_by_test_id("mode-badge").click()
    page.get_by_test_id("choose-live").click()
    confirm = page.get_by_test_id("dialog-confirm")
    expect(confirm).to_have_attribute("aria-disabled", "true")
    confirm.click(force=True)
    expect(page.get_by_test_id("dialog-mode-live")).to_be_visible()
    assert (mode(service), posts) == ((True, True), [])
    page.get_by_test_id("mode-sure").check()
    confirm.click()
    expect(page.get_by_test_id("mode-banner")).to_have_attribute("data-mode", "live")
    assert (mode(service), posts) == ((True, False), ["/mode"])


def test_off_and_somebody_elses_switch_is_seen(service: Autoheal, page: Page, tabs: Tabs, live_again: None) -> None:
    other = on_screen(tabs.open())
    page.get_by_test_id("mode-change").click()
    page.get_by_test_id("choose-off").click()
    page.get_by_test_id("dialog-confirm").click()
    for one in (page, other):
        expect(one.get_by_test_id("mode-banner")).to_have_attribute("data-mode", "off")
    assert service.get("/mode").json()["enabled"] is False
