"""`autoheal doctor`: is everything as it must be, and what to do where it is not."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from autoheal.cli import render
from autoheal.cli.client import Json, Token, Url, connect
from autoheal.cli.exits import NO

_STYLES = {"ok": "bold green", "bad": "bold red", "off": "dim"}


def doctor(
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Default: AUTOHEAL_DATA_DIR.")
    ] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Look at settings, policy, disk, trail, Autoheal, Alertmanager, Prometheus, Slack and clocks; change nothing.

    Exit code 1 if one is red. `autoheal smoke` tries what this only looks at.
    """
    from autoheal.cli.checks import examine

    findings = examine(os.environ, data_dir, lambda: connect(url, token))
    red = [finding for finding in findings if finding.state == "bad"]
    if as_json:
        render.as_json({"ok": not red, "checks": [asdict(finding) for finding in findings]})
    else:
        rows = [
            (
                render.text(finding.state, _STYLES[finding.state]),
                render.text(finding.check, "bold"),
                render.joined([finding.detail, render.text(f"-> {finding.fix}" if finding.fix else "", "yellow")]),
            )
            for finding in findings
        ]
        render.table(("", "CHECK", "FOUND"), rows)
        told = f"{len(red)} of {len(findings)} need you" if red else "all is well"
        render.say(render.text(told, "bold red" if red else "bold green"))
    if red:
        raise typer.Exit(NO)
