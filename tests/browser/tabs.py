"""Pages of a real Chromium under watch: an error, a breach of the page's policy or a request elsewhere fails a test."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.needs import needs, needs_module

QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
)
PATIENCE = 10_000
"""Milliseconds that something may take to show up."""
UNREACHABLE = r"net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|ABORTED)"
"""What Chromium itself writes to the console while the server is down."""

_REPORT = """
document.addEventListener("securitypolicyviolation", (e) =>
  console.error(`policy violated: ${e.violatedDirective} ${e.blockedURI}`));
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, driven by Playwright. While it is open this thread has a running loop: open it late."""
    needs_module("playwright")
    binary = needs("chromium")
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=[*QUIET, *root])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Tabs:
    """Opens pages, each in a context of its own, and remembers all that went wrong in them."""

    browser: Browser
    origin: str
    wrong: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    _open: list[BrowserContext] = field(default_factory=list)

    def open(self, path: str = "/console", **options: Any) -> Page:
        """A page in a context of its own: nothing is shared with the others but the server."""
        page = self.blank(**options)
        page.goto(self.origin + path)
        return page

    def blank(self, **options: Any) -> Page:
        """A page that has not gone anywhere yet."""
        given = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | options
        context = self.browser.new_context(**given)
        self._open.append(context)
        context.set_default_timeout(PATIENCE)
        context.add_init_script(_REPORT)
        context.on("request", self._requested)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.wrong.append(f"page error: {error.error}"))
        return context.new_page()

    def _requested(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme != "data" and f"{url.scheme}://{url.netloc}" != self.origin:
            self.wrong.append(f"a request leaves the server: {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"console {message.type}: {message.text} ({message.location.get('url', '')[:200]})")

    def allow(self, pattern: str) -> None:
        """What a test brings about on purpose, as a regular expression."""
        self.allowed.append(pattern)

    def close(self) -> None:
        """Close all pages; AssertionError with what went wrong in any of them."""
        for context in self._open:
            context.close()
        unforeseen = [text for text in self.wrong if not any(re.search(pattern, text) for pattern in self.allowed)]
        assert not unforeseen, "\n".join(unforeseen)


def on_screen(page: Page) -> Page:
    """Wait until the page has its data and is live."""
    expect(page.get_by_test_id("connection")).to_have_attribute("data-phase", "live")
    expect(page.get_by_test_id("main").locator("h1").first).to_be_attached()
    return page


def wait_for(page: Page, script: str, what: Any = None) -> None:
    """Wait until a JavaScript expression about the page is true. Polled from here: the page's policy forbids eval."""
    end = PATIENCE / 50
    while not page.evaluate(script, what):
        end -= 1
        assert end > 0, f"did not come: {script}"
        page.wait_for_timeout(50)
