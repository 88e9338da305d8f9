"""`autoheal threader`: one conversation in Slack for each group of alerts."""

from __future__ import annotations

from typing import Annotated

import typer

from autoheal.cli.service import settings_with


def threader(
    host: Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="Overrides AUTOHEAL_HOST.")] = None,
    port: Annotated[str | None, typer.Option("--port", metavar="PORT", help="Overrides THREADER_PORT.")] = None,
    policy: Annotated[
        str | None,
        typer.Option("--policy", metavar="FILE", help="Overrides AUTOHEAL_POLICY_FILE; only `threader:` is read."),
    ] = None,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", metavar="DIR", help="Overrides AUTOHEAL_DATA_DIR.")
    ] = None,
) -> None:
    """Talk about alerts in Slack until SIGTERM: one thread for each group. Needs SLACK_BOT_TOKEN or SLACK_WEBHOOK_URL.

    Not needed beside `autoheal serve`, which does the same where Slack is configured.
    """
    given = {
        "AUTOHEAL_HOST": host,
        "THREADER_PORT": port,
        "AUTOHEAL_POLICY_FILE": policy,
        "AUTOHEAL_DATA_DIR": data_dir,
    }
    settings = settings_with(given)

    from autoheal.app import threader as service

    code = service.main(settings)
    if code:
        raise typer.Exit(code)
