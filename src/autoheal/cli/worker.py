"""`autoheal worker`: hands that act on what the remediators decide, in the queues that it is told to serve."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer


def worker(
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue", metavar="NAME", help="Serve this queue; repeat it for more. Overrides AUTOHEAL_WORKER_QUEUES."
        ),
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option("--concurrency", metavar="N", help="Actions at once here. Overrides AUTOHEAL_WORKER_CONCURRENCY."),
    ] = None,
) -> None:
    """Act on what the remediators decide, until SIGTERM. Needs DATABASE_URL and REDIS_URL."""
    from autoheal.config.settings import Settings
    from autoheal.core.errors import Permanent

    if sys.platform == "win32":
        raise Permanent("the worker needs Linux or macOS; the other verbs work here with --url")
    given = {
        "AUTOHEAL_WORKER_QUEUES": ",".join(queue) if queue else None,
        "AUTOHEAL_WORKER_CONCURRENCY": concurrency,
    }
    settings = Settings.from_env({**os.environ, **{name: text for name, text in given.items() if text is not None}})

    from autoheal.app import worker as service

    code = service.main(settings)
    if code:
        raise typer.Exit(code)
