"""`autoheal serve`: run the service with the environment's settings, some of them overridden by options."""

from __future__ import annotations

from typing import Annotated

import typer

from autoheal.cli.service import settings_with


def serve(
    host: Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="Overrides AUTOHEAL_HOST.")] = None,
    port: Annotated[str | None, typer.Option("--port", metavar="PORT", help="Overrides AUTOHEAL_PORT.")] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="FILE", help="Overrides AUTOHEAL_POLICY_FILE.")
    ] = None,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", metavar="DIR", help="Overrides AUTOHEAL_DATA_DIR.")
    ] = None,
) -> None:
    """Hear alerts, decide, heal, verify, record: until SIGTERM. Starts in dry run unless told otherwise."""
    given = {
        "AUTOHEAL_HOST": host,
        "AUTOHEAL_PORT": port,
        "AUTOHEAL_POLICY_FILE": policy,
        "AUTOHEAL_DATA_DIR": data_dir,
    }
    settings = settings_with(given)

    from autoheal.app import serve as service

    code = service.main(settings)
    if code:
        raise typer.Exit(code)


def demo(
    once: Annotated[bool, typer.Option("--once", help="End by itself; exit code 0 if the service was healed.")] = False,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, metavar="PORT", help="Of Autoheal. Default: a free one.")
    ] = None,
) -> None:
    """Break a small service and watch it being healed: first in dry run, then live."""
    from autoheal.app import demo as shown

    code = shown.run(once=once, port=port)
    if code:
        raise typer.Exit(code)
