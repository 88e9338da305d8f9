"""The console's pictures: python -m tests.browser.shots [FOLDER], by default docs/images for the README.

`--all` takes every view at both widths in both schemes, `--full` the whole page instead of one screen of it.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, expect

from tests.acceptance.service import ROOT, Autoheal
from tests.browser.scene import scene
from tests.browser.tabs import Tabs, chromium, on_screen

SIZES = {"1440": (1440, 900), "360": (360, 740)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
IMAGES = {"console-light": ("now", "1440", "light"), "console-phone-dark": ("now", "360", "dark")}
LAG = "labels=%7B%22alertname%22%3A%22CacheReplicaLag%22%2C%22instance%22%3A%22redis-3%22%7D"
NOTES = "annotations=%7B%22autoheal%22%3A%22true%22%7D"


@dataclass(frozen=True)
class View:
    """An address, and what must be seen on it before it is looked at."""

    path: str
    shows: str
    opens: str = ""


def views(service: Autoheal) -> dict[str, View]:
    """The four that people see first, and the rest."""
    exhausted = service.remediations(state="exhausted")[0]["id"]
    held = service.remediations(state="held")[0]["id"]
    return {
        "now": View("/console", ".chart canvas"),
        "events": View("/console?view=events", "[data-testid=event]"),
        "remediation": View(f"/console?view=remediation&id={exhausted}", "[data-testid=step]"),
        "approval": View(f"/console?view=remediation&id={held}", "[data-testid=gates]", "verb-approve"),
        "remediations": View("/console?view=remediations&n=25", "[data-testid=rem-row]"),
        "rules": View("/console?view=rules", "[data-testid=rule]"),
        "ack": View(f"/console?view=ack&{LAG}", "[data-testid=ack-preview][data-ready=true]"),
        "explain": View(f"/console?view=explain&{LAG}&{NOTES}", "[data-testid=gates]"),
    }


def prepare(tabs: Tabs, view: View, size: str = "1440", scheme: str = "light") -> Page:
    """The view, ready to be looked at."""
    width, height = SIZES[size]
    page = on_screen(tabs.open(view.path, viewport={"width": width, "height": height}, color_scheme=scheme))
    expect(page.locator(view.shows).first).to_be_visible()
    if view.opens:
        page.get_by_test_id(view.opens).click()
        expect(page.get_by_role("dialog")).to_be_visible()
    return page


def main(argv: list[str]) -> None:
    names = [word for word in argv if not word.startswith("--")]
    folder = Path(names[0]) if names else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, scene(Path(place) / "scene") as service, chromium() as browser:
        tabs, known = Tabs(browser, service.url), views(service)
        wanted = IMAGES
        if "--all" in argv:
            wanted = {f"{n}-{size}-{scheme}": (n, size, scheme) for n in known for size in SIZES for scheme in SCHEMES}
        for image, (name, size, scheme) in wanted.items():
            page = prepare(tabs, known[name], size, scheme)
            page.screenshot(path=folder / f"{image}.png", full_page="--full" in argv)
            page.close()
        tabs.close()


if __name__ == "__main__":
    main(sys.argv[1:])
