"""What the browser tests share: the built console, one Chromium for a module, pages under watch, a served policy."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, Page

from tests.acceptance.service import ROOT, Autoheal
from tests.browser.tabs import Tabs, chromium, on_screen
from tests.needs import missing

BUILT = ROOT / "src" / "autoheal" / "remediator" / "static" / "console" / "index.html"
Serve: TypeAlias = Callable[..., Autoheal]


@pytest.fixture(scope="session", autouse=True)
def console_built() -> None:
    """The console as its source is now; test processes that run beside each other take turns."""
    with (Path(tempfile.gettempdir()) / "autoheal-console-build.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        argv = [sys.executable, str(ROOT / "scripts" / "console"), "build"]
        built = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    if built.returncode:
        pytest.fail(f"the console cannot be built\n{built.stdout[-2000:]}{built.stderr[-2000:]}", pytrace=False)
    if not BUILT.is_file():
        missing("the console is not built here (NO_CONSOLE)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one module, not for the session: Playwright's loop is in the way of asynchronous tests."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts an Autoheal that lasts as long as the module."""
    started: list[Autoheal] = []

    def start(policy: Mapping[str, Any], env: Mapping[str, str] | None = None, options: Any = None) -> Autoheal:
        service = Autoheal(tmp_path_factory.mktemp("autoheal"), policy, env=env, options=options)
        started.append(service)
        service.start()
        return service

    yield start
    for service in started:
        service.__exit__()


@pytest.fixture
def tabs(browser: Browser, service: Autoheal) -> Iterator[Tabs]:
    """Pages of the module's `service`; the test fails with what went wrong in any of them."""
    opened = Tabs(browser, service.url)
    yield opened
    opened.close()


@pytest.fixture
def page(tabs: Tabs) -> Page:
    """The first screen, live."""
    return on_screen(tabs.open())
