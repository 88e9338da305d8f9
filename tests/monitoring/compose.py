"""The compose files as a test reads them: merged and interpolated by a real docker-compose."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.monitoring.routing import MONITORING
from tests.needs import missing, needs

BASE, PROD, SLACK = "docker-compose.yml", "docker-compose.prod.yml", "docker-compose.slack.yml"
GIVEN = {"DOCKER_GID": "999"}
PUBLIC = {"AUTOHEAL_PUBLIC_URL": "https://autoheal.example.org"}


@cache
def program() -> str:
    """docker-compose of the first generation, which Debian has: the second prints the same in another form."""
    path = needs("docker-compose")
    version = subprocess.run([path, "version", "--short"], capture_output=True, text=True, timeout=30).stdout
    return path if version.startswith("1.") else missing(f"docker-compose is {version.strip()}, these tests read 1.29")


def ask(folder: Path, *files: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`docker-compose config` in a copy of the files, so that nobody's .env is read."""
    here = folder / "monitoring"
    here.mkdir(exist_ok=True)
    for name in (BASE, PROD, SLACK):
        shutil.copy(MONITORING / name, here)
    argv = [program(), *(word for name in files for word in ("--file", name)), "config"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), **env}
    return subprocess.run(argv, cwd=here, env=environ, capture_output=True, text=True, timeout=60)


def merged(folder: Path, *files: str, **env: str) -> dict[str, Any]:
    done = ask(folder, *files, **env)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found


def sources(service: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What a service mounts: where it comes from, by where it is mounted, and its mode."""
    found = {}
    for mount in service.get("volumes", ()):
        source, target, mode = (*str(mount).split(":"), "rw")[:3]
        found[target] = (source, mode)
    return found
