"""The compose files and the image's recipe: accepted, closed where they can be, and what Autoheal really reads."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import re2
import yaml

from autoheal.cli.provision.secrets import STACK
from autoheal.clients.docker import DockerEngine
from autoheal.config.settings import Settings
from autoheal.testing.docker_engine import FakeDockerEngine
from tests.monitoring.compose import BASE, GIVEN, PROD, PUBLIC, SLACK, ask, merged, sources
from tests.monitoring.dockerfile import environment as image_environment
from tests.monitoring.routing import MONITORING
from tests.needs import needs, needs_module

ROOT = MONITORING.parent
SOCKET = "/var/run/docker.sock"
PROXY, READER = "docker-socket-proxy", "docker-logs-proxy"
Allowed = Callable[[str, str], bool]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return merged(tmp_path_factory.mktemp("dev"), BASE, **GIVEN)


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return merged(tmp_path_factory.mktemp("prod"), BASE, PROD, **GIVEN, **PUBLIC)


@pytest.fixture(params=["dev", "prod"])
def services(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = request.getfixturevalue(request.param)["services"]
    return found


# ---- accepted -------------------------------------------------------------------------------------------------------


def test_the_files_fit_the_compose_specification() -> None:
    needs_module("check_jsonschema", "dev")
    files = [str(MONITORING / name) for name in (BASE, PROD, SLACK)]
    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *files]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_yaml_has_no_doubles_and_no_truths_by_chance() -> None:
    needs_module("yamllint", "dev")
    rules = "{extends: default, rules: {line-length: {max: 160}, document-start: disable, braces: disable, "
    rules += "comments: {min-spaces-from-content: 1}, quoted-strings: disable}}"
    files = [*MONITORING.glob("*.yml"), *(MONITORING / "loki").rglob("*.yml"), *(MONITORING / "tests").glob("*.yml")]
    argv = [sys.executable, "-m", "yamllint", "--strict", "-d", rules, *map(str, files)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    done = ask(tmp_path, BASE)
    assert done.returncode != 0
    assert "stat -c %g /var/run/docker.sock" in done.stderr
    done = ask(tmp_path, BASE, PROD, **GIVEN)
    assert done.returncode != 0
    assert "AUTOHEAL_PUBLIC_URL" in done.stderr
    assert "the address people open" in done.stderr


# ---- closed ---------------------------------------------------------------------------------------------------------


def test_every_image_has_an_exact_tag(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+(-[a-z0-9]+)?(@sha256:[0-9a-f]{64})?", service["image"]), name


def test_every_service_is_closed_and_looked_after(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service), name
        assert re.fullmatch(r"[1-9]\d*:\d+", str(service["user"])), name
        assert service["pids_limit"] > 0, name
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}, name


def test_in_production_every_service_has_its_limits(prod: dict[str, Any]) -> None:
    found = {name: service["deploy"]["resources"] for name, service in prod["services"].items()}
    assert all(set(one) == {"limits", "reservations"} for one in found.values())
    assert all(set(part) == {"cpus", "memory"} for one in found.values() for part in one.values())
    autoheal = found["autoheal"]
    assert (float(autoheal["limits"]["cpus"]), autoheal["limits"]["memory"]) == (1.0, "512M")
    assert (float(autoheal["reservations"]["cpus"]), autoheal["reservations"]["memory"]) == (0.5, "256M")


@pytest.mark.parametrize(("proxy", "network", "client"), [(PROXY, "engine", "autoheal"), (READER, "logs", "alloy")])
def test_only_a_proxy_holds_the_socket_and_only_its_client_reaches_it(
    dev: dict[str, Any], proxy: str, network: str, client: str
) -> None:
    holders = {name for name, one in dev["services"].items() if any(SOCKET in str(v) for v in one.get("volumes", ()))}
    assert holders == {PROXY, READER}
    service = dev["services"][proxy]
    assert sources(service) == {SOCKET: (SOCKET, "ro")}
    assert list(service["networks"]) == [network]
    assert dev["networks"][network]["internal"] is True
    assert {name for name, one in dev["services"].items() if network in one.get("networks", {})} == {proxy, client}
    assert "ports" not in service
    assert f"-allowfrom={client}" in service["command"]
    assert dev["services"][client]["environment"]["DOCKER_HOST"] == f"tcp://{proxy}:2375"


def test_ports_are_published_on_loopback_alone(services: dict[str, dict[str, Any]]) -> None:
    published = {name: [str(port) for port in service.get("ports", ())] for name, service in services.items()}
    assert published["autoheal"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports), published


def test_who_waits_for_whom_has_a_health_check(services: dict[str, dict[str, Any]]) -> None:
    """And alerts reach people while Autoheal is down."""
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in services[name]
    assert "depends_on" not in services["alertmanager"]
    assert "autoheal" not in {name for one in services.values() for name in one.get("depends_on", {})}


# ---- what is mounted, and what is secret ----------------------------------------------------------------------------


def test_every_mounted_file_exists_and_is_read_only(dev: dict[str, Any]) -> None:
    seen = 0
    for name, service in dev["services"].items():
        for source, mode in sources(service).values():
            if "/monitoring/" not in source:
                assert source in dev["volumes"] or source == SOCKET, f"{name} mounts {source}"
                continue
            assert (MONITORING / source.partition("/monitoring/")[2]).exists(), f"{name} mounts {source}"
            assert mode == "ro", f"{name} may write {source}"
            seen += 1
    assert seen >= 8


def test_each_secret_goes_only_where_it_is_needed(dev: dict[str, Any]) -> None:
    given = {name: {one["source"] for one in service.get("secrets", ())} for name, service in dev["services"].items()}
    assert {name: held for name, held in given.items() if held} == {
        "autoheal": {"autoheal_webhook_token", "autoheal_admin_token"},
        "alertmanager": {"autoheal_webhook_token", "slack_webhook_url"},
        "grafana": {"grafana_admin_password"},
    }
    files = {name: one["file"].partition("/monitoring/")[2] for name, one in dev["secrets"].items()}
    assert files == {name: f"secrets/{name}" for name in STACK}
    told = (MONITORING / "secrets" / "README.md").read_text()
    assert all(f"| `{name}` |" in told for name in STACK)


def test_every_secret_that_is_read_from_a_file_is_mounted(dev: dict[str, Any]) -> None:
    for name, service in dev["services"].items():
        held = {f"/run/secrets/{one['source']}" for one in service.get("secrets", ())}
        named = {v for k, v in service.get("environment", {}).items() if k.endswith("_FILE") and "SECRET" not in k}
        assert {value for value in named if value.startswith("/run")} <= held, name
    alertmanager = (MONITORING / "alertmanager.yml").read_text()
    held = {one["source"] for one in dev["services"]["alertmanager"]["secrets"]}
    assert set(re.findall(r"/run/secrets/(\w+)", alertmanager)) == held


def test_secrets_go_neither_to_git_nor_into_the_image() -> None:
    names = [f"monitoring/secrets/{name}" for name in STACK] + ["monitoring/.env"]
    git = [needs("git"), "-C", str(ROOT), "check-ignore", *names]
    assert subprocess.run(git, capture_output=True, text=True, timeout=30).stdout.split() == names
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    later = ignored[ignored.index("!monitoring") :]
    assert ignored.index("*") < ignored.index("!monitoring")
    assert {"monitoring/secrets/*", "monitoring/.env"} <= set(later)


# ---- what Autoheal reads --------------------------------------------------------------------------------------------


def settings_of(service: dict[str, Any], folder: Path) -> Settings:
    """The settings of a container with this environment, with the secrets in `folder`."""
    for one in service["secrets"]:
        text = "xoxb-of-the-test" if one["source"] == "slack_bot_token" else f"{one['source']}-of-the-test"
        (folder / one["source"]).write_text(text)
    given = image_environment() | {name: str(value) for name, value in service["environment"].items()}
    return Settings.from_env({name: value.replace("/run/secrets", str(folder)) for name, value in given.items()})


def test_in_development_nothing_is_done(dev: dict[str, Any], tmp_path: Path) -> None:
    found = settings_of(dev["services"]["autoheal"], tmp_path)
    assert (found.enabled, found.dry_run) == (False, True)
    assert found.exposed() == [], "it listens off loopback"
    assert (str(found.data_dir), str(found.audit_path)) == ("/data", "/data/audit.jsonl")
    assert found.alertmanager_urls == ("http://alertmanager:9093",)
    assert found.prometheus_url == "http://prometheus:9090"
    assert found.docker_host == f"tcp://{PROXY}:2375"


def test_production_begins_as_a_canary_and_one_variable_makes_it_live(prod: dict[str, Any], tmp_path: Path) -> None:
    found = settings_of(prod["services"]["autoheal"], tmp_path)
    assert (found.enabled, found.dry_run) == (True, True)
    cooldowns = (found.cooldown_tcp_down, found.cooldown_uptime_fail, found.cooldown_scrape_stale)
    assert cooldowns == (300, 600, 900)
    assert found.not_yet() + found.exposed() == [], "it starts"
    assert found.public_url == PUBLIC["AUTOHEAL_PUBLIC_URL"]
    live = merged(tmp_path, BASE, PROD, **GIVEN, **PUBLIC, AUTOHEAL_DRY_RUN="false")
    assert settings_of(live["services"]["autoheal"], tmp_path).dry_run is False
    assert prod["services"]["grafana"]["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"


def test_threads_are_added_by_a_file_of_their_own(dev: dict[str, Any], tmp_path: Path) -> None:
    """It gives Autoheal the app's two secrets, and changes nothing else."""
    threads = merged(tmp_path, BASE, PROD, SLACK, **GIVEN, **PUBLIC)
    plain = merged(tmp_path, BASE, PROD, **GIVEN, **PUBLIC)
    given = {one["source"] for one in threads["services"]["autoheal"]["secrets"]}
    new = {"slack_bot_token", "slack_signing_secret"}
    assert given == {one["source"] for one in plain["services"]["autoheal"]["secrets"]} | new
    for name in new:
        assert threads["secrets"][name]["file"].endswith(f"/monitoring/secrets/{name}")
    told = (MONITORING / "secrets" / "README.md").read_text()
    assert all(f"| `{name}` |" in told for name in new)
    found = settings_of(threads["services"]["autoheal"], tmp_path)
    assert found.slack_configured and found.slack_bot_token is not None and found.slack_signing_secret is not None
    assert not settings_of(dev["services"]["autoheal"], tmp_path).slack_configured
    for name, service in plain["services"].items():
        assert name == "autoheal" or threads["services"][name] == service


def test_every_variable_of_the_env_file_can_be_set(tmp_path: Path) -> None:
    """What the files take from .env reaches the service: a value that is no other variable's default arrives."""
    written = (MONITORING / BASE).read_text() + (MONITORING / PROD).read_text()
    names = set(re.findall(r"\$\{(AUTOHEAL_\w+|COOLDOWN_\w+|OIDC_\w+|LOG_LEVEL)", written)) - {"AUTOHEAL_IMAGE"}
    assert len(names) >= 9
    known = {*Settings.NAMES, *(f"{name}_FILE" for name in Settings.NAMES)}
    assert names <= known, names - known


def test_addresses_are_services_and_ports_are_theirs(dev: dict[str, Any]) -> None:
    ports = {PROXY: "2375", READER: "2375", "loki": "3100"}
    for name, service in dev["services"].items():
        for port in service.get("ports", ()):
            ports[name] = str(port).split(":")[2].partition("/")[0]
    texts = [(MONITORING / name).read_text() for name in ("alertmanager.yml", "prometheus-config.yml")]
    texts += [yaml.safe_dump(service.get("environment", {})) for service in dev["services"].values()]
    texts += [file.read_text() for file in (MONITORING / "grafana" / "provisioning").rglob("*.yml")]
    texts += [file.read_text() for file in (MONITORING / "loki").iterdir() if file.is_file()]
    uncommented = re.sub(r"^\s*(#|//).*", "", "\n".join(texts), flags=re.MULTILINE)
    named = dict(re.findall(r"\b([a-z][a-z-]+):(\d{4,5})\b", uncommented))
    named.pop("localhost")
    assert set(named) == {"autoheal", "alertmanager", "prometheus", "loki", PROXY, READER}
    assert named.items() <= ports.items()


# ---- the engine's socket --------------------------------------------------------------------------------------------


def rules(service: dict[str, Any]) -> dict[str, str]:
    flags = [word.partition("=") for word in service["command"] if word.startswith("-allow")]
    return {name.removeprefix("-allow"): text for name, _, text in flags if name.removeprefix("-allow").isupper()}


@pytest.fixture
def allowed(dev: dict[str, Any]) -> Allowed:
    """The proxy's rule, in Go's expression language: a method is open for paths that fit its expression as a whole."""
    held = rules(dev["services"][PROXY])
    assert set(held) == {"GET", "POST"}
    return lambda method, path: method in held and re2.fullmatch(held[method], path) is not None


def test_the_collector_of_logs_changes_nothing(dev: dict[str, Any]) -> None:
    held = rules(dev["services"][READER])
    assert set(held) == {"GET", "HEAD"}
    for path in ("/_ping", "/v1.47/networks", "/containers/json", f"/v1.47/containers/{'a1' * 32}/logs"):
        assert re2.fullmatch(held["GET"], path), path
    for path in ("/containers/x/archive", f"/containers/{'a1' * 32}/export", "/images/json", "/secrets", "/networks/x"):
        assert not re2.fullmatch(held["GET"], path), path


def test_what_the_docker_action_asks_passes_the_proxy(allowed: Allowed) -> None:
    with FakeDockerEngine() as fake:
        for name in ("crm-api", "grafana.1", "A_b"):
            fake.add(name, project="monitoring", service=name)
        engine = DockerEngine(fake.host)

        async def everything() -> None:
            for verb in ("restart", "stop", "start"):
                await engine.operate(verb, list(fake.containers), 10)
            await engine.restart_services("monitoring", ["crm-api"], 10)

        asyncio.run(everything())
        asked = {(one.method, one.path) for one in fake.requests}
    assert len(asked) >= 12
    assert {one for one in asked if not allowed(*one)} == set()


@pytest.mark.parametrize(
    "request_line",
    """
    POST /v1.47/containers/create
    POST /containers/crm-api/exec
    POST /containers/crm-api/kill
    POST /containers/crm-api/update
    POST /containers/crm-api/rename
    POST /containers/crm-api/attach
    POST /containers/crm-api/restart/x
    POST /containers/../restart
    POST /containers/a/b/restart
    POST /v1.47/exec/0123/start
    POST /v1.47/services/x/start
    POST /containers/prune
    POST /images/create
    POST /volumes/create
    PUT /containers/crm-api/archive
    DELETE /containers/crm-api
    GET /containers/crm-api/json
    GET /containers/crm-api/logs
    GET /containers/crm-api/archive
    GET /containers/crm-api/export
    GET /containers/crm-api/attach/ws
    GET /v1.47/containers/json/x
    GET /images/json
    GET /secrets
    GET /events
    GET /info
    GET /_pingx
    HEAD /containers/crm-api/archive
    """.strip().splitlines(),
)
def test_nothing_else_passes(allowed: Allowed, request_line: str) -> None:
    method, path = request_line.split()
    assert not allowed(method, path)
