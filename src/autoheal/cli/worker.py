"""`autoheal worker`: hands that act on what the remediators decide, in the queues that it is told to serve."""

from __future__ import annotations

from typing import Annotated

import typer

from autoheal.cli.service import settings_with


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
    given = {
        "AUTOHEAL_WORKER_QUEUES": ",".join(queue) if queue else None,
        "AUTOHEAL_WORKER_CONCURRENCY": concurrency,
    }
    settings = settings_with(given, "the worker")

    from autoheal.app import worker as service

    code = service.main(settings)
    if code:
        raise typer.Exit(code)
