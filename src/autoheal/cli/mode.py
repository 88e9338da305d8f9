"""`autoheal mode`: show or set what Autoheal may do; `dry-run` is the emergency brake."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any

import typer

from autoheal.cli import render
from autoheal.cli.client import Json, Token, Url, connect
from autoheal.cli.event_rows import mode_name
from autoheal.cli.exits import NO


class Mode(StrEnum):
    live = "live"
    dry_run = "dry-run"
    off = "off"


BODIES = {
    Mode.live: {"enabled": True, "dry_run": False},
    Mode.dry_run: {"enabled": True, "dry_run": True},
    Mode.off: {"enabled": False, "dry_run": False},
}
_STYLES = {"live": "bold green", "dry run": "bold cyan", "off": "bold red"}
_MEANS = {
    "live": "decides, acts and verifies",
    "dry run": "decides and records, and starts nothing; what runs already, ends by itself",
    "off": "decides nothing: every alert is skipped; what runs already, ends by itself",
}


def mode(
    wanted: Annotated[Mode | None, typer.Argument(metavar="[live|dry-run|off]", help="Without: show it.")] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Show the mode, or set it. `autoheal mode dry-run` is the brake: after its answer nothing starts any more.

    Exit code 1 where a process did not confirm the new mode.
    """
    with connect(url, token) as client:
        found = client.get("/mode") if wanted is None else client.post("/mode", BODIES[wanted])
    if as_json:
        render.as_json(found)
    else:
        show(found, time.time())
    if wanted is not None and found.get("unconfirmed"):
        raise typer.Exit(NO)


def show(found: dict[str, Any], now: float) -> None:
    name = mode_name(found)
    by = f"by {found['by']}" if found.get("by") else ""
    source = f"({found['source']})" if found.get("source") else ""
    since = f"since {render.when_and_age(found['since'], now)}" if found.get("since") else ""
    render.say(render.text(name, _STYLES[name]), since, by, source)
    render.say(render.text(_MEANS[name], "dim"))
    if found.get("unconfirmed"):
        which = ", ".join(found["unconfirmed"])
        text = f"not confirmed by {which}: frozen or cut off, it may still begin what it had leave for seconds ago"
        render.say(render.text(text, "bold yellow"))
