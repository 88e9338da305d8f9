"""What every view must be: without a serious finding of axe-core, and no wider than the screen."""

from __future__ import annotations

from functools import cache
from typing import Any

from playwright.sync_api import Page

from tests.acceptance.service import ROOT
from tests.needs import missing
from tests.servers import wait_until

AXE = ROOT / "console" / "node_modules" / "axe-core" / "axe.min.js"
RUN = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  const where = (node) => `${node.target.join(" ")}: ${node.failureSummary}`;
  return found.violations.map((one) => [one.impact, one.id, one.nodes.map(where)]);
}"""
OVERFLOWS = """() => {
  const page = document.documentElement;
  if (page.scrollWidth <= page.clientWidth) return [];
  return [...document.body.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().right > page.clientWidth + 1)
    .slice(-5).map((e) => `${e.tagName}.${e.className} ends at ${e.getBoundingClientRect().right}`);
}"""

FRAMES = """async () => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  for (let left = 3; left > 0 || document.getAnimations().some((one) => one.playState === "running"); left -= 1) {
    await frame();
  }
}"""


@cache
def _axe() -> str:
    if not AXE.is_file():
        missing("axe-core is not installed (scripts/console test)")
    return AXE.read_text()


def is_accessible(page: Page) -> None:
    """No critical and no serious finding. The script comes in by the debugger, for which the page's policy (no
    script but its own) does not count; so the policy stays in force."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(_axe())
    found: list[Any] = page.evaluate(RUN)
    assert not [one for one in found if one[0] in ("critical", "serious")], found


def fits(page: Page) -> None:
    """Nobody has to scroll sideways, once all has taken the size of the screen."""
    wait_until(lambda: not page.evaluate(OVERFLOWS), 5, f"{page.url} as wide as the screen; {page.evaluate(OVERFLOWS)}")


def settles(page: Page) -> None:
    """What measures itself has done so, and colours are what they became: that takes some frames."""
    page.evaluate(FRAMES)
