"""`autoheal open`: which addresses, who answers, and when a browser is asked."""

from __future__ import annotations

import json
import webbrowser
from typing import Any

import pytest

from autoheal.cli.open import has_browser
from tests.unit.cli.played import refusing
from tests.unit.cli.stage import Stage, run

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a browser was asked to show; there is one."""
    found: list[str] = []
    monkeypatch.setenv("BROWSER", "firefox")
    monkeypatch.setattr(webbrowser, "open", lambda url: found.append(url) is None)
    return found


@pytest.fixture
def well(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    for name in ("GRAFANA_URL", "PROMETHEUS_URL", "ALERTMANAGER_URL"):
        monkeypatch.setenv(name, stage.url)
    for path in ("/", "/console", "/d/autoheal", "/metrics", "/audit"):
        stage.routes[f"GET {path}"] = {}
    return stage


def pages(stage: Stage, *args: str) -> dict[str, Any]:
    done = stage.run("open", "--json", *args)
    return {one["name"]: one for one in json.loads(done.stdout)["pages"]}


def test_the_four_that_people_look_at_are_opened(well: Stage, opened: list[str]) -> None:
    assert well.run("open").exit_code == 0
    assert opened == [f"{well.url}{path}" for path in ("/console", "/d/autoheal", "", "")]


def test_what_is_named_is_opened_once(well: Stage, opened: list[str]) -> None:
    assert well.run("open", "metrics", "audit", "metrics", "status").exit_code == 0
    assert opened == [f"{well.url}/metrics", f"{well.url}/audit", f"{well.url}/"]


def test_print_opens_nothing(well: Stage, opened: list[str]) -> None:
    done = well.run("open", "--print")
    assert done.exit_code == 0 and opened == [] and f"{well.url}/d/autoheal" in done.stdout


def test_without_a_display_the_addresses_are_printed(well: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail("there is no browser"))
    done = well.run("open")
    assert done.exit_code == 0 and f"{well.url}/console" in done.stdout and "no browser here" in done.stderr


@pytest.mark.parametrize(
    ("environ", "platform", "has"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "darwin", True),
        ({}, "win32", True),
    ],
)
def test_where_there_is_a_browser(environ: dict[str, str], platform: str, has: bool) -> None:
    assert has_browser(environ, platform) is has


def test_what_does_not_answer_is_told_and_not_opened(
    well: Stage, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFANA_URL", NOBODY)
    done = well.run("open")
    assert done.exit_code == 0, "it was not asked for by name"
    assert "no answer" in done.stdout and len(opened) == 3
    assert well.run("open", "grafana").exit_code == 3
    grafana = pages(well, "grafana")["grafana"]
    assert grafana["url"] == f"{NOBODY}/d/autoheal" and not grafana["answers"] and not grafana["opened"]


@pytest.mark.parametrize(
    ("route", "status", "name", "said"),
    [
        ("GET /console", 401, "console", "sign in"),
        ("GET /console", 503, "console", "was not built"),
        ("GET /d/autoheal", 404, "grafana", "lacks the dashboard"),
        ("GET /", 404, "prometheus", "not at this path"),
        ("GET /", 502, "prometheus", "502"),
    ],
)
def test_what_an_answer_means(well: Stage, route: str, status: int, name: str, said: str) -> None:
    well.routes[route] = refusing(status)
    assert said in pages(well, name, "--print")[name]["answer"]


def test_an_option_wins_and_a_pair_has_two(well: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERTMANAGER_URL", f"{well.url}/a,{well.url}/b")
    done = well.run("open", "alertmanager", "--json", "--print")
    assert [one["url"] for one in json.loads(done.stdout)["pages"]] == [f"{well.url}/a", f"{well.url}/b"]
    assert pages(well, "alertmanager", "--alertmanager", f"{well.url}/c")["alertmanager"]["url"] == f"{well.url}/c"


def test_wrong_use_and_nobody_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("open", "consol").exit_code == 2
    done = run("open", "--grafana", "localhost")
    assert done.exit_code == 2 and "--grafana" in done.stderr
    for name in ("GRAFANA_URL", "PROMETHEUS_URL", "ALERTMANAGER_URL"):
        monkeypatch.setenv(name, NOBODY)
    assert run("open", "--url", NOBODY).exit_code == 3
