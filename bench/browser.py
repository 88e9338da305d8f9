"""From the POST of an alert until a person can see it: the console in a real Chromium, beside a page that is bare."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

from bench.rig import Server, autoheal, console, free_port, have, percentile, server, table
from tests.browser.tabs import chromium

GOAL = 250
"""Milliseconds within which 95 of 100 alerts are on the screen."""
POLICY = """
version: 1
rules:
  - {name: bench, match: ['alertname="BenchDown"'], steps: [{action: {command: ["true"]}}]}
"""
WATCH = """() => {
  window.seen = {};
  const name = /bench-\\d+-end/g;
  const look = () => requestAnimationFrame(() => {
    for (const [one] of document.body.innerText.matchAll(name)) window.seen[one] ??= Date.now();
  });
  new MutationObserver(look).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""
"""Notes when a name is first in what the page shows, in the frame in which it is painted. The clock is the machine's,
which the browser rounds to whole milliseconds."""
BARE = """() => {
  const source = new EventSource("/events");
  const append = (event) => document.body.append(event.data.match(/bench-\\d+-end/)?.[0] ?? "", "\\n");
  source.addEventListener("decision_skip", append);
  return new Promise((done) => { source.onopen = done; });
}"""


@dataclass(frozen=True)
class Seen:
    """Milliseconds: from before the POST until the name is on the screen, and until the POST is answered."""

    shown: list[float]
    answered: list[float]
    missing: int


def _post(one: Server, page: Page, alerts: int, per_second: float) -> Seen:
    """Deliver one alert after the other at a steady rate; each has a name of its own."""
    page.evaluate(WATCH)
    link = http.client.HTTPConnection(one.url.removeprefix("http://"))
    sent: dict[str, float] = {}
    answered: list[float] = []
    began = time.monotonic() + 0.5
    for number in range(alerts):
        while (left := began + number / per_second - time.monotonic()) > 0:
            time.sleep(left)
        name = f"bench-{number}-end"
        labels = {"alertname": "BenchSeen", "instance": name}
        body = json.dumps({"alerts": [{"status": "firing", "labels": labels}]})
        sent[name] = time.time() * 1000
        link.request("POST", "/alert", body, {"Content-Type": "application/json"})
        link.getresponse().read()
        answered.append(time.time() * 1000 - sent[name])
    page.wait_for_timeout(1500)
    seen: dict[str, float] = page.evaluate("() => window.seen")
    shown = [seen[name] - at for name, at in sent.items() if name in seen]
    return Seen(shown, answered, alerts - len(shown))


@contextmanager
def _page(address: str) -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        yield page


def main(folder: Path, alerts: int = 200, per_second: float = 20) -> None:
    if not have("chromium"):
        return
    rows = []
    with autoheal(folder / "browser", POLICY) as ours, _page(f"{ours.url}/console?view=events") as page:
        page.locator('[data-testid="connection"][data-phase="live"]').wait_for()
        rows.append(("the console's list of events", _post(ours, page, alerts, per_second)))
    with autoheal(folder / "bare", POLICY) as ours, _page(f"{ours.url}/healthz") as page:
        page.evaluate(BARE)
        rows.append(("a bare page on the same stream", _post(ours, page, alerts, per_second)))
    port = free_port()
    argv = [sys.executable, "-m", "bench.plain_sse", str(port)]
    with server(argv, port, "/readyz") as plain, _page(f"{plain.url}/readyz") as page:
        page.evaluate(BARE)
        rows.append(("a bare page on a plain Starlette loop", _post(plain, page, alerts, per_second)))
    _show(rows, alerts, per_second)


def _show(rows: list[tuple[str, Seen]], alerts: int, per_second: float) -> None:
    title = f"{alerts} alerts at {per_second:g}/s: ms from the POST until it is on the screen"
    shown = table(title, "", "p50", "p95", "p99", "p95 / last row", "POST p50", "POST p95", "missing")
    base = percentile(rows[-1][1].shown, 0.95)
    for name, seen in rows:
        p50, p95, p99 = (percentile(seen.shown, share) for share in (0.5, 0.95, 0.99))
        posts = (percentile(seen.answered, share) for share in (0.5, 0.95))
        figures = (f"{p50:.0f}", f"{p95:.0f}", f"{p99:.0f}", f"{p95 / base:.2f}", *(f"{post:.1f}" for post in posts))
        shown.add_row(name, *figures, str(seen.missing))
    console.print(shown)
    p95 = percentile(rows[0][1].shown, 0.95)
    console.print(f"goal: p95 < {GOAL} ms: {'met' if p95 < GOAL and not rows[0][1].missing else 'MISSED'}\n")
