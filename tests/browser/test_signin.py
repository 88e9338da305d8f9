"""With AUTOHEAL_ADMIN_TOKEN the console asks for it, keeps it in the tab alone, and forgets it on request."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.service import Autoheal, alert, policy, rule
from tests.browser.conftest import Serve
from tests.browser.tabs import Tabs, on_screen

TOKEN = "correct-horse-battery-staple-7"
EVERYWHERE = """() => JSON.stringify([
  location.href, document.cookie, {...localStorage}, history.state, document.documentElement.outerHTML,
])"""


@pytest.fixture(scope="module")
def service(serve: Serve) -> Autoheal:
    asks = rule("asks", "Asks", {"action": {"command": ["true"]}}, approval={"timeout": "15m"})
    env = {"AUTOHEAL_ADMIN_TOKEN": TOKEN, "AUTOHEAL_WEBHOOK_TOKEN": "another-token-for-alerts-9"}
    started = serve(policy(asks), env)
    started.web.headers["Authorization"] = f"Bearer {TOKEN}"
    return started


@pytest.fixture
def door(tabs: Tabs) -> Page:
    """The form; Chromium notes each 401 as an error, and that is the server's answer to who is not signed in."""
    tabs.allow("status of 401")
    page = tabs.open("/console?view=events&kind=started")
    expect(page.get_by_test_id("signin")).to_have_attribute("data-status", "401")
    return page


def sign_in(page: Page, token: str) -> None:
    page.get_by_test_id("signin-token").fill(token)
    page.get_by_test_id("signin-submit").click()


def test_nothing_is_shown_before(door: Page, service: Autoheal) -> None:
    expect(door.get_by_test_id("nav-events")).to_have_count(0)
    expect(door.get_by_test_id("signin-token")).to_be_focused()
    expect(door.get_by_test_id("signin-token")).to_have_attribute("type", "password")
    assert "asks" not in door.content()


def test_a_wrong_token_is_said_so(door: Page) -> None:
    sign_in(door, "not-the-token")
    expect(door.get_by_test_id("signin-why")).to_be_visible()
    expect(door.get_by_test_id("nav-events")).to_have_count(0)


def test_the_right_token_opens_what_was_asked_for_and_works(door: Page, service: Autoheal) -> None:
    """The address is the one of the link; the stream and a decision go through with the token, too."""
    sign_in(door, TOKEN)
    on_screen(door)
    expect(door.get_by_test_id("event")).to_have_attribute("data-kind", "started")
    [result] = service.send(alert("Asks"))
    door.get_by_test_id("nav-now").click()
    door.get_by_test_id("approval").get_by_test_id("approve").click()
    door.get_by_test_id("dialog-confirm").click()
    assert service.await_event("approved")["remediation_id"] == result["remediation_id"]


def test_the_token_is_kept_in_this_tab_alone(door: Page, tabs: Tabs) -> None:
    sign_in(door, TOKEN)
    on_screen(door)
    assert TOKEN not in door.evaluate(EVERYWHERE)
    door.reload()
    on_screen(door)
    other = door.context.new_page()
    other.goto(door.url)
    expect(other.get_by_test_id("signin")).to_be_visible()


def test_signing_out_forgets_it(door: Page) -> None:
    sign_in(door, TOKEN)
    on_screen(door)
    door.get_by_test_id("sign-out").click()
    expect(door.get_by_test_id("signin")).to_be_visible()
    expect(door.get_by_test_id("event")).to_have_count(0)
    assert TOKEN not in door.evaluate("JSON.stringify({...sessionStorage})")
    door.reload()
    expect(door.get_by_test_id("signin")).to_be_visible()


def test_a_token_for_alerts_alone_does_not_open_it(door: Page, tabs: Tabs) -> None:
    tabs.allow("status of 403")
    sign_in(door, "another-token-for-alerts-9")
    expect(door.get_by_test_id("signin-why")).to_be_visible()
    expect(door.get_by_test_id("nav-events")).to_have_count(0)
