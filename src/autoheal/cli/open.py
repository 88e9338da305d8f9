"""`autoheal open`: the interfaces of an installation, in the browser, or their addresses where there is none."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Annotated

import typer

from autoheal.cli import render
from autoheal.cli.client import Json, Url, where
from autoheal.cli.exits import OUT_OF_REACH

TIMEOUT = 3.0
"""Seconds for each to answer."""


class Interface(StrEnum):
    console = "console"
    grafana = "grafana"
    prometheus = "prometheus"
    alertmanager = "alertmanager"
    status = "status"
    metrics = "metrics"
    audit = "audit"


FIRST = (Interface.console, Interface.grafana, Interface.prometheus, Interface.alertmanager)
"""What is opened where nobody says what."""
OURS = {Interface.console: "/console", Interface.status: "/", Interface.metrics: "/metrics", Interface.audit: "/audit"}
DEFAULTS = {
    Interface.grafana: ("GRAFANA_URL", "http://localhost:3000", "/d/autoheal"),
    Interface.prometheus: ("PROMETHEUS_URL", "http://localhost:9090", ""),
    Interface.alertmanager: ("ALERTMANAGER_URL", "http://localhost:9093", ""),
}


@dataclass(frozen=True, slots=True)
class Page:
    """`answer`: what came of asking. `answers`: whether somebody is there. `opened`: a browser has it."""

    name: str
    url: str
    answer: str = ""
    answers: bool = False
    opened: bool = False


def open_(
    names: Annotated[
        list[Interface] | None,
        typer.Argument(metavar="NAME...", help="Without: console, grafana, prometheus, alertmanager."),
    ] = None,
    print_only: Annotated[bool, typer.Option("--print", help="Print the addresses, open nothing.")] = False,
    grafana: Annotated[
        str | None, typer.Option("--grafana", metavar="URL", help="Default: GRAFANA_URL, else http://localhost:3000.")
    ] = None,
    prometheus: Annotated[
        str | None, typer.Option("--prometheus", metavar="URL", help="Default: PROMETHEUS_URL, else port 9090 here.")
    ] = None,
    alertmanager: Annotated[
        str | None,
        typer.Option("--alertmanager", metavar="URL", help="Default: ALERTMANAGER_URL, else port 9093 here."),
    ] = None,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Open the console and its neighbours in the browser, those that answer. Exit code 3 if one that you name does not.

    Without a browser, or with --print, the addresses are printed.

    Example: autoheal open console grafana
    """
    given = {Interface.grafana: grafana, Interface.prometheus: prometheus, Interface.alertmanager: alertmanager}
    pages = asyncio.run(_look(addresses(names or FIRST, where(url, os.environ), given, os.environ)))
    can = not print_only and has_browser(os.environ, sys.platform)
    if can:
        pages = [replace(page, opened=page.answers and _opened(page.url)) for page in pages]
    if as_json:
        render.as_json({"pages": [asdict(page) for page in pages]})
    else:
        show(pages)
        if not can and not print_only:
            render.note("there is no browser here; open these where you have one")
    away = [page for page in pages if not page.answers]
    if away and (names or len(away) == len(pages)):
        raise typer.Exit(OUT_OF_REACH)


def addresses(
    names: Sequence[Interface], base: str, given: Mapping[Interface, str | None], environ: Mapping[str, str]
) -> list[Page]:
    """Each name once, with its address; an Alertmanager pair has two."""
    found = []
    for name in dict.fromkeys(names):
        roots = (base,) if name in OURS else _neighbour(name, given.get(name), environ)
        path = OURS[name] if name in OURS else DEFAULTS[name][2]
        found += [Page(str(name), root + path) for root in roots]
    return found


def _neighbour(name: Interface, given: str | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    from autoheal.config import variables
    from autoheal.core.errors import Invalid

    variable, default, _ = DEFAULTS[name]
    for source, text in ((f"--{name}", given), (variable, environ.get(variable, "").strip()), ("", default)):
        if text:
            try:
                return variables.urls(text)
            except Invalid as error:
                raise Invalid(error.detail, source) from None
    raise AssertionError("there is always the default")


# ---- who answers ------------------------------------------------------------------------------------------------


async def _look(pages: Sequence[Page]) -> list[Page]:
    return list(await asyncio.gather(*(_asked(page) for page in pages)))


async def _asked(page: Page) -> Page:
    from autoheal.clients.exchange import client, exchange
    from autoheal.core.errors import AutohealError

    web = client(keep=False)
    try:
        reply = await exchange(web, "GET", page.url, timeout=TIMEOUT, limit=1)
    except AutohealError:
        return replace(page, answer="no answer")
    finally:
        await web.aclose()
    return replace(page, answer=_meaning(page.name, reply.status), answers=True)


def _meaning(name: str, status: int) -> str:
    if status in (401, 403):
        return "answers, and asks you to sign in"
    if status == 404:
        return "answers, but not at this path" if name != Interface.grafana else "answers, but lacks the dashboard"
    if name == Interface.console and status == 503:
        return "answers, but its console was not built"
    return "answers" if status < 500 else f"answers {status}"


# ---- the browser ------------------------------------------------------------------------------------------------


def has_browser(environ: Mapping[str, str], platform: str) -> bool:
    """Whether a window can come up; a text browser, which would take the terminal, does not count."""
    if platform.startswith(("win", "darwin")):
        return True
    return any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _opened(url: str) -> bool:
    import webbrowser

    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False


def show(pages: Sequence[Page]) -> None:
    rows = [
        (
            render.text(page.name, "bold"),
            page.url,
            render.text(page.answer + (", opened" if page.opened else ""), "green" if page.answers else "red"),
        )
        for page in pages
    ]
    render.table(("NAME", "ADDRESS", ""), rows)
