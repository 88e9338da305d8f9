"""`autoheal provision`: what it writes is accepted by those who read it, and it never takes anything away."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from autoheal.actions import KINDS
from autoheal.cli import stack
from autoheal.cli.prometheus_checks import expected
from autoheal.cli.provision import env as provision_env
from autoheal.cli.provision.lines import ROOT
from autoheal.cli.provision.secrets import TOKENS, Secrets
from autoheal.cli.provision.slack import FILE, SCOPES
from autoheal.clients import slack as slack_client
from autoheal.config.policy_file import load_policy
from autoheal.config.settings import Settings
from autoheal.core.errors import Permanent
from tests.needs import needs
from tests.unit.cli.played import refusing
from tests.unit.cli.stage import Stage, run


@pytest.fixture(autouse=True)
def no_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whether this machine has Docker does not matter."""
    monkeypatch.setattr(provision_env, "SOCKET", tmp_path / "docker.sock")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "made" / "monitoring"


def provision(folder: Path, *more: str, code: int = 0) -> Result:
    done = run("provision", str(folder), *more)
    assert done.exit_code == code, done.output
    return done


def told(folder: Path, *more: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("provision", str(folder), "--json", *more).stdout)
    return found


def contents(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file with its bytes, its mode and its time."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check(*argv: str | Path) -> str:
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- where the files come from ----------------------------------------------------------------------------------


def test_a_checkout_and_a_wheel_have_the_files_in_their_places(tmp_path: Path) -> None:
    assert (stack.source() / "docker-compose.yml").is_file()
    package = tmp_path / "site-packages" / "autoheal"
    package.mkdir(parents=True)
    with pytest.raises(Permanent, match="install Autoheal from its wheel"):
        stack.source(package)
    for name in stack.RULES:
        (package / "monitoring").mkdir(exist_ok=True)
        (package / "monitoring" / name).write_text("")
    assert stack.source(package) == package / "monitoring"


def test_what_is_shipped_holds_every_rule_that_is_looked_for() -> None:
    groups = [yaml.safe_load((stack.source() / name).read_bytes())["groups"] for name in stack.RULES]
    rules = [rule for file in groups for group in file for rule in group["rules"]]
    recording, alerts = expected()
    assert set(recording) == {rule["record"] for rule in rules if "record" in rule}
    assert set(alerts) == {rule["alert"] for rule in rules if "alert" in rule} and len(alerts) >= 18


def test_neither_tests_nor_generators_nor_secrets_are_shipped() -> None:
    paths = list(stack.shipped(stack.source()))
    assert not [path for path in paths if path.endswith(".py") or path.startswith(("tests/", "secrets/", "."))]
    assert {"docker-compose.yml", "alertmanager.yml", "grafana/dashboards/autoheal.json"} <= set(paths)


def test_the_wheel_takes_along_what_is_shipped_and_nothing_else() -> None:
    hook = ast.parse((stack.source().parent / "hatch_build.py").read_text())
    assigned = {one.targets[0].id: one.value for one in hook.body if isinstance(one, ast.Assign)}  # type: ignore[attr-defined]
    folder = stack.source()
    taken = {path for pattern in ast.literal_eval(assigned["STACK"]) for path in folder.glob(pattern) if path.is_file()}
    assert {path.relative_to(folder).as_posix() for path in taken} == set(stack.shipped(folder))


# ---- from nothing -----------------------------------------------------------------------------------------------


def test_what_it_writes_is_accepted(folder: Path) -> None:
    provision(folder, "--public-url", "https://autoheal.example.org")
    check(needs("promtool", "prometheus"), "check", "config", folder / "prometheus-config.yml")
    check(needs("amtool", "prometheus-alertmanager"), "check-config", folder / "alertmanager.yml")


def test_whatever_compose_mounts_is_there(folder: Path) -> None:
    provision(folder)
    compose = yaml.safe_load((folder / "docker-compose.yml").read_bytes())
    mounted = [str(one) for service in compose["services"].values() for one in service.get("volumes", ())]
    paths = [one.split(":")[0] for one in mounted if one.startswith("./")]
    paths += [secret["file"] for secret in compose["secrets"].values()]
    assert len(paths) >= 10
    assert [path for path in paths if not (folder / path).exists()] == []


def container_environment(folder: Path) -> Iterator[tuple[str, str]]:
    """What compose gives to Autoheal: its file, with `.env` filled in; paths as they are here."""
    env = provision_env.values((folder / ".env").read_text())
    service = yaml.safe_load((folder / "docker-compose.yml").read_bytes())["services"]["autoheal"]
    for name, text in service["environment"].items():
        filled = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: env.get(found[1]) or found[2], str(text or ""))
        here = filled.replace("/run/secrets/", f"{folder}/secrets/").replace("/etc/autoheal/", f"{folder}/policy/")
        yield name, here
    yield "AUTOHEAL_HOST", "0.0.0.0"


def test_autoheal_accepts_the_environment_and_the_policy(folder: Path) -> None:
    provision(folder, "--public-url", "https://autoheal.example.org/")
    environ = dict(container_environment(folder))
    settings = Settings.from_env(environ)
    assert settings.exposed() == [], "the tokens are there"
    assert settings.public_url == "https://autoheal.example.org" and settings.dry_run
    assert settings.policy_file == folder / "policy" / "policy.yaml"
    assert load_policy(settings.policy_file, environ, KINDS, settings.policy_defaults).rules


def test_the_commands_of_this_machine_find_everything(folder: Path, tmp_path: Path) -> None:
    spaced = tmp_path / "it's here"
    for place in (folder, spaced):
        provision(place, "--public-url", "https://ah.example.org", "--grafana-url", "https://g.example.org")
        shown = check("sh", "-c", f'set -a; . "{place}/client.env"; set +a; env')
        environ = dict(line.partition("=")[::2] for line in shown.splitlines())
        settings = Settings.from_env({k: v for k, v in environ.items() if k != "AUTOHEAL_DATA_DIR"})
        assert settings.admin_token is not None and settings.prometheus_url == "http://localhost:9090"
        assert settings.public_url == "https://ah.example.org" and environ["GRAFANA_URL"] == "https://g.example.org"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_tokens_are_random_private_and_shown_nowhere(folder: Path, tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        done = provision(folder)
        os.umask(0)
        alone = provision(tmp_path / "other", "--only", "tokens")
    finally:
        os.umask(old)
    tokens = {path.name: path.read_text().strip() for path in (folder / "secrets").iterdir()}
    long = [token for name, token in tokens.items() if name != "slack_webhook_url"]
    assert len(set(long)) == 3 and min(map(len, long)) >= 40
    assert not any(token[:8] in done.output + alone.output for token in long)
    everything = b"".join(data for name, (data, *_) in contents(folder).items() if not name.startswith("secrets"))
    assert not any(token.encode() in everything for token in long)
    assert stat.S_IMODE((folder / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "secrets" / "autoheal_admin_token").stat().st_mode) == 0o644, "for the containers"
    assert stat.S_IMODE((tmp_path / "other/secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "other/secrets/autoheal_admin_token").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "prometheus-alerts.yml").stat().st_mode) == 0o644, "whatever the umask"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600


# ---- again ------------------------------------------------------------------------------------------------------


def test_a_second_run_changes_nothing_and_says_so(folder: Path) -> None:
    first = provision(folder, "--public-url", "https://ah.example.org")
    assert "new" in first.stdout and "docker compose up -d" in first.stdout
    before = contents(folder)
    done = provision(folder)
    assert contents(folder) == before
    assert "nothing to do" in done.stdout and "docker compose up" not in done.stdout
    assert told(folder)["changed"] is False
    provision(folder, "--diff", code=0)


def test_what_somebody_changed_is_kept_and_named(folder: Path) -> None:
    provision(folder)
    file = folder / "prometheus-alerts.yml"
    mine = file.read_text().replace("interval", "# mine\n  interval", 1) + "# and this\n"
    file.write_text(mine)
    (folder / "policy/policy.yaml").write_text("version: 1\nrules: []\n")
    done = provision(folder)
    assert file.read_text() == mine and (folder / "policy/policy.yaml").read_text() == "version: 1\nrules: []\n"
    assert "kept  prometheus-alerts.yml" in done.stdout and "--force" in done.stdout
    assert "policy" not in done.stdout.partition("kept")[2], "the policy is theirs from the beginning"
    shown = provision(folder, "--diff", code=1)
    assert "-# and this" in shown.stdout and file.read_text() == mine


def test_force_takes_ours_and_keeps_theirs_beside_it(folder: Path) -> None:
    provision(folder)
    file = folder / "prometheus-alerts.yml"
    ours = file.read_bytes()
    file.write_text("groups: []\n")
    found = told(folder, "--force")
    (backup,) = [one["backup"] for one in found["files"] if one["state"] == "replaced"]
    assert file.read_bytes() == ours and (folder / backup).read_text() == "groups: []\n"
    assert told(folder)["changed"] is False


def test_a_new_version_updates_only_what_nobody_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provision(folder)
    (folder / "alertmanager.yml").write_text("mine\n")
    plain = stack.shipped

    def newer(*args: Any) -> dict[str, bytes]:
        found = {path: data + b"\n# newer\n" for path, data in plain(*args).items()}
        return {path: data for path, data in found.items() if path != "docker-compose.prod.yml"}

    monkeypatch.setattr(stack, "shipped", newer)
    found = told(folder)
    states = {one["path"]: one["state"] for one in found["files"]}
    assert states["alertmanager.yml"] == "kept" and states["prometheus-alerts.yml"] == "updated"
    assert found["no_longer_shipped"] == ["docker-compose.prod.yml"]
    assert (folder / "prometheus-alerts.yml").read_text().endswith("# newer\n")
    assert told(folder)["changed"] is False


def test_tokens_are_never_written_over(folder: Path) -> None:
    provision(folder)
    token = folder / "secrets" / "autoheal_admin_token"
    token.write_text("mine\n")
    provision(folder, "--force")
    assert token.read_text() == "mine\n"
    token.write_text("")
    assert "it was empty" in provision(folder).stdout and len(token.read_text()) > 40


def test_a_token_that_somebody_made_meanwhile_is_kept(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path, shared=False)
    planned = secrets.plan(TOKENS, {})
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / TOKENS[0]).write_text("theirs")
    secrets.carry_out(planned, {})
    assert (tmp_path / "secrets" / TOKENS[0]).read_text() == "theirs"
    assert len((tmp_path / "secrets" / TOKENS[1]).read_text()) > 40


def test_a_token_that_containers_could_not_read_is_opened_and_kept(folder: Path) -> None:
    provision(folder, "--only", "tokens")
    token = folder / "secrets" / TOKENS[0]
    before = token.read_text()
    assert "made readable for the containers" in provision(folder).stdout
    assert token.read_text() == before and stat.S_IMODE(token.stat().st_mode) == 0o644


def test_slacks_url_comes_from_the_environment_and_fills_the_empty_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "until then nobody is told" in provision(folder).stdout
    file = folder / "secrets" / "slack_webhook_url"
    assert file.read_text() == "", "compose needs the file to be there"
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "https://hooks.example/T0/B0/secret")
    done = provision(folder)
    assert file.read_text().strip().endswith("B0/secret") and "B0/secret" not in done.output
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "https://hooks.example/other")
    provision(folder, "--force")
    assert file.read_text().strip().endswith("B0/secret")


def test_only_the_lines_that_are_asked_for_change_in_env(folder: Path) -> None:
    provision(folder, "--public-url", "https://one.example.org")
    env = folder / ".env"
    env.write_text("# mine\nLOG_LEVEL=DEBUG\n" + env.read_text().replace("COMPOSE_PROJECT_NAME=monitoring\n", ""))
    done = provision(
        folder, "--public-url", "https://two.example.org", "--image", "registry.example/autoheal:1@sha256:0a"
    )
    text = env.read_text()
    assert text.startswith("# mine\nLOG_LEVEL=DEBUG\n") and text.count("AUTOHEAL_PUBLIC_URL=") == 1
    values = provision_env.values(text)
    assert values["AUTOHEAL_PUBLIC_URL"] == "https://two.example.org"
    assert values["COMPOSE_PROJECT_NAME"] == "monitoring", "what is missing is added"
    assert values["AUTOHEAL_IMAGE"] == "registry.example/autoheal:1@sha256:0a"
    assert "https://one.example.org -> https://two.example.org" in done.stdout
    assert "https://two.example.org" in (folder / "client.env").read_text()
    provision(folder)
    assert env.read_text() == text


def test_the_group_of_dockers_socket_is_found(folder: Path, tmp_path: Path) -> None:
    assert "DOCKER_GID" in provision(folder).stdout
    (tmp_path / "docker.sock").touch()
    done = provision(folder)
    assert f"DOCKER_GID={(tmp_path / 'docker.sock').stat().st_gid}\n" in (folder / ".env").read_text()
    assert "set DOCKER_GID" not in done.stdout


def test_diff_of_nothing_writes_nothing(folder: Path) -> None:
    done = provision(folder, "--diff", code=1)
    assert "new" in done.stdout and not folder.exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--public-url", "nowhere"),
        ("--public-url", "http://x/?y"),
        ("--public-url", "http://u:p@x"),
        ("--image", "a b"),
        ("--image", "x\nAUTOHEAL_DRY_RUN=false"),
        ("--public-url", "http://a$(id)"),
        ("--only", "everything"),
        ("--only", "rules", "--start"),
    ],
)
def test_wrong_use_writes_nothing(folder: Path, options: tuple[str, ...]) -> None:
    done = provision(folder, *options, code=2)
    assert options[0] in done.stderr or options[-1] in done.stderr
    assert not folder.exists()


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    provision(tmp_path / "file", code=2)
    provision(stack.source(), code=2)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / ".autoheal-provision.json").write_text("{")
    assert "delete it" in provision(tmp_path / "damaged", code=1).stderr


def test_an_empty_folder_is_refused_and_not_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "empty" in run("provision", "").stderr and run("provision", " ").exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["secrets", "policy"])
def test_a_link_is_not_followed(folder: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)
    folder.mkdir(parents=True)
    (folder / name).symlink_to(elsewhere)
    assert "is a link" in provision(folder, code=2).stderr
    assert list(elsewhere.iterdir()) == [] and stat.S_IMODE(elsewhere.stat().st_mode) == 0o755


def test_what_comes_next_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spaced = tmp_path / "my stack"
    assert f"cd '{spaced}' && docker" in provision(spaced).stdout.replace("\n", "")
    again = provision(spaced, "--public-url", "https://ah.example.org").stdout.replace("\n", "")
    assert "docker compose restart prometheus alertmanager loki alloy" in again and "--reload" not in again
    lone = tmp_path / "site" / "monitoring"
    shutil.copytree(stack.source(), lone)
    monkeypatch.setattr(stack, "source", lambda: lone)
    assert "docker build" not in provision(tmp_path / "of-a-wheel").stdout


# ---- for a stack of one's own -----------------------------------------------------------------------------------


def test_rules_alone_and_the_lines_for_prometheus(folder: Path, tmp_path: Path) -> None:
    found = told(folder, "--only", "rules", "--public-url", "https://ah.example.org:8443/heal")
    assert sorted(contents(folder)) == sorted([*stack.RULES, ".autoheal-provision.json"])
    config = tmp_path / "prometheus.yml"
    config.write_text(found["lines"]["rules"])
    assert check(needs("promtool", "prometheus"), "check", "config", config).count("rules found") == 2
    (job,) = yaml.safe_load(config.read_text())["scrape_configs"]
    assert job["job_name"] == "autoheal" and job["scheme"] == "https" and job["metrics_path"] == "/heal/metrics"
    assert job["static_configs"] == [{"targets": ["ah.example.org:8443"]}]


def test_the_receiver_alone_and_the_lines_for_alertmanager(folder: Path, tmp_path: Path) -> None:
    found = told(folder, "--only", "receiver", "--public-url", "https://ah.example.org")
    lines = yaml.safe_load(found["lines"]["receiver"])
    lines["route"]["receiver"] = "autoheal-notify"
    lines["receivers"] += [{"name": "autoheal-notify"}, {"name": ROOT}]
    config = tmp_path / "alertmanager.yml"
    config.write_text(yaml.safe_dump(lines))
    amtool = needs("amtool", "prometheus-alertmanager")
    for alertname, receivers in (("DiskFull", f"autoheal,{ROOT}"), ("AutohealEscalation", "autoheal-notify")):
        routes = ("config", "routes", "test", f"--config.file={config}", f"--verify.receivers={receivers}")
        check(amtool, *routes, f"alertname={alertname}")
    assert "2 templates" in check(needs("amtool", "prometheus-alertmanager"), "check-config", config)
    (webhook,) = lines["receivers"][0]["webhook_configs"]
    assert webhook["url"] == "https://ah.example.org/alert" and webhook["send_resolved"] is True
    credentials = Path(webhook["http_config"]["authorization"]["credentials_file"])
    assert len(credentials.read_text()) > 40
    assert '{{ define "autoheal.url" }}https://ah.example.org{{ end }}' in (folder / "autoheal-url.tmpl").read_text()


def test_dashboards_and_tokens_alone(folder: Path) -> None:
    found = told(folder, "--only", "dashboards", "--only", "tokens")
    assert not (folder / "docker-compose.yml").exists()
    (provider,) = yaml.safe_load(found["lines"]["dashboards"])["providers"]
    assert (Path(provider["options"]["path"]) / "autoheal.json").is_file()
    environ = provision_env.values(found["lines"]["tokens"])
    assert Settings.from_env({**environ, "AUTOHEAL_HOST": "0.0.0.0"}).exposed() == []


def slack_app(folder: Path, *more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest that was printed, and what else was told; the file holds the same."""
    found = told(folder, "--only", "slack", *more)
    assert (folder / FILE).read_text() == found["lines"]["slack"]
    return yaml.safe_load(found["lines"]["slack"]), found


def test_the_manifest_of_a_slack_app(folder: Path) -> None:
    app, found = slack_app(folder, "--public-url", "https://ah.example.org/heal/")
    assert sorted(contents(folder)) == [".autoheal-provision.json", FILE]
    [command] = app["features"]["slash_commands"]
    address = "https://ah.example.org/heal/slack/interactive"
    assert (command["command"], command["url"]) == ("/autoheal", address)
    assert app["settings"]["interactivity"] == {"is_enabled": True, "request_url": address}
    wanted = "chat:write chat:write.public channels:read channels:history channels:join groups:read groups:history"
    assert app["oauth_config"]["scopes"]["bot"] == [*wanted.split(), "commands"]
    assert app["features"]["bot_user"] == {"display_name": "autoheal", "always_online": True}
    steps = " ".join(found["todo"])
    assert all(part in steps for part in ("api.slack.com/apps", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "/invite"))
    done = provision(folder, "--only", "slack", "--public-url", "https://ah.example.org/heal")
    assert "nothing to do" in done.stdout and "1. https://api.slack.com/apps" in done.stdout


@pytest.mark.parametrize("url", ["http://ah.example.org", "https://localhost:9009", "https://127.0.0.1"])
def test_without_an_address_that_slack_can_reach_there_is_nothing_to_click(folder: Path, url: str) -> None:
    app, found = slack_app(folder, "--public-url", url)
    assert "slash_commands" not in app["features"] and app["settings"]["interactivity"] == {"is_enabled": False}
    assert "commands" not in app["oauth_config"]["scopes"]["bot"] and len(app["oauth_config"]["scopes"]["bot"]) == 7
    assert url not in str(app) and any(url in step and "links" in step for step in found["todo"])


def test_the_manifest_is_within_slacks_bounds(folder: Path) -> None:
    """As Slack's reference has them, where longer names and other characters are refused."""
    app, _ = slack_app(folder, "--public-url", "https://ah.example.org")
    shown, bot = app["display_information"], app["features"]["bot_user"]["display_name"]
    assert len(shown["name"]) <= 35 and len(shown["description"]) <= 140
    assert re.fullmatch("#[0-9a-f]{6}", shown["background_color"]) and re.fullmatch("[a-z0-9._-]{1,80}", bot)
    [command] = app["features"]["slash_commands"]
    assert re.fullmatch("/[a-z-]{1,31}", command["command"])
    assert set(command) == {"command", "url", "description", "usage_hint", "should_escape"}
    assert set(app) == {"display_information", "features", "oauth_config", "settings"}


def test_the_app_asks_for_what_is_called_and_no_more(folder: Path) -> None:
    """Each method that the client calls needs a scope of the manifest, and each scope is of use."""
    calls = {
        "chat.postMessage": {"chat:write", "chat:write.public"},
        "chat.update": {"chat:write"},
        "chat.delete": {"chat:write"},
        "chat.postEphemeral": {"chat:write"},
        "chat.getPermalink": set(),
        "conversations.history": {"channels:history", "groups:history"},
        "conversations.replies": {"channels:history", "groups:history"},
        "conversations.list": {"channels:read", "groups:read"},
        "conversations.info": {"channels:read", "groups:read"},
        "conversations.join": {"channels:join"},
        "auth.test": set(),
        "users.info": None,
        "views.open": set(),
    }
    source = (Path(slack_client.__file__)).read_text()
    assert set(re.findall(r'self\.call\("([\w.]+)"', source)) <= set(calls)
    used = {scope for scopes in calls.values() if scopes for scope in scopes}
    assert set(SCOPES) == used | {"commands"}
    threader = "".join(path.read_text() for path in (Path(slack_client.__file__).parents[1] / "threader").glob("*.py"))
    assert "users_info" not in threader, "it would need users:read"


def test_beside_the_shipped_stack_the_secrets_have_their_places(folder: Path) -> None:
    provision(folder, "--public-url", "https://ah.example.org")
    done = provision(folder, "--only", "slack")
    flat = done.stdout.replace("\n", "")
    assert "secrets/slack_bot_token" in flat and "docker-compose.slack.yml up -d" in flat
    assert "https://ah.example.org/slack/interactive" in (folder / FILE).read_text(), "the address of .env"
    assert told(folder)["no_longer_shipped"] == []


# ---- starting and reloading -------------------------------------------------------------------------------------


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker that notes how it is called; the file `fails` lets `up` fail, `plain` takes the compose plugin away."""
    place = tmp_path / "bin"
    place.mkdir()
    script = f'#!/bin/sh\necho "$@" >> {place}/asked\n[ "$2" = version ] && [ -e {place}/plain ] && exit 1\n'
    script += f'[ "$2" != version ] && [ -e {place}/fails ] && exit 5\nexit 0\n'
    (place / "docker").write_text(script)
    (place / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    return place


def test_start_runs_compose_in_the_folder(folder: Path, docker: Path) -> None:
    assert "started" in provision(folder, "--start").stdout
    assert told(folder, "--start", "--prod")["started"] is True
    _, first, _, second = (docker / "asked").read_text().splitlines()
    assert first == f"compose --project-directory {folder} --file {folder}/docker-compose.yml up --detach"
    assert second.endswith(f"--file {folder}/docker-compose.prod.yml up --detach")


@pytest.mark.parametrize(("trouble", "said"), [("fails", "ended with 5"), ("plain", "knows no `docker compose`")])
def test_a_start_that_fails_is_out_of_reach_and_the_files_are_there(
    folder: Path, docker: Path, trouble: str, said: str
) -> None:
    (docker / trouble).touch()
    assert said in provision(folder, "--start", code=3).stderr
    assert (folder / "docker-compose.yml").is_file()


def test_no_docker_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "no docker here" in provision(folder, "--start", code=3).stderr


def test_reload_asks_both(folder: Path, stage: Stage) -> None:
    stage.routes["POST /p/-/reload"] = stage.routes["POST /a/-/reload"] = {}
    urls = ("--prometheus-url", f"{stage.url}/p", "--alertmanager-url", f"{stage.url}/a")
    assert provision(folder, "--reload", *urls).stdout.count("reloaded") == 2
    assert stage.url not in (folder / ".env").read_text() + (folder / "client.env").read_text()
    assert told(folder, "--reload", *urls)["reloaded"] == [f"{stage.url}/p", f"{stage.url}/a"]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [(refusing(403, "Lifecycle API is not enabled."), 1, "SIGHUP"), (refusing(500, "bad rule"), 1, "bad rule")],
)
def test_a_reload_that_is_refused(folder: Path, stage: Stage, answer: Any, code: int, said: str) -> None:
    stage.routes["POST /-/reload"] = answer
    assert said in provision(folder, "--reload", "--prometheus-url", stage.url, code=code).stderr


def test_a_reload_of_nobody(folder: Path) -> None:
    provision(folder, "--reload", "--prometheus-url", "http://127.0.0.1:1", code=3)
    assert "which?" in provision(folder, "--reload", code=2).stderr
