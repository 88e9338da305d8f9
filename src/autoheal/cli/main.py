"""The `autoheal` command. What a verb needs is imported when it runs, so that each starts at once."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from autoheal import __version__
from autoheal.cli import (
    ack,
    audit,
    cooldown,
    db,
    doctor,
    mode,
    open,
    policy,
    provision,
    remediations,
    serve,
    smoke,
    threader,
    worker,
)
from autoheal.cli.exits import Verbs

app = typer.Typer(
    name="autoheal",
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Something goes wrong: it is heard, judged, healed, checked, told and written down, once.",
    epilog="Exit codes: 0 fine, 1 the answer is no, 2 wrong use, 3 cannot reach.",
)


def _version(asked: bool) -> None:
    if asked:
        print(f"autoheal {__version__}")
        raise typer.Exit


@app.callback()
def autoheal(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


app.command()(serve.serve)
app.command()(serve.demo)
app.command()(worker.worker)
app.command()(threader.threader)
app.command()(doctor.doctor)
app.command()(smoke.smoke)
app.command("open")(open.open_)
app.command()(provision.provision)
app.add_typer(policy.app, name="policy")
app.add_typer(audit.app, name="audit")
app.command()(ack.ack)
app.add_typer(ack.silence, name="silence")
app.command()(mode.mode)
app.command()(cooldown.cooldown)
app.add_typer(remediations.app, name="remediations")
app.add_typer(db.app, name="db")


def main() -> None:
    """The console script: what a terminal cannot show is written out instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()
