"""Starting the stack that was written, and having its neighbours read their files again."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from autoheal.cli.provision.env import Addresses
from autoheal.core.errors import AutohealError, Invalid, Permanent, Temporary

COMPOSE, PRODUCTION = "docker-compose.yml", "docker-compose.prod.yml"
TIMEOUT = 10.0


def start_stack(folder: Path, production: bool) -> None:
    """`docker compose up -d` in `folder`; what it says goes to stderr. Temporary where it cannot be run, or fails."""
    docker = shutil.which("docker")
    if docker is None:
        raise Temporary(f"the files are written, but there is no docker here to start them; {_by_hand(folder)}")
    known = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    if known.returncode != 0:
        raise Temporary(f"the files are written, but this docker knows no `docker compose`; {_by_hand(folder)}")
    files = [COMPOSE, PRODUCTION] if production else [COMPOSE]
    named = [word for file in files for word in ("--file", str(folder / file))]
    command = [docker, "compose", "--project-directory", str(folder), *named, "up", "--detach"]
    sys.stdout.flush()
    code = subprocess.run(command, stdout=2, check=False).returncode
    if code != 0:
        raise Temporary(f"`docker compose up` ended with {code}, see above; the files are written")


def _by_hand(folder: Path) -> str:
    return f"where there is one: cd {shlex.quote(str(folder))} && docker compose up -d"


def reload_neighbours(addresses: Addresses, environ: Mapping[str, str]) -> list[str]:
    """POST /-/reload to each that is named: what was reloaded. Permanent where one refuses, Temporary out of reach."""
    urls = [
        *_named("PROMETHEUS", addresses, environ),
        *_named("ALERTMANAGER", addresses, environ),
    ]
    if not urls:
        raise Invalid("which? give --prometheus-url and --alertmanager-url, or set PROMETHEUS_URL, ALERTMANAGER_URL")
    return [asyncio.run(_reload(url)) for url in urls]


def _named(name: str, addresses: Addresses, environ: Mapping[str, str]) -> tuple[str, ...]:
    from autoheal.config import variables

    text = addresses.given.get(f"{name}_PUBLIC_URL") or environ.get(f"{name}_URL", "").strip()
    try:
        return variables.urls(text) if text else ()
    except Invalid as error:
        raise Invalid(error.detail, f"{name}_URL") from None


async def _reload(url: str) -> str:
    from autoheal.clients.exchange import client, exchange

    web = client(keep=False)
    try:
        answer = await exchange(web, "POST", f"{url}/-/reload", timeout=TIMEOUT, limit=4096)
    except AutohealError as error:
        raise Temporary(f"{url}: {error}") from None
    finally:
        await web.aclose()
    if answer.ok:
        return url
    said = answer.text.strip()
    if answer.status in (403, 404, 405):
        raise Permanent(f"{url} takes no reload over HTTP ({said[:100]}): send its process SIGHUP")
    raise Permanent(f"{url} will not have it: {said[:500]}")
