"""The environment, read once into frozen settings; every mistake at once, each naming its variable."""

# ruff: noqa: RUF009 - `variable` and `secret` are dataclasses.field with a name and a reader

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import urlsplit

from autoheal.config import variables as read
from autoheal.config.mistakes import SettingsErrors, did_you_mean, is_slip_of
from autoheal.config.rules import Defaults
from autoheal.config.secrets import SECRET_NAMES, Secret, secret_text
from autoheal.core.errors import Invalid

T = TypeVar("T")


def variable(name: str, parse: Callable[[str], T], default: T) -> T:
    """A field of the settings that is read from the variable `name`; an empty variable counts as not set."""
    found: T = field(default=default, metadata={"variable": name, "parse": parse})
    return found


def secret(name: str, parse: Callable[[str], Secret] = Secret) -> Secret | None:
    """A field that is read from the secret `name`, or from the file that ``NAME_FILE`` names."""
    assert name in SECRET_NAMES
    return variable(name, parse, None)


MIN_TOKEN = 16
"""Characters of a token that others can try to guess."""
MIN_MASKED = 6
"""Characters from which a secret is taken out of texts; a shorter one would tear words apart."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the environment says. Times are seconds; URLs have no slash at the end."""

    # mode
    enabled: bool = variable("AUTOHEAL_ENABLED", read.boolean, False)
    dry_run: bool = variable("AUTOHEAL_DRY_RUN", read.boolean, True)
    # what is kept where
    data_dir: Path = variable("AUTOHEAL_DATA_DIR", Path, Path("./data"))
    audit_path: Path = variable("AUTOHEAL_AUDIT_PATH", Path, Path())
    audit_segment_bytes: int = variable("AUTOHEAL_AUDIT_SEGMENT_BYTES", read.whole(4096, 2**40), 64 * 1024 * 1024)
    database_url: Secret | None = secret("DATABASE_URL", read.database_url)
    database_pool: int = variable("AUTOHEAL_DATABASE_POOL", read.whole(1, 50), 4)
    retention: float | None = variable("AUTOHEAL_RETENTION", read.duration(86400.0), None)
    # who acts: this process, or workers
    redis_url: Secret | None = secret("REDIS_URL", read.redis_url)
    broker_down: str = variable("AUTOHEAL_BROKER_DOWN", read.choice("wait", "run"), "wait")
    worker_queues: tuple[str, ...] = variable("AUTOHEAL_WORKER_QUEUES", read.queues, ("autoheal",))
    worker_concurrency: int = variable("AUTOHEAL_WORKER_CONCURRENCY", read.whole(1, 256), 4)
    worker_port: int = variable("AUTOHEAL_WORKER_PORT", read.whole(0, 65535), 9010)
    # policy
    policy_file: Path | None = variable("AUTOHEAL_POLICY_FILE", Path, None)
    default_cooldown: float = variable("AUTOHEAL_DEFAULT_COOLDOWN_SEC", read.cooldown, 600.0)
    cooldown_tcp_down: float = variable("COOLDOWN_TCP_DOWN_SEC", read.cooldown, 600.0)
    cooldown_uptime_fail: float = variable("COOLDOWN_UPTIME_FAIL_SEC", read.cooldown, 600.0)
    cooldown_scrape_stale: float = variable("COOLDOWN_SCRAPE_STALE_SEC", read.cooldown, 600.0)
    stale_after: float = variable("AUTOHEAL_STALE_AFTER", read.duration(60.0), 14700.0)
    # neighbours
    alertmanager_urls: tuple[str, ...] = variable("ALERTMANAGER_URL", read.urls, ())
    prometheus_url: str | None = variable("PROMETHEUS_URL", read.url, None)
    docker_host: str | None = variable("DOCKER_HOST", read.text, None)
    vault_addr: str | None = variable("VAULT_ADDR", read.url, None)
    vault_token: Secret | None = secret("VAULT_TOKEN")
    otel_endpoint: str | None = variable("OTEL_EXPORTER_OTLP_ENDPOINT", read.url, None)
    # our own server
    public_url: str = variable("AUTOHEAL_PUBLIC_URL", read.url, "http://localhost:9009")
    host: str = variable("AUTOHEAL_HOST", read.host, "127.0.0.1")
    port: int = variable("AUTOHEAL_PORT", read.port, 9009)
    webhook_token: Secret | None = secret("AUTOHEAL_WEBHOOK_TOKEN")
    admin_token: Secret | None = secret("AUTOHEAL_ADMIN_TOKEN")
    allow_insecure: bool = variable("AUTOHEAL_ALLOW_INSECURE", read.boolean, False)
    secret_key: Secret | None = secret("SECRET_KEY")
    oidc_enabled: bool = variable("AUTOHEAL_OIDC_ENABLED", read.boolean, False)
    oidc_issuer: str | None = variable("OIDC_ISSUER", read.url_as_given, None)
    oidc_audience: str | None = variable("OIDC_AUDIENCE", read.text, None)
    oidc_client_id: str | None = variable("OIDC_CLIENT_ID", read.text, None)
    oidc_client_secret: Secret | None = secret("OIDC_CLIENT_SECRET")
    oidc_roles_claim: str = variable("OIDC_ROLES_CLAIM", read.text, "roles")
    cors_enabled: bool = variable("AUTOHEAL_CORS_ENABLED", read.boolean, False)
    cors_origins: tuple[str, ...] = variable("AUTOHEAL_CORS_ORIGINS", read.origins, ())
    rate_limit_enabled: bool = variable("AUTOHEAL_RATE_LIMIT_ENABLED", read.boolean, False)
    rate_limit_requests: int = variable("AUTOHEAL_RATE_LIMIT_REQUESTS", read.whole(1, 1_000_000), 100)
    rate_limit_window: float = variable("AUTOHEAL_RATE_LIMIT_WINDOW", read.seconds(1.0, 86400.0), 60.0)
    # Slack and the threader
    slack_webhook_url: Secret | None = secret("SLACK_WEBHOOK_URL", read.slack_webhook_url)
    slack_bot_token: Secret | None = secret("SLACK_BOT_TOKEN", read.bot_token)
    slack_signing_secret: Secret | None = secret("SLACK_SIGNING_SECRET")
    slack_api_url: str = variable("SLACK_API_URL", read.url_as_given, "https://slack.com/api/")
    threader_port: int = variable("THREADER_PORT", read.port, 9009)
    # running
    log_level: str = variable("LOG_LEVEL", read.log_level, "INFO")
    log_format: str = variable("LOG_FORMAT", read.choice("auto", "json", "console"), "auto")
    heartbeat: float = variable("AUTOHEAL_HEARTBEAT_SEC", read.seconds(0.1, 86400.0), 60.0)
    drain: float = variable("AUTOHEAL_DRAIN_SEC", read.seconds(0.0, 3600.0), 25.0)

    copy_asked: bool | None = None
    """Whether AUTOHEAL_AUDIT_PATH was given; no variable of its own."""
    port_wrong: str = field(default="", repr=False, compare=False)
    """What is wrong with PORT, which only the threader reads; others live beside a PORT that is not meant for them."""

    NAMES: ClassVar[tuple[str, ...]] = ()
    """Every variable that is read, secrets' ``NAME_FILE`` left out."""

    def __post_init__(self) -> None:
        if self.copy_asked is None:
            object.__setattr__(self, "copy_asked", self.audit_path != Path())
        if self.audit_path == Path():
            object.__setattr__(self, "audit_path", self.data_dir / "audit.jsonl")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The settings that `environ` describes; raises SettingsErrors with every mistake."""
        linked = read.service_links(environ)
        mistakes = [read.LINKS.format(names=", ".join(linked))] if linked else []
        values: dict[str, Any] = {}
        wrong: set[str] = set()
        for item in _read(cls):
            try:
                values.update(_value(item, environ, linked))
            except Invalid as error:
                mistakes.append(str(error))
                wrong.add(item.metadata["variable"])
        if "THREADER_PORT" not in linked and not environ.get("THREADER_PORT", "").strip():
            values.update(_instance_port(environ))
        mistakes += _unknown(environ, linked, cls.NAMES)
        mistakes += _slips(environ, cls.NAMES)
        settings = cls(**values)
        mistakes += settings.contradictions(wrong)
        if mistakes:
            raise SettingsErrors(mistakes)
        return settings

    def contradictions(self, wrong: Collection[str] = ()) -> list[str]:
        """Values that do not go together. `wrong`: variables that are set, but to what cannot be read."""
        found = []
        if self.oidc_enabled:
            needed = {"OIDC_ISSUER": self.oidc_issuer, "OIDC_AUDIENCE": self.oidc_audience}
            missing = [name for name, value in needed.items() if value is None]
            found += [f"{name}: needed because AUTOHEAL_OIDC_ENABLED is true" for name in missing]
        if self.admin_token is not None and self.admin_token == self.webhook_token:
            found.append("AUTOHEAL_WEBHOOK_TOKEN: is AUTOHEAL_ADMIN_TOKEN, which opens everything; give another")
        if self.cors_enabled and not self.cors_origins:
            found.append("AUTOHEAL_CORS_ORIGINS: needed because AUTOHEAL_CORS_ENABLED is true")
        if self.redis_url is not None and self.database_url is None and "DATABASE_URL" not in wrong:
            found.append(
                "REDIS_URL: needs DATABASE_URL too, because workers share the ledger over PostgreSQL; "
                "set it, or unset REDIS_URL to act in this process"
            )
        return found

    @property
    def copies(self) -> bool:
        """Whether the copy at `audit_path` is written: always when embedded, beside PostgreSQL only where asked for."""
        return self.database_url is None or bool(self.copy_asked)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return read.is_loopback(self.host)

    def not_yet(self) -> list[str]:
        """What is asked for and this version cannot do; silence about it would be a false promise."""
        found = []
        if self.oidc_enabled:
            found.append("AUTOHEAL_OIDC_ENABLED: this version knows static tokens only; set AUTOHEAL_ADMIN_TOKEN")
        if self.cors_enabled:
            found.append("AUTOHEAL_CORS_ENABLED: this version allows no other origin yet; leave it unset")
        if self.rate_limit_enabled:
            told = "this version does not limit rates yet; leave it unset, and put a limit into the proxy"
            found.append(f"AUTOHEAL_RATE_LIMIT_ENABLED: {told}")
        return found

    def exposed(self) -> list[str]:
        """What is missing before others may reach the server, directly or by a proxy; empty where they may."""
        if self.allow_insecure:
            return []
        if self.loopback:
            if self.admin_token is not None or read.is_loopback(urlsplit(self.public_url).hostname or ""):
                return []
            why = "needed because AUTOHEAL_PUBLIC_URL is not this machine's (or set AUTOHEAL_ALLOW_INSECURE=true)"
            return [f"AUTOHEAL_ADMIN_TOKEN: {why}"]
        found = [f"{name}: needed to listen off loopback" for name, token in self._tokens.items() if token is None]
        return found + [f"{name}: needs {MIN_TOKEN} characters to listen off loopback" for name in self.short_tokens()]

    def threader_exposed(self) -> list[str]:
        """What is missing before `autoheal threader` may listen; empty where it may.

        It has two ways in. Slack signs what it sends; Alertmanager proves itself with the webhook token.
        """
        found = [self.port_wrong] if self.port_wrong else []
        if self.allow_insecure or self.loopback:
            return found
        if self.webhook_token is None:
            found.append("AUTOHEAL_WEBHOOK_TOKEN: needed to listen off loopback")
        elif "AUTOHEAL_WEBHOOK_TOKEN" in self.short_tokens():
            found.append(f"AUTOHEAL_WEBHOOK_TOKEN: needs {MIN_TOKEN} characters to listen off loopback")
        return found

    @property
    def slack_configured(self) -> bool:
        """Whether anything can be posted: by a bot, or by an incoming webhook."""
        return self.slack_bot_token is not None or self.slack_webhook_url is not None

    def short_tokens(self) -> list[str]:
        """The variables whose token could be guessed."""
        given = {name: token.reveal() for name, token in self._tokens.items() if token is not None}
        return [name for name, token in given.items() if len(token) < MIN_TOKEN]

    @property
    def _tokens(self) -> dict[str, Secret | None]:
        return {"AUTOHEAL_ADMIN_TOKEN": self.admin_token, "AUTOHEAL_WEBHOOK_TOKEN": self.webhook_token}

    def mask(self, text: str) -> str:
        """`text` without any of the secrets that are set here, nor the passwords in their URLs."""
        for secret in sorted(self._hidden(), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def _hidden(self) -> set[str]:
        held = [value for value in (getattr(self, item.name) for item in fields(self)) if isinstance(value, Secret)]
        found = {value.reveal() for value in held}
        for url in (self.database_url, self.redis_url):
            found.update(read.passwords(url.reveal()) if url is not None else ())
        if self.slack_webhook_url is not None:
            found.add(urlsplit(self.slack_webhook_url.reveal()).path.strip("/"))
        return {one for one in found if len(one) >= MIN_MASKED}

    @property
    def policy_defaults(self) -> Defaults:
        """What the environment gives to policies that say nothing themselves."""
        return Defaults(cooldown=self.default_cooldown)


def _read(settings: type[Settings]) -> list[Field[Any]]:
    """The fields that are read from variables."""
    return [item for item in fields(settings) if "variable" in item.metadata]


INSTANCE_PORT = "PORT"
"""What an instance's env file calls THREADER_PORT."""

Settings.NAMES = (*(item.metadata["variable"] for item in _read(Settings)), INSTANCE_PORT)


def _value(item: Field[Any], environ: Mapping[str, str], linked: list[str]) -> dict[str, Any]:
    """The field's value where its variable is set; Invalid names the variable and never shows a secret."""
    name = item.metadata["variable"]
    if name in linked:
        return {}
    text = secret_text(name, environ) if name in SECRET_NAMES else environ.get(name, "").strip()
    if not text:
        return {}
    try:
        return {item.name: item.metadata["parse"](text)}
    except Invalid as error:
        raise Invalid(error.detail, name) from None


def _instance_port(environ: Mapping[str, str]) -> dict[str, Any]:
    """The threader's port where an instance's env file names it, or what is wrong with it."""
    text = environ.get(INSTANCE_PORT, "").strip()
    if not text:
        return {}
    try:
        return {"threader_port": read.port(text)}
    except Invalid as error:
        return {"port_wrong": f"{INSTANCE_PORT}: {error.detail}"}


def _unknown(environ: Mapping[str, str], linked: list[str], names: tuple[str, ...]) -> list[str]:
    known = {*names, *(f"{name}_FILE" for name in SECRET_NAMES)}
    ours = [one for one in known if one.startswith("AUTOHEAL_")]
    return [
        f"{name}: unknown variable{_prefixed(name, known) or did_you_mean(name, ours)}"
        for name in sorted(environ)
        if name.startswith("AUTOHEAL_") and name not in known and name not in linked
    ]


def _prefixed(name: str, known: Collection[str]) -> str:
    """The suggestion where a variable that has no AUTOHEAL_ in its name was given one."""
    bare = name.removeprefix("AUTOHEAL_")
    ours = [one.removeprefix("AUTOHEAL_") for one in known if one.startswith("AUTOHEAL_")]
    near = [bare] if bare in known else get_close_matches(bare, [*ours, *_ELSEWHERE], n=1, cutoff=0.8)
    return f' (did you mean "{near[0]}"?)' if near and near[0] not in ours else ""


_ELSEWHERE = {"DATABASE_URL": ("postgres",), "REDIS_URL": ("redis",)}
"""Where what must be shared is, and how its value begins: not read for a slip of the hand, each replica would begin
on its own."""


def _slips(environ: Mapping[str, str], names: tuple[str, ...]) -> list[str]:
    """Other names that hold such a value, where the variable itself is not there. An empty one is, on purpose."""
    found = []
    for meant, schemes in _ELSEWHERE.items():
        if meant in environ or f"{meant}_FILE" in environ:
            continue
        found += [
            f'{name}: unknown variable (did you mean "{meant}"?)'
            for name in sorted(environ)
            if name not in names
            and not name.startswith("AUTOHEAL_")
            and environ[name].strip().lower().startswith(schemes)
            and "://" in environ[name]
            and is_slip_of(name, meant)
        ]
    return found
