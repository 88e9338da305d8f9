"""`autoheal provision`: the monitoring stack's files, tokens and a first policy, written so that nothing is lost."""

from __future__ import annotations

import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from autoheal.cli import render
from autoheal.cli.client import Json
from autoheal.cli.exits import NO


def _folder(text: str | Path) -> Path:
    """An empty one, such as from a variable that is not set, would be the current folder."""
    if not str(text).strip():
        raise typer.BadParameter("it is empty; the current folder is .")
    return Path(text)


class Part(StrEnum):
    rules = "rules"
    dashboards = "dashboards"
    receiver = "receiver"
    tokens = "tokens"
    slack = "slack"


def provision(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Where to; made where missing.", parser=_folder),
    ] = Path("monitoring"),
    only: Annotated[
        list[Part] | None,
        typer.Option(
            "--only", metavar="PART", help="rules, dashboards, receiver, tokens or slack: for a stack of your own."
        ),
    ] = None,
    public_url: Annotated[
        str | None, typer.Option("--public-url", metavar="URL", help="Where people open Autoheal.")
    ] = None,
    grafana_url: Annotated[
        str | None, typer.Option("--grafana-url", metavar="URL", help="Where they open Grafana.")
    ] = None,
    prometheus_url: Annotated[str | None, typer.Option("--prometheus-url", metavar="URL", help="Prometheus.")] = None,
    alertmanager_url: Annotated[
        str | None, typer.Option("--alertmanager-url", metavar="URL", help="Alertmanager.")
    ] = None,
    image: Annotated[str | None, typer.Option("--image", metavar="IMAGE", help="Autoheal's image.")] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Only show what would change; exit code 1 if anything differs.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take ours where you changed a file; yours stays beside it as a .bak.")
    ] = False,
    start: Annotated[bool, typer.Option("--start", help="Then start it with `docker compose up`.")] = False,
    production: Annotated[bool, typer.Option("--prod", help="Start with docker-compose.prod.yml too.")] = False,
    reload: Annotated[
        bool,
        typer.Option(
            "--reload",
            help="Then have Prometheus and Alertmanager of your own read it; their URLs then do not go into .env.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the stack (compose files, Prometheus, Alertmanager, Grafana), tokens and a first policy into DIR.

    A second run changes nothing: what you have changed, tokens and .env are kept. Slack's webhook is taken from
    SLACK_WEBHOOK_URL or SLACK_WEBHOOK_URL_FILE. For a Prometheus of your own, --only writes these parts alone and
    prints the lines that its configuration needs. `--only slack` gives the manifest of a Slack app, for threads.

    Example: autoheal provision --public-url https://autoheal.example.org --start
    """
    from autoheal.cli.provision import show as showing
    from autoheal.cli.provision.env import Addresses
    from autoheal.cli.provision.write import Provision
    from autoheal.core.errors import Invalid

    if only and start:
        raise Invalid("starts the whole stack: leave --only out", "--start")
    addresses = Addresses.read(
        {
            "--public-url": public_url,
            "--grafana-url": grafana_url,
            "--prometheus-url": prometheus_url,
            "--alertmanager-url": alertmanager_url,
            "--image": image,
        }
    )
    kept = addresses.without_neighbours() if reload else addresses
    work = Provision(folder, kept, os.environ, force=force, stamp=time.strftime("%Y%m%d-%H%M%S"))
    done = work.parts([str(part) for part in only]) if only else work.stack()
    if diff:
        showing.differences(done, as_json)
        if done.differs:
            raise typer.Exit(NO)
        return
    work.carry_out(done)
    if not as_json:
        showing.show(done)
    if start:
        from autoheal.cli.provision.start import start_stack

        start_stack(done.folder, production)
        done.started = True
    if reload:
        from autoheal.cli.provision.start import reload_neighbours

        done.reloaded = reload_neighbours(addresses, os.environ)
    if as_json:
        render.as_json(showing.as_dict(done))
    else:
        showing.afterwards(done)
