"""The environment: every variable, its default, its mistakes; secrets that do not show."""

from __future__ import annotations

import pickle
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.config.mistakes import SettingsErrors
from autoheal.config.secrets import SECRET_NAMES, Secret
from autoheal.config.settings import Settings


def mistakes(**environ: str) -> list[str]:
    with pytest.raises(SettingsErrors) as caught:
        Settings.from_env(environ)
    assert str(caught.value) == "\n".join(caught.value.mistakes)
    return list(caught.value.mistakes)


def test_defaults_are_those_of_the_contract() -> None:
    found = Settings.from_env({"PATH": "/bin", "HOME": "/", "PORT": "nonsense"})
    assert (found.enabled, found.dry_run) == (False, True)
    assert (found.data_dir, found.audit_path, found.policy_file) == (Path("data"), Path("data/audit.jsonl"), None)
    assert (found.default_cooldown, found.stale_after) == (600.0, 14700.0)
    assert (found.cooldown_tcp_down, found.cooldown_uptime_fail, found.cooldown_scrape_stale) == (600.0, 600.0, 600.0)
    assert (found.alertmanager_urls, found.prometheus_url) == ((), None)
    assert (found.host, found.port, found.public_url) == ("127.0.0.1", 9009, "http://localhost:9009")
    assert (found.webhook_token, found.admin_token, found.secret_key, found.allow_insecure) == (None, None, None, False)
    assert (found.oidc_enabled, found.oidc_issuer, found.oidc_roles_claim) == (False, None, "roles")
    assert (found.cors_enabled, found.cors_origins) == (False, ())
    assert (found.rate_limit_enabled, found.rate_limit_requests, found.rate_limit_window) == (False, 100, 60.0)
    assert (found.slack_api_url, found.threader_port) == ("https://slack.com/api/", 9009)
    assert (found.database_url, found.redis_url, found.vault_addr, found.vault_token) == (None, None, None, None)
    assert (found.log_level, found.log_format, found.otel_endpoint) == ("INFO", "auto", None)
    assert (found.heartbeat, found.audit_segment_bytes, found.drain) == (60.0, 64 * 1024 * 1024, 25.0)
    assert (found.broker_down, found.retention, found.database_pool) == ("wait", None, 4)
    assert (found.worker_queues, found.worker_concurrency, found.worker_port) == (("autoheal",), 4, 9010)
    assert found.copies
    assert found == Settings()


CONTRACT = """
AUTOHEAL_ENABLED AUTOHEAL_DRY_RUN AUTOHEAL_DATA_DIR AUTOHEAL_AUDIT_PATH AUTOHEAL_POLICY_FILE
AUTOHEAL_DEFAULT_COOLDOWN_SEC AUTOHEAL_STALE_AFTER COOLDOWN_TCP_DOWN_SEC COOLDOWN_UPTIME_FAIL_SEC
COOLDOWN_SCRAPE_STALE_SEC ALERTMANAGER_URL PROMETHEUS_URL AUTOHEAL_PUBLIC_URL AUTOHEAL_HOST AUTOHEAL_PORT
AUTOHEAL_WEBHOOK_TOKEN AUTOHEAL_ADMIN_TOKEN AUTOHEAL_ALLOW_INSECURE SECRET_KEY AUTOHEAL_OIDC_ENABLED OIDC_ISSUER
OIDC_AUDIENCE OIDC_CLIENT_ID OIDC_CLIENT_SECRET OIDC_ROLES_CLAIM AUTOHEAL_CORS_ENABLED AUTOHEAL_CORS_ORIGINS
AUTOHEAL_RATE_LIMIT_ENABLED AUTOHEAL_RATE_LIMIT_REQUESTS AUTOHEAL_RATE_LIMIT_WINDOW SLACK_WEBHOOK_URL SLACK_BOT_TOKEN
SLACK_SIGNING_SECRET SLACK_API_URL THREADER_PORT DATABASE_URL REDIS_URL VAULT_ADDR VAULT_TOKEN LOG_LEVEL LOG_FORMAT
OTEL_EXPORTER_OTLP_ENDPOINT AUTOHEAL_BROKER_DOWN AUTOHEAL_RETENTION AUTOHEAL_WORKER_QUEUES AUTOHEAL_WORKER_CONCURRENCY
AUTOHEAL_WORKER_PORT AUTOHEAL_DATABASE_POOL
""".split()


def test_every_variable_of_the_contract_is_read() -> None:
    assert set(CONTRACT) <= set(Settings.NAMES)
    assert len(set(Settings.NAMES)) == len(Settings.NAMES)


READ: list[tuple[str, str, str, Any]] = [
    ("AUTOHEAL_ENABLED", "true", "enabled", True),
    ("AUTOHEAL_ENABLED", " ON ", "enabled", True),
    ("AUTOHEAL_DRY_RUN", "0", "dry_run", False),
    ("AUTOHEAL_DRY_RUN", "No", "dry_run", False),
    ("AUTOHEAL_DRY_RUN", "", "dry_run", True),
    ("AUTOHEAL_DATA_DIR", "/data", "audit_path", Path("/data/audit.jsonl")),
    ("AUTOHEAL_AUDIT_PATH", "/var/log/a.jsonl", "audit_path", Path("/var/log/a.jsonl")),
    ("AUTOHEAL_POLICY_FILE", "/etc/p.yaml", "policy_file", Path("/etc/p.yaml")),
    ("AUTOHEAL_DEFAULT_COOLDOWN_SEC", "90", "default_cooldown", 90.0),
    ("AUTOHEAL_STALE_AFTER", "1h", "stale_after", 3600.0),
    ("AUTOHEAL_STALE_AFTER", "120", "stale_after", 120.0),
    ("ALERTMANAGER_URL", "http://a:9093/, https://b/am/", "alertmanager_urls", ("http://a:9093", "https://b/am")),
    ("ALERTMANAGER_URL", "http://a,http://a/", "alertmanager_urls", ("http://a",)),
    ("PROMETHEUS_URL", "http://[::1]:9090/", "prometheus_url", "http://[::1]:9090"),
    ("AUTOHEAL_HOST", "0.0.0.0", "host", "0.0.0.0"),
    ("AUTOHEAL_HOST", "::1", "host", "::1"),
    ("AUTOHEAL_PORT", "8080", "port", 8080),
    (
        "AUTOHEAL_CORS_ORIGINS",
        "https://a.example,http://b:8080",
        "cors_origins",
        ("https://a.example", "http://b:8080"),
    ),
    ("LOG_LEVEL", "warn", "log_level", "WARNING"),
    ("LOG_FORMAT", "JSON", "log_format", "json"),
    ("AUTOHEAL_HEARTBEAT_SEC", "0.5", "heartbeat", 0.5),
    ("OIDC_ISSUER", "https://id.example/realm/", "oidc_issuer", "https://id.example/realm/"),
    ("DOCKER_HOST", "unix:///var/run/docker.sock", "docker_host", "unix:///var/run/docker.sock"),
    ("AUTOHEAL_BROKER_DOWN", "RUN", "broker_down", "run"),
    ("AUTOHEAL_RETENTION", "90d", "retention", 90 * 86400.0),
    ("AUTOHEAL_WORKER_QUEUES", "eu, host-1.db_2,eu", "worker_queues", ("eu", "host-1.db_2")),
    ("AUTOHEAL_WORKER_CONCURRENCY", "256", "worker_concurrency", 256),
    ("AUTOHEAL_WORKER_PORT", "0", "worker_port", 0),
    ("AUTOHEAL_DATABASE_POOL", "50", "database_pool", 50),
    ("THREADER_PORT", "9011", "threader_port", 9011),
    ("PORT", " 9012 ", "threader_port", 9012),
    ("SLACK_API_URL", "http://slack:8080/api/", "slack_api_url", "http://slack:8080/api/"),
]


@pytest.mark.parametrize(("name", "text", "field", "value"), READ)
def test_read(name: str, text: str, field: str, value: object) -> None:
    assert getattr(Settings.from_env({name: text}), field) == value


WRONG: list[tuple[str, str, str]] = [
    ("AUTOHEAL_DRY_RUN", "maybe", "AUTOHEAL_DRY_RUN: expected true or false, got 'maybe'"),
    ("AUTOHEAL_PORT", "0", "AUTOHEAL_PORT: 0 is not between 1 and 65535"),
    ("AUTOHEAL_PORT", "http", "AUTOHEAL_PORT: expected a whole number, got 'http'"),
    (
        "AUTOHEAL_HOST",
        "localhost:9009",
        "AUTOHEAL_HOST: expected an address such as 0.0.0.0 or a name, got 'localhost:9009'",
    ),
    ("AUTOHEAL_HOST", "300.0.0.1", "AUTOHEAL_HOST: expected an address such as 0.0.0.0 or a name, got '300.0.0.1'"),
    (
        "AUTOHEAL_DEFAULT_COOLDOWN_SEC",
        "10m",
        "AUTOHEAL_DEFAULT_COOLDOWN_SEC: expected a number of seconds, such as 600, got '10m'",
    ),
    ("COOLDOWN_TCP_DOWN_SEC", "5", "COOLDOWN_TCP_DOWN_SEC: 5 is not between 30 and 3.16224e+07 seconds"),
    ("AUTOHEAL_STALE_AFTER", "soon", "AUTOHEAL_STALE_AFTER: 'soon' is no duration; write it as 90s, 10m, 4h5m or 1d"),
    ("AUTOHEAL_STALE_AFTER", "5s", "AUTOHEAL_STALE_AFTER: 5s is less than 1m"),
    ("ALERTMANAGER_URL", "alertmanager:9093", "ALERTMANAGER_URL: expected an http:// or https:// URL"),
    ("ALERTMANAGER_URL", "http://a,,http://b", "ALERTMANAGER_URL: there is an empty place between commas"),
    ("ALERTMANAGER_URL", "http://a:99999", "ALERTMANAGER_URL: expected an http:// or https:// URL"),
    (
        "PROMETHEUS_URL",
        "http://me:hush@p:9090",
        "PROMETHEUS_URL: a URL with a name or password in it would show in logs and in the trail",
    ),
    ("PROMETHEUS_URL", "http://p/?x=1", "PROMETHEUS_URL: a URL without ? and # is needed"),
    ("AUTOHEAL_CORS_ORIGINS", "https://a/b", "AUTOHEAL_CORS_ORIGINS: https://a/b is no origin: it has a path"),
    ("LOG_LEVEL", "loud", "LOG_LEVEL: expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL, got 'loud'"),
    ("LOG_FORMAT", "xml", "LOG_FORMAT: expected one of auto, json, console, got 'xml'"),
    ("AUTOHEAL_PROT", "1", 'AUTOHEAL_PROT: unknown variable (did you mean "AUTOHEAL_PORT"?)'),
    ("AUTOHEAL_DATABASE_URL", "x", 'AUTOHEAL_DATABASE_URL: unknown variable (did you mean "DATABASE_URL"?)'),
    ("AUTOHEAL_DATABSE_URL", "x", 'AUTOHEAL_DATABSE_URL: unknown variable (did you mean "DATABASE_URL"?)'),
    ("AUTOHEAL_REDIS_URL", "x", 'AUTOHEAL_REDIS_URL: unknown variable (did you mean "REDIS_URL"?)'),
    ("AUTOHEAL_REDIS_URL_FILE", "x", 'AUTOHEAL_REDIS_URL_FILE: unknown variable (did you mean "REDIS_URL_FILE"?)'),
    ("AUTOHEAL_DATABASE_POL", "x", 'AUTOHEAL_DATABASE_POL: unknown variable (did you mean "AUTOHEAL_DATABASE_POOL"?)'),
    ("AUTOHEAL_DRYRUN", "1", 'AUTOHEAL_DRYRUN: unknown variable (did you mean "AUTOHEAL_DRY_RUN"?)'),
    (
        "AUTOHEAL_ADMIN_TOKEN_FIEL",
        "x",
        'AUTOHEAL_ADMIN_TOKEN_FIEL: unknown variable (did you mean "AUTOHEAL_ADMIN_TOKEN_FILE"?)',
    ),
    ("AUTOHEAL_CORS_ENABLED", "1", "AUTOHEAL_CORS_ORIGINS: needed because AUTOHEAL_CORS_ENABLED is true"),
    ("AUTOHEAL_BROKER_DOWN", "retry", "AUTOHEAL_BROKER_DOWN: expected one of wait, run, got 'retry'"),
    ("AUTOHEAL_RETENTION", "12h", "AUTOHEAL_RETENTION: 12h is less than 1d"),
    ("AUTOHEAL_RETENTION", "90", "AUTOHEAL_RETENTION: 90 is less than 1d"),
    (
        "AUTOHEAL_WORKER_QUEUES",
        "eu,,us",
        "AUTOHEAL_WORKER_QUEUES: '' is no name of a queue: 1 to 64 of a-z 0-9 _ . - (commas between names)",
    ),
    (
        "AUTOHEAL_WORKER_QUEUES",
        "EU",
        "AUTOHEAL_WORKER_QUEUES: 'EU' is no name of a queue: 1 to 64 of a-z 0-9 _ . - (commas between names)",
    ),
    ("AUTOHEAL_WORKER_CONCURRENCY", "257", "AUTOHEAL_WORKER_CONCURRENCY: 257 is not between 1 and 256"),
    ("AUTOHEAL_WORKER_PORT", "65536", "AUTOHEAL_WORKER_PORT: 65536 is not between 0 and 65535"),
    ("AUTOHEAL_DATABASE_POOL", "0", "AUTOHEAL_DATABASE_POOL: 0 is not between 1 and 50"),
    ("DATABASE_URL", "mysql://u:hush@h/db", "DATABASE_URL: expected postgresql://USER:PASSWORD@HOST:5432/NAME"),
    ("THREADER_PORT", "70000", "THREADER_PORT: 70000 is not between 1 and 65535"),
    ("SLACK_API_URL", "slack.com/api", "SLACK_API_URL: expected an http:// or https:// URL"),
    ("SLACK_BOT_TOKEN", "hush", "SLACK_BOT_TOKEN: expected a bot token, which begins with xoxb-"),
    ("SLACK_WEBHOOK_URL", "hooks.slack.com/services/T/B/X", "SLACK_WEBHOOK_URL: expected an https:// URL"),
    ("AUTOHEAL_SLACK_BOT_TOKEN", "x", 'AUTOHEAL_SLACK_BOT_TOKEN: unknown variable (did you mean "SLACK_BOT_TOKEN"?)'),
    ("AUTOHEAL_THREADER_PORT", "1", 'AUTOHEAL_THREADER_PORT: unknown variable (did you mean "THREADER_PORT"?)'),
]


@pytest.mark.parametrize(("name", "text", "said"), WRONG)
def test_wrong(name: str, text: str, said: str) -> None:
    assert mistakes(**{name: text}) == [said]


def test_all_mistakes_at_once() -> None:
    wrong = {name: text for name, text, _ in WRONG} | {"AUTOHEAL_OIDC_ENABLED": "1"}
    needed = {"OIDC_ISSUER", "OIDC_AUDIENCE"}
    found = {line.partition(":")[0] for line in mistakes(**wrong)}
    assert found == (set(wrong) | needed) - {"AUTOHEAL_OIDC_ENABLED", "AUTOHEAL_CORS_ENABLED"}


# ---- Kubernetes -----------------------------------------------------------------------------------------------------

LINKS = {
    "AUTOHEAL_SERVICE_HOST": "10.0.0.1",
    "AUTOHEAL_SERVICE_PORT": "9009",
    "AUTOHEAL_SERVICE_PORT_HTTP": "9009",
    "AUTOHEAL_PORT": "tcp://10.0.0.1:9009",
    "AUTOHEAL_PORT_9009_TCP": "tcp://10.0.0.1:9009",
    "AUTOHEAL_PORT_9009_TCP_PROTO": "tcp",
    "AUTOHEAL_PORT_9009_TCP_PORT": "9009",
    "AUTOHEAL_PORT_9009_TCP_ADDR": "10.0.0.1",
    "AUTOHEAL_BOT_SERVICE_HOST": "10.0.0.2",
    "AUTOHEAL_BOT_PORT": "tcp://10.0.0.2:8080",
    "THREADER_PORT": "tcp://10.0.0.3:9009",
}


def test_service_links_are_one_mistake_that_names_them_and_the_remedy() -> None:
    found = mistakes(**LINKS)
    assert len(found) == 1
    assert all(name in found[0] for name in LINKS)
    assert "enableServiceLinks: false" in found[0]


def test_what_only_looks_like_one() -> None:
    assert mistakes(AUTOHEAL_PORT="9009x") == ["AUTOHEAL_PORT: expected a whole number, got '9009x'"]
    assert "unknown variable" in mistakes(AUTOHEAL_PORT_X="1")[0]


# ---- secrets --------------------------------------------------------------------------------------------------------


def test_secrets_come_from_the_variable_or_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(" from-file \n")
    found = Settings.from_env({"AUTOHEAL_ADMIN_TOKEN": "direct", "SECRET_KEY_FILE": str(path)})
    assert found.admin_token is not None and found.admin_token.reveal() == "direct"
    assert found.secret_key is not None and found.secret_key.reveal() == "from-file"


URLS = {
    "DATABASE_URL": "postgresql+psycopg://u:hush-hush@h/db",
    "REDIS_URL": "redis://:hush-hush@h:6379/0",
    "SLACK_BOT_TOKEN": "xoxb-hush-hush",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T/B/hush-hush",
}


@pytest.mark.parametrize("name", sorted(SECRET_NAMES))
def test_no_secret_shows(name: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    text = URLS.get(name, "hush-hush")
    path.write_text(text)
    beside = {"DATABASE_URL": "postgresql:///db"} if name == "REDIS_URL" else {}
    for environ in ({name: text, **beside}, {f"{name}_FILE": str(path), **beside}):
        found = Settings.from_env(environ)
        held = [value for value in (getattr(found, item.name) for item in fields(found)) if isinstance(value, Secret)]
        assert text in [one.reveal() for one in held] and len(held) == 1 + len(beside)
        assert "hush" not in f"{found!r} {found} {held} {held[-1]} {held[-1]!s:>20}"


def test_trouble_with_files(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_text("x" * 70_000)
    found = mistakes(
        SECRET_KEY_FILE=str(tmp_path / "missing"),
        VAULT_TOKEN_FILE=str(tmp_path / "empty"),
        REDIS_URL_FILE=str(tmp_path / "binary"),
        DATABASE_URL_FILE=str(tmp_path / "large"),
        AUTOHEAL_ADMIN_TOKEN="hush",
        AUTOHEAL_ADMIN_TOKEN_FILE="/hush",
    )
    assert sorted(found) == [
        f"DATABASE_URL_FILE: {tmp_path}/large is larger than 65536 bytes",
        f"REDIS_URL_FILE: {tmp_path}/binary is not UTF-8",
        f"SECRET_KEY_FILE: {tmp_path}/missing cannot be read: No such file or directory",
        f"VAULT_TOKEN_FILE: {tmp_path}/empty is empty",
        "both AUTOHEAL_ADMIN_TOKEN and AUTOHEAL_ADMIN_TOKEN_FILE are set; keep one",
    ]


def test_a_secret_is_compared_and_not_pickled() -> None:
    one = Secret("pässword")
    assert one.fits("pässword") and not one.fits("pässwort") and not one.fits("\ud800")
    assert one == Secret("pässword") and one != Secret("x") and one != "pässword"
    assert len({one, Secret("pässword")}) == 1
    with pytest.raises(TypeError):
        pickle.dumps(one)


# ---- who can reach us -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("h", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert Settings.from_env({"AUTOHEAL_HOST": host}).loopback is loopback


PUBLIC = "https://autoheal.example"


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, 2),
        ({"AUTOHEAL_ADMIN_TOKEN": "a" * 16}, 1),
        ({"AUTOHEAL_WEBHOOK_TOKEN": "w" * 16}, 1),
        ({"AUTOHEAL_WEBHOOK_TOKEN": "w" * 16, "AUTOHEAL_ADMIN_TOKEN": "a" * 16}, 0),
        ({"AUTOHEAL_WEBHOOK_TOKEN": "w" * 16, "AUTOHEAL_ADMIN_TOKEN": "a" * 15}, 1),
        ({"AUTOHEAL_WEBHOOK_TOKEN": "w", "AUTOHEAL_ADMIN_TOKEN": "a"}, 2),
        ({"AUTOHEAL_WEBHOOK_TOKEN": "w", "AUTOHEAL_ADMIN_TOKEN": "a", "AUTOHEAL_ALLOW_INSECURE": "1"}, 0),
        ({"AUTOHEAL_WEBHOOK_TOKEN": "w", "AUTOHEAL_ADMIN_TOKEN": "a", "AUTOHEAL_HOST": "::1"}, 0),
        (
            {
                "AUTOHEAL_WEBHOOK_TOKEN": "w" * 16,
                "AUTOHEAL_OIDC_ENABLED": "1",
                "OIDC_ISSUER": "https://i",
                "OIDC_AUDIENCE": "a",
            },
            1,
        ),
        ({"AUTOHEAL_ALLOW_INSECURE": "1"}, 0),
        ({"AUTOHEAL_HOST": "127.0.0.1"}, 0),
        ({"AUTOHEAL_HOST": "127.0.0.1", "AUTOHEAL_PUBLIC_URL": "http://[::1]:9009"}, 0),
        ({"AUTOHEAL_HOST": "127.0.0.1", "AUTOHEAL_PUBLIC_URL": PUBLIC}, 1),
        ({"AUTOHEAL_HOST": "127.0.0.1", "AUTOHEAL_PUBLIC_URL": PUBLIC, "AUTOHEAL_WEBHOOK_TOKEN": "w" * 16}, 1),
        ({"AUTOHEAL_HOST": "127.0.0.1", "AUTOHEAL_PUBLIC_URL": PUBLIC, "AUTOHEAL_ADMIN_TOKEN": "a"}, 0),
        ({"AUTOHEAL_HOST": "127.0.0.1", "AUTOHEAL_PUBLIC_URL": PUBLIC, "AUTOHEAL_ALLOW_INSECURE": "1"}, 0),
    ],
)
def test_exposed(environ: dict[str, str], missing: int) -> None:
    assert len(Settings.from_env({"AUTOHEAL_HOST": "0.0.0.0", **environ}).exposed()) == missing


def test_a_refusal_offers_only_what_works() -> None:
    said = Settings.from_env({"AUTOHEAL_HOST": "0.0.0.0"}).exposed()
    said += Settings.from_env({"AUTOHEAL_PUBLIC_URL": PUBLIC}).exposed()
    assert len(said) == 3 and "OIDC" not in str(said) and "AUTOHEAL_ALLOW_INSECURE" in said[-1]


def test_the_two_tokens_differ() -> None:
    with pytest.raises(SettingsErrors, match="AUTOHEAL_WEBHOOK_TOKEN: is AUTOHEAL_ADMIN_TOKEN") as error:
        Settings.from_env({"AUTOHEAL_ADMIN_TOKEN": "the-same-of-both", "AUTOHEAL_WEBHOOK_TOKEN": "the-same-of-both"})
    assert "the-same" not in str(error.value)


def test_what_this_version_cannot_do_is_said() -> None:
    oidc = {"AUTOHEAL_OIDC_ENABLED": "1", "OIDC_ISSUER": "https://i", "OIDC_AUDIENCE": "a"}
    cors = {"AUTOHEAL_CORS_ENABLED": "1", "AUTOHEAL_CORS_ORIGINS": "https://a"}
    rates = {"AUTOHEAL_RATE_LIMIT_ENABLED": "1"}
    found = [text.partition(":")[0] for text in Settings.from_env({**oidc, **cors, **rates}).not_yet()]
    assert found == [next(iter(one)) for one in (oidc, cors, rates)]
    assert Settings.from_env({}).not_yet() == []


def test_policy_defaults() -> None:
    found = Settings.from_env({"AUTOHEAL_DEFAULT_COOLDOWN_SEC": "77"}).policy_defaults
    assert (found.cooldown, found.timeout) == (77.0, 60.0)


@given(st.dictionaries(st.sampled_from(Settings.NAMES), st.text(st.characters(exclude_characters="\0"), max_size=20)))
def test_any_environment_is_settings_or_mistakes_that_name_a_variable(environ: dict[str, str]) -> None:
    try:
        Settings.from_env(environ)
    except SettingsErrors as error:
        assert error.mistakes
        assert all(re.match(r"(both )?[A-Z_]+", one) for one in error.mistakes)


def test_the_secrets_that_are_set_are_taken_out_of_a_text() -> None:
    settings = Settings.from_env({"AUTOHEAL_ADMIN_TOKEN": "tok-123456", "SECRET_KEY": "abc"})
    assert settings.mask("it printed tok-123456 twice: tok-123456, and abc") == "it printed *** twice: ***, and abc"


# ---- the database and the broker ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("postgresql://u:p@h:5432/db", "postgresql+psycopg://u:p@h:5432/db"),
        ("postgres://u:p%40x@h/db?sslmode=verify-full", "postgresql+psycopg://u:p%40x@h/db?sslmode=verify-full"),
        ("postgresql+psycopg://h/db", "postgresql+psycopg://h/db"),
        ("postgresql:///db?host=/run/postgresql", "postgresql+psycopg:///db?host=/run/postgresql"),
        ("postgresql://u@[::1]:5432/db", "postgresql+psycopg://u@[::1]:5432/db"),
    ],
)
def test_the_database_is_read_in_the_forms_that_people_have(given: str, read: str) -> None:
    found = Settings.from_env({"DATABASE_URL": given})
    assert found.database_url is not None and found.database_url.reveal() == read


@pytest.mark.parametrize(
    "given",
    [
        "hush-hush",
        "postgresql+asyncpg://u:hush-hush@h/db",
        "sqlite:///hush-hush",
        "postgresql://",
        "postgresql:///",
        "postgresql://u:hush#hush@h/db",
        "postgresql://u:hush/hush@h/db",
        "postgresql://u:hush@hush@h/db",
        "postgresql://u:hush hush@h/db",
        "postgresql://u:hush%00hush@h/db",
        "postgresql://u:hush@h:0/db",
        "postgresql://u:hush@h:port/db",
    ],
)
def test_what_is_no_database_is_told_without_showing_it(given: str) -> None:
    (said,) = mistakes(DATABASE_URL=given, REDIS_URL="redis://h")
    assert said.startswith("DATABASE_URL: expected postgresql://USER:PASSWORD@HOST:5432/NAME")
    assert "hush" not in said


@pytest.mark.parametrize(
    "given",
    ["redis://h", "redis://:p@h:6379/0", "rediss://u:p@h:6380/1?ssl_cert_reqs=required", "redis+socket:///run/r"],
)
def test_the_broker_is_read_as_celery_takes_it(given: str) -> None:
    found = Settings.from_env({"REDIS_URL": given, "DATABASE_URL": "postgresql:///db"})
    assert found.redis_url is not None and found.redis_url.reveal() == given


@pytest.mark.parametrize(
    "given",
    ["hush", "amqp://u:hush@h", "redis://", "redis://:hush@h/hush", "redis://:hush#@h", "redis+socket://hush/x"],
)
def test_what_is_no_broker_is_told_without_showing_it(given: str) -> None:
    (said,) = mistakes(REDIS_URL=given)
    assert said.startswith("REDIS_URL: expected redis://, rediss:// (TLS) or redis+socket:///PATH")
    assert "hush" not in said


def test_a_broker_without_a_database_is_a_contradiction_that_says_what_to_do() -> None:
    (said,) = mistakes(REDIS_URL="redis://h")
    assert said.startswith("REDIS_URL: needs DATABASE_URL too") and "unset REDIS_URL" in said


def test_beside_postgresql_the_copy_is_written_only_where_asked_for() -> None:
    def copies(**environ: str) -> bool:
        found = Settings.from_env(environ)
        assert replace(found, data_dir=Path("/elsewhere")).copies is found.copies
        return found.copies

    assert copies() and copies(AUTOHEAL_AUDIT_PATH="/a")
    assert not copies(DATABASE_URL="postgresql:///db")
    assert copies(DATABASE_URL="postgresql:///db", AUTOHEAL_AUDIT_PATH="data/audit.jsonl")
    assert not copies(DATABASE_URL="postgresql:///db", AUTOHEAL_AUDIT_PATH=" ")


def test_the_passwords_in_urls_are_taken_out_of_a_text_however_they_are_written() -> None:
    settings = Settings.from_env(
        {"DATABASE_URL": "postgres://u:hush%40hush@h/db?password=sesame-open", "REDIS_URL": "redis://:quiet-now@h/0"}
    )
    told = "hush%40hush hush@hush sesame-open quiet-now postgresql+psycopg://u:hush%40hush@h/db?password=sesame-open"
    assert settings.mask(told) == "*** *** *** *** ***"
    assert settings.mask("postgres://u:hush%40hush@h") == "postgres://u:***@h"


# ---- a slip of the hand that would begin a ledger of its own ------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["DATABSE_URL", "DATABASE_URI", "DATABASEURL", "database_url", "DATABASE_ULR", "DATABASE_URLS"]
)
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "POSTGRESQL"])
def test_a_slip_of_the_database_s_variable_is_no_start_on_sqlite(name: str, scheme: str) -> None:
    (told,) = mistakes(**{name: f"{scheme}://u:hush-hush@h/n"})
    assert told == f'{name}: unknown variable (did you mean "DATABASE_URL"?)'


@pytest.mark.parametrize("name", ["REDIS_URI", "REDIS_ULR", "REDISURL", "REDI_URL"])
def test_a_slip_of_the_broker_s_variable_is_told(name: str) -> None:
    assert mistakes(**{name: "rediss://h/0"}) == [f'{name}: unknown variable (did you mean "REDIS_URL"?)']


@pytest.mark.parametrize(
    "environ",
    [
        {"DATABSE_URL": "mysql://h/n"},
        {"DATABSE_URL": "postgres"},
        {"DATABSE_URL": "redis://h/0"},
        {"POSTGRES_URL": "postgresql://h/n"},
        {"TEST_DATABASE_URL": "postgresql://h/n"},
        {"DATABASE_URL_TEST": "postgresql://h/n"},
        {"DATABSE_URL": "postgresql://h/n", "DATABASE_URL": "postgresql://other/n"},
        {"DATABSE_URL": "postgresql://h/n", "DATABASE_URL": ""},
    ],
)
def test_what_is_no_slip_is_ignored(environ: dict[str, str]) -> None:
    Settings.from_env(environ)


# ---- Slack and the threader -----------------------------------------------------------------------------------------

WEBHOOK = "https://hooks.slack.com/services/T0/B0/hush-hush"


@pytest.mark.parametrize(
    ("environ", "port"),
    [
        ({}, 9009),
        ({"PORT": "9012"}, 9012),
        ({"PORT": ""}, 9009),
        ({"PORT": "9012", "THREADER_PORT": "9011"}, 9011),
        ({"PORT": "9012", "THREADER_PORT": " "}, 9012),
        ({"PORT": "nonsense", "THREADER_PORT": "9011"}, 9011),
        ({"PORT": "nonsense"}, 9009),
    ],
)
def test_the_port_of_an_instance(environ: dict[str, str], port: int) -> None:
    assert Settings.from_env(environ).threader_port == port


@pytest.mark.parametrize(
    ("port", "told"),
    [
        ("nonsense", "PORT: expected a whole number, got 'nonsense'"),
        ("0", "PORT: 0 is not between 1 and 65535"),
        ("tcp://10.0.0.1:80", "PORT: expected a whole number, got 'tcp://10.0.0.1:80'"),
    ],
)
def test_a_port_that_is_none_stops_the_threader_and_nobody_else(port: str, told: str) -> None:
    found = Settings.from_env({"PORT": port})
    assert (found.exposed(), found.threader_exposed()) == ([], [told])
    assert Settings.from_env({"PORT": port, "AUTOHEAL_ALLOW_INSECURE": "1"}).threader_exposed() == [told]
    assert Settings.from_env({"PORT": port, "THREADER_PORT": "9011"}).threader_exposed() == []


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, []),
        ({"AUTOHEAL_PUBLIC_URL": PUBLIC}, []),
        ({"AUTOHEAL_HOST": "0.0.0.0", "AUTOHEAL_WEBHOOK_TOKEN": "w" * 16}, []),
        ({"AUTOHEAL_HOST": "0.0.0.0", "AUTOHEAL_WEBHOOK_TOKEN": "w" * 16, "AUTOHEAL_ADMIN_TOKEN": "a"}, []),
        ({"AUTOHEAL_HOST": "0.0.0.0", "AUTOHEAL_ALLOW_INSECURE": "1"}, []),
        ({"AUTOHEAL_HOST": "0.0.0.0"}, ["AUTOHEAL_WEBHOOK_TOKEN: needed to listen off loopback"]),
        (
            {"AUTOHEAL_HOST": "::", "AUTOHEAL_WEBHOOK_TOKEN": "hush"},
            ["AUTOHEAL_WEBHOOK_TOKEN: needs 16 characters to listen off loopback"],
        ),
    ],
)
def test_what_the_threader_needs_to_listen(environ: dict[str, str], told: list[str]) -> None:
    assert Settings.from_env(environ).threader_exposed() == told


@pytest.mark.parametrize(
    ("environ", "configured"),
    [
        ({}, False),
        ({"SLACK_SIGNING_SECRET": "s"}, False),
        ({"SLACK_BOT_TOKEN": "xoxb-1-2-a"}, True),
        ({"SLACK_WEBHOOK_URL": WEBHOOK}, True),
        ({"SLACK_BOT_TOKEN": "xoxb-1-2-a", "SLACK_WEBHOOK_URL": WEBHOOK, "SLACK_SIGNING_SECRET": "s"}, True),
    ],
)
def test_whether_anything_can_be_posted(environ: dict[str, str], configured: bool) -> None:
    assert Settings.from_env(environ).slack_configured is configured


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("xoxp-hush-hush", ", not a user's token"),
        ("xapp-1-hush-hush", ", not an app-level token"),
        ("xoxe.xoxb-1-hush", ", not a token that expires; switch token rotation off in the app"),
        ("xoxb-", ""),
        ("xoxb-hush hush", ""),
        ("XOXB-hush", ""),
        ("Bearer xoxb-hush", ""),
        ("xoxb-" + "hush" * 200, ""),
        ("xoxb-hush\nX: y", ""),
        (WEBHOOK, ""),
    ],
)
def test_what_is_no_bot_token_is_told_without_showing_it(given: str, kind: str) -> None:
    (said,) = mistakes(SLACK_BOT_TOKEN=given)
    assert said == f"SLACK_BOT_TOKEN: expected a bot token, which begins with xoxb-{kind}"


@pytest.mark.parametrize(
    "given",
    [
        WEBHOOK,
        "https://chat.example/hooks/abc",
        "http://127.0.0.1:8080/services/T/B/X",
        "http://[::1]:8080/services/T/B/X",
        "http://localhost/services/T/B/X",
    ],
)
def test_incoming_webhooks(given: str) -> None:
    found = Settings.from_env({"SLACK_WEBHOOK_URL": f"{given}\r", "SLACK_BOT_TOKEN": " xoxb-1-a "})
    assert found.slack_webhook_url == Secret(given)
    assert found.slack_bot_token == Secret("xoxb-1-a")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("http://hooks.slack.com/services/T/B/hush", "expected an https:// URL: whoever reads this one can post"),
        ("http://10.0.0.1/services/T/B/hush", "expected an https:// URL: whoever reads this one can post"),
        ("http://127.0.0.1.example/T/B/hush", "expected an https:// URL: whoever reads this one can post"),
        ("https://hooks.slack.com", "the URL has no path, such as /services/T…/B…/…; copy all of it"),
        ("https://hooks.slack.com/", "the URL has no path, such as /services/T…/B…/…; copy all of it"),
        ("https://u:hush@h/x", "a URL with a name or password in it would show in logs and in the trail"),
        ("https://h/x?hush=1", "a URL without ? and # is needed"),
        ("https://h/hu sh", "expected an https:// URL"),
        ("ftp://h/hush", "expected an https:// URL"),
        ("xoxb-hush", "expected an https:// URL, not a token; a bot's goes into SLACK_BOT_TOKEN"),
    ],
)
def test_what_is_no_incoming_webhook_is_told_without_showing_it(given: str, told: str) -> None:
    assert mistakes(SLACK_WEBHOOK_URL=given) == [f"SLACK_WEBHOOK_URL: {told}"]
    assert "hush" not in told


def test_what_is_secret_about_slack_is_taken_out_of_a_text() -> None:
    settings = Settings.from_env({"SLACK_BOT_TOKEN": "xoxb-hush-hush", "SLACK_WEBHOOK_URL": WEBHOOK})
    told = f"POST {WEBHOOK} with xoxb-hush-hush, and /services/T0/B0/hush-hush moved"
    assert settings.mask(told) == "POST *** with ***, and /*** moved"
