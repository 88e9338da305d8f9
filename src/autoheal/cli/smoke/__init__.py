"""`autoheal smoke`: does a running installation do what it promises, tried without touching anything real."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from autoheal.cli import render
from autoheal.cli.client import Json, Token, Url, connect, proof
from autoheal.cli.exits import NO
from autoheal.cli.finding import Finding

Parse = Callable[[str], tuple[str, ...]]

STYLES = {"ok": "bold green", "bad": "bold red", "skip": "yellow"}


def smoke(
    prometheus: Annotated[
        str | None, typer.Option("--prometheus", metavar="URL", help="Default: PROMETHEUS_URL; without, skipped.")
    ] = None,
    alertmanager: Annotated[
        str | None,
        typer.Option(
            "--alertmanager", metavar="URL", help="Look for the silence there too. Default: ALERTMANAGER_URL."
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.5, max=300, metavar="SECONDS", help="For what must arrive.")
    ] = 10.0,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Try a running Autoheal and its neighbours, harmlessly: nothing is ever acted on, whatever the mode.

    It sends an alert that no rule can match, makes a silence that no alert can match and ends it again; both are in
    the trail as AutohealSmokeTest. Exit code 0: nothing is red. 1: something is. 3: there is no Autoheal.

    Example: autoheal smoke --url http://localhost:9009 --prometheus http://localhost:9090
    """
    from autoheal.cli.smoke.run import Run

    neighbours = _alertmanagers(alertmanager), _prometheus(prometheus)
    with connect(url, token) as client, connect(url, _for_alerts(token)) as door:
        found = Run(client, door, *neighbours, timeout).everything()
    if as_json:
        render.as_json(as_dict(found))
    else:
        show(found)
    if any(one.state == "bad" for one in found):
        raise typer.Exit(NO)


def _for_alerts(token: str | None) -> str | None:
    """What opens /alert: the admin token does, too; a service on loopback may have the webhook's alone."""
    from autoheal.config.secrets import secret_text

    return proof(token, os.environ) or secret_text("AUTOHEAL_WEBHOOK_TOKEN", os.environ)


def _alertmanagers(given: str | None) -> tuple[str, ...]:
    from autoheal.config import variables

    return _read("--alertmanager", given, "ALERTMANAGER_URL", variables.urls) or ()


def _prometheus(given: str | None) -> str | None:
    from autoheal.config import variables

    found = _read("--prometheus", given, "PROMETHEUS_URL", lambda text: (variables.url(text),))
    return found[0] if found else None


def _read(option: str, given: str | None, name: str, parse: Parse) -> tuple[str, ...] | None:
    from autoheal.core.errors import Invalid

    for source, text in ((option, given), (name, os.environ.get(name, "").strip())):
        if text:
            try:
                return parse(text)
            except Invalid as error:
                raise Invalid(error.detail, source) from None
    return None


def as_dict(found: Sequence[Finding]) -> dict[str, object]:
    counts = {word: sum(one.state == state for one in found) for state, word in _WORDS.items()}
    checks = [{"check": f.check, "state": _WORDS[f.state], "detail": f.detail, "fix": f.fix} for f in found]
    return {"ok": not counts["red"], **counts, "checks": checks}


_WORDS = {"ok": "green", "bad": "red", "skip": "skipped"}


def show(found: Sequence[Finding]) -> None:
    rows = [
        (
            render.text("green" if one.state == "ok" else _WORDS[one.state], STYLES[one.state]),
            render.text(one.check, "bold"),
            render.joined([one.detail, render.text(f"-> {one.fix}" if one.fix else "", "yellow")]),
        )
        for one in found
    ]
    render.table(("", "CHECK", "FOUND"), rows)
    counts = as_dict(found)
    skipped = f", {counts['skipped']} skipped (not looked at, so not well either)" if counts["skipped"] else ""
    style = "bold red" if counts["red"] else "bold green"
    render.say(render.text(f"{counts['green']} green, {counts['red']} red{skipped}", style))
