"""`.env` and `client.env`: which addresses the stack has, for compose and for the commands on this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from autoheal.core.errors import Invalid

PLAIN = re.compile(r"[A-Za-z0-9_./:@%~\[\]-]+")
"""What needs no quotes, neither for compose nor for a shell."""
SOCKET = Path("/var/run/docker.sock")
_HEAD = """\
# Read by `docker compose` in this folder. `autoheal provision` adds what is missing, and changes what its options say.
"""
_NAMES = {
    "--public-url": "AUTOHEAL_PUBLIC_URL",
    "--grafana-url": "GRAFANA_PUBLIC_URL",
    "--prometheus-url": "PROMETHEUS_PUBLIC_URL",
    "--alertmanager-url": "ALERTMANAGER_PUBLIC_URL",
    "--image": "AUTOHEAL_IMAGE",
}
_LOCAL = {
    "AUTOHEAL_PUBLIC_URL": "http://localhost:9009",
    "GRAFANA_PUBLIC_URL": "http://localhost:3000",
    "PROMETHEUS_PUBLIC_URL": "http://localhost:9090",
    "ALERTMANAGER_PUBLIC_URL": "http://localhost:9093",
}
"""As docker-compose.yml has them where `.env` says nothing."""
_DEFAULTS = {
    "AUTOHEAL_DRY_RUN": "true",
    "AUTOHEAL_POLICY_FILE": "/etc/autoheal/policy.yaml",
    "COMPOSE_PROJECT_NAME": "monitoring",
}
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")


@dataclass(frozen=True, slots=True)
class Addresses:
    """What the options say, by the variable's name in `.env`."""

    given: Mapping[str, str]

    @classmethod
    def read(cls, options: Mapping[str, str | None]) -> Self:
        """Checked: Invalid names the option."""
        from autoheal.config import variables

        found = {}
        for option, text in options.items():
            if text is None:
                continue
            try:
                value = text if option == "--image" else variables.url(text)
            except Invalid as error:
                raise Invalid(error.detail, option) from None
            if not PLAIN.fullmatch(value):
                raise Invalid(f"{text!r} holds what would need quotes in .env", option)
            found[_NAMES[option]] = value
        return cls(found)

    def without_neighbours(self) -> Self:
        """Where Prometheus' and Alertmanager's say what is to be reloaded, and not what the stack has."""
        neighbours = ("PROMETHEUS_PUBLIC_URL", "ALERTMANAGER_PUBLIC_URL")
        return type(self)({name: value for name, value in self.given.items() if name not in neighbours})

    def of(self, name: str, there: Mapping[str, str]) -> str:
        """The value in force: given, as the file has it, or this machine's."""
        return self.given.get(name) or there.get(name) or _LOCAL[name]


def values(text: str) -> dict[str, str]:
    """The variables of an env file; quotes around a value are taken off."""
    found = {}
    for line in text.splitlines():
        matched = _LINE.fullmatch(line)
        if matched:
            name, value = matched.groups()
            found[name] = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
    return found


def env_file(there: str | None, addresses: Addresses) -> tuple[str, list[str]]:
    """The new text of `.env`, and what was changed in it. Lines that nobody asked to change stay as they are."""
    wanted = {**_DEFAULTS, **addresses.given, **_group()}
    if there is None:
        return _HEAD + "".join(f"{name}={value}\n" for name, value in wanted.items()), []
    known, changes, lines = values(there), [], there.splitlines()
    for name, value in addresses.given.items():
        if name in known and known[name].rstrip("/") != value:
            lines = [f"{name}={value}" if _names(line) == name else line for line in lines]
            changes.append(f"{name}: {known[name] or 'empty'} -> {value}")
    missing = [name for name in wanted if name not in known]
    changes += [f"{name}: {wanted[name]} (was missing)" for name in missing]
    lines += [f"{name}={wanted[name]}" for name in missing]
    return ("\n".join(lines) + "\n" if changes else there), changes


def _names(line: str) -> str | None:
    matched = _LINE.fullmatch(line)
    return matched.group(1) if matched else None


def _group() -> dict[str, str]:
    """The group of Docker's socket, which the socket proxy needs; nothing where there is no socket here."""
    try:
        return {"DOCKER_GID": str(SOCKET.stat().st_gid)}
    except OSError:
        return {}


def client_env(folder: Path, addresses: Addresses, there: Mapping[str, str]) -> str:
    """For the commands on this machine: `set -a; . ./client.env; set +a`, and then `autoheal doctor`."""
    token = str(folder / "secrets" / "autoheal_admin_token").replace("'", "'\\''")
    pairs = {
        "AUTOHEAL_PUBLIC_URL": addresses.of("AUTOHEAL_PUBLIC_URL", there),
        "AUTOHEAL_ADMIN_TOKEN_FILE": token if PLAIN.fullmatch(token) else f"'{token}'",
        "PROMETHEUS_URL": addresses.of("PROMETHEUS_PUBLIC_URL", there),
        "ALERTMANAGER_URL": addresses.of("ALERTMANAGER_PUBLIC_URL", there),
        "GRAFANA_URL": addresses.of("GRAFANA_PUBLIC_URL", there),
    }
    head = "# For the commands on this machine:  set -a; . ./client.env; set +a; autoheal smoke\n"
    return head + "".join(f"{name}={value}\n" for name, value in pairs.items())
