"""Where the monitoring stack's files are: in the package once installed, at the repository's root in a checkout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from autoheal.core.errors import Permanent

FOLDER = "monitoring"
RULES = ("prometheus-recording-rules.yml", "prometheus-alerts.yml")
DASHBOARDS = ("grafana/dashboards/*.json", "grafana/provisioning/**/*.y*ml")
RECEIVER = ("alert-templates.tmpl",)
SHIPPED = ("*.yml", "*.tmpl", *DASHBOARDS, "loki/**/*")
"""Patterns of everything that is written for people; what tests and generates it stays where it is."""


def source(package: Path | None = None) -> Path:
    """The folder with the shipped files. `package`: this package's own folder."""
    inside = package or Path(__file__).resolve().parents[1]
    checkout = inside.parents[1]
    found = [inside / FOLDER]
    if (checkout / "pyproject.toml").is_file():
        found.append(checkout / FOLDER)
    for folder in found:
        if all((folder / name).is_file() for name in RULES):
            return folder
    raise Permanent(f"this installation has no {FOLDER} files: install Autoheal from its wheel, or use a checkout")


def shipped(folder: Path, patterns: tuple[str, ...] = SHIPPED) -> dict[str, bytes]:
    """What is in `folder` by these patterns: path with slashes, and content; sorted."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(set(_matching(folder, patterns)))}


def _matching(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from (path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))
