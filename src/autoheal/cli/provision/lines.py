"""The lines that somebody's own prometheus.yml, alertmanager.yml or Grafana needs, taken from the files we ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autoheal.cli.provision.slack import manifest
from autoheal.cli.stack import RECEIVER, RULES

AUTOHEAL, PEOPLE = "autoheal", "autoheal-notify"
"""The receivers' names in the shipped alertmanager.yml."""
ROOT = "YOUR-ROOT-RECEIVER"
"""To be replaced by the name of the receiver that their own first route has."""


def rules(source: Path, folder: Path, url: str) -> str:
    """For prometheus.yml: the rule files, and the scrape job with the name that the rules look for."""
    config = _read(source / "prometheus-config.yml")
    job = next(job for job in config["scrape_configs"] if job["job_name"] == AUTOHEAL)
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    job = {**job, "static_configs": [{"targets": [f"{parts.hostname}:{port}"]}]}
    if parts.scheme != "http":
        job["scheme"] = parts.scheme
    if parts.path.strip("/"):
        job["metrics_path"] = f"{parts.path.rstrip('/')}/metrics"
    return _yaml("prometheus.yml", {"rule_files": [str(folder / name) for name in RULES], "scrape_configs": [job]})


def receiver(source: Path, folder: Path, url: str) -> str:
    """For alertmanager.yml: the routes to Autoheal and about it, first of all, a last one to people, its receiver."""
    config = _read(source / "alertmanager.yml")
    routes = [route for route in config["route"]["routes"] if route["receiver"] in (AUTOHEAL, PEOPLE)]
    ours = next(one for one in config["receivers"] if one["name"] == AUTOHEAL)
    (webhook,) = ours["webhook_configs"]
    token = str(folder / "secrets" / "autoheal_webhook_token")
    http = {"authorization": {"type": "Bearer", "credentials_file": token}}
    ours = {"name": AUTOHEAL, "webhook_configs": [{**webhook, "url": f"{url}/alert", "http_config": http}]}
    text = {
        "templates": [str(folder / name) for name in (*RECEIVER, "autoheal-url.tmpl")],
        "route": {"routes": [*routes, {"receiver": ROOT}]},
        "receivers": [ours],
    }
    note = f"# Alertmanager's user must be able to read {token}.\n"
    note += "# These routes come before yours, and the last one after yours: once a route has matched, even one that\n"
    note += f"# continues, the root receiver is not asked any more. {ROOT} is its name in your configuration.\n"
    note += f"# {PEOPLE} is a receiver of yours that people read; the templates\n"
    note += '# give it text and links that acknowledge: {{ template "autoheal.slack.text" . }}\n'
    return note + _yaml("alertmanager.yml", text)


def dashboards(source: Path, folder: Path, url: str) -> str:
    """For Grafana: a provider that reads the folder; or import the files by hand."""
    provider = {
        "name": AUTOHEAL,
        "folder": "Autoheal",
        "type": "file",
        "options": {"path": str(folder / "grafana" / "dashboards")},
    }
    return _yaml(
        "/etc/grafana/provisioning/dashboards/autoheal.yml (or import the JSON files by hand)",
        {"apiVersion": 1, "providers": [provider]},
    )


def tokens(source: Path, folder: Path, url: str) -> str:
    """For who starts Autoheal: where its tokens are."""
    made = folder / "secrets"
    names = {
        "AUTOHEAL_WEBHOOK_TOKEN_FILE": "autoheal_webhook_token",
        "AUTOHEAL_ADMIN_TOKEN_FILE": "autoheal_admin_token",
    }
    return "# the environment of `autoheal serve`\n" + "".join(
        f"{name}={made / file}\n" for name, file in names.items()
    )


def slack(source: Path, folder: Path, url: str) -> str:
    """For Slack: the app's manifest."""
    return manifest(url)


LINES: dict[str, Callable[[Path, Path, str], str]] = {
    "rules": rules,
    "receiver": receiver,
    "dashboards": dashboards,
    "tokens": tokens,
    "slack": slack,
}


def _read(path: Path) -> Any:
    import yaml

    return yaml.safe_load(path.read_bytes())


def _yaml(name: str, data: Any) -> str:
    import yaml

    return f"# {name}\n" + str(yaml.safe_dump(data, sort_keys=False, width=120))
