"""monitoring/alertmanager.yml as a test runs it: the same routes and texts, other addresses, quicker."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from autoheal.core.duration import parse_duration

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"
TEMPLATES = MONITORING / "alert-templates.tmpl"
WAITS = ("group_wait", "group_interval", "repeat_interval")


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((MONITORING / name).read_text())
    return found


def routes(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A route and all below it."""
    yield route
    for child in route.get("routes", ()):
        yield from routes(child)


def effective(route: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """A route of the first level with what it inherits."""
    return {**{name: above[name] for name in (*WAITS, "group_by")}, **route}


def quick(config: dict[str, Any], speed: float) -> dict[str, Any]:
    """The configuration with its waits divided by `speed`, none of them zero where it was not."""
    for route in routes(config["route"]):
        for name in WAITS:
            seconds = parse_duration(route[name]) if name in route else 0.0
            if seconds:
                route[name] = f"{max(20, int(seconds * 1000 / speed))}ms"
    return config


def placed(folder: Path, autoheal: str, token: str, slack: str, public_url: str) -> dict[str, Any]:
    """The configuration for this machine: its addresses, and the secrets as files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "autoheal_webhook_token").write_text(f"{token}\n")
    (folder / "slack_webhook_url").write_text(f"{slack}\n")
    write_url(folder, public_url)
    text = (MONITORING / "alertmanager.yml").read_text()
    for written, here in (
        ("/tmp/", f"{folder}/"),  # first: a folder of a test lies there too
        ("http://autoheal:9009", autoheal),
        ("/run/secrets", str(folder)),
        ("/etc/alertmanager", str(MONITORING)),
    ):
        assert written in text
        text = text.replace(written, here)
    config: dict[str, Any] = yaml.safe_load(text)
    return config


def write_url(folder: Path, public_url: str) -> None:
    """The template that the container's own command writes before it starts Alertmanager."""
    service = read("docker-compose.yml")["services"]["alertmanager"]
    [script] = service["command"]
    script = script.replace("$$", "$").replace("/tmp/", f"{folder}/").replace("exec /bin/alertmanager", "exec true")
    script = script.replace("${ALERTMANAGER_PUBLIC_URL:-http://localhost:9093}", "http://localhost:9093")
    environment = {"AUTOHEAL_PUBLIC_URL": public_url}
    subprocess.run([*service["entrypoint"], script], check=True, env=environment, timeout=10)
