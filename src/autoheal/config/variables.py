"""How the text of one variable is read: each function gives the value or raises Invalid."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from autoheal.config.secrets import Secret
from autoheal.core.duration import format_duration, parse_seconds
from autoheal.core.errors import Invalid
from autoheal.core.policy import MIN_COOLDOWN

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?\.?")

LINKS = (
    "{names}: set by Kubernetes for a Service of this name, not by you; set enableServiceLinks: false in the pod's spec"
)
_LINK_NAME = re.compile(
    r"AUTOHEAL(?:_[A-Z0-9_]+)?_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_LINK_VALUE = re.compile(r"(?:tcp|udp|sctp)://")


def service_links(environ: Mapping[str, str]) -> list[str]:
    """Names of the variables that come from Kubernetes' service links, sorted."""
    return sorted(
        name
        for name, value in environ.items()
        if (name.startswith("AUTOHEAL_") and _LINK_NAME.fullmatch(name))
        or (re.fullmatch(r"(?:AUTOHEAL(?:_[A-Z0-9_]+)?|THREADER)_PORT", name) and _LINK_VALUE.match(value))
    )


def text(given: str) -> str:
    return given


def boolean(given: str) -> bool:
    word = given.lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise Invalid(f"expected true or false, got {given!r}")


def choice(*choices: str) -> Callable[[str], str]:
    def parse(given: str) -> str:
        if given.lower() in choices:
            return given.lower()
        raise Invalid(f"expected one of {', '.join(choices)}, got {given!r}")

    return parse


def log_level(given: str) -> str:
    word = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(given.upper(), given.upper())
    if word in _LEVELS:
        return word
    raise Invalid(f"expected one of {', '.join(_LEVELS)}, got {given!r}")


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(given: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", given):
            raise Invalid(f"expected a whole number, got {given!r}")
        if not low <= int(given) <= high:
            raise Invalid(f"{given} is not between {low} and {high}")
        return int(given)

    return parse


def port(given: str) -> int:
    return whole(1, 65535)(given)


def seconds(low: float, high: float) -> Callable[[str], float]:
    """A plain number of seconds; the variable's name says so."""

    def parse(given: str) -> float:
        if not _NUMBER.fullmatch(given):
            raise Invalid(f"expected a number of seconds, such as 600, got {given!r}")
        if not low <= float(given) <= high:
            raise Invalid(f"{given} is not between {low:g} and {high:g} seconds")
        return float(given)

    return parse


def cooldown(given: str) -> float:
    return seconds(MIN_COOLDOWN, 366 * 86400.0)(given)


def duration(low: float) -> Callable[[str], float]:
    def parse(given: str) -> float:
        found = parse_seconds(given)
        if found < low:
            raise Invalid(f"{given} is less than {format_duration(low)}")
        return found

    return parse


def host(given: str) -> str:
    """An address or name to listen on, without port."""
    try:
        ipaddress.ip_address(given)
    except ValueError:
        if not _HOST.fullmatch(given) or re.fullmatch(r"[0-9.]+", given):
            raise Invalid(f"expected an address such as 0.0.0.0 or a name, got {given!r}") from None
    return given


def is_loopback(given: str) -> bool:
    try:
        return ipaddress.ip_address(given).is_loopback
    except ValueError:
        return given.lower().rstrip(".") == "localhost"


def url_as_given(given: str) -> str:
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        raise Invalid("expected an http:// or https:// URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or re.search(r"[\s\x00-\x20]", given):
        raise Invalid("expected an http:// or https:// URL")
    if parts.username is not None or parts.password is not None:
        raise Invalid("a URL with a name or password in it would show in logs and in the trail")
    if parts.query or parts.fragment:
        raise Invalid("a URL without ? and # is needed")
    return given


def url(given: str) -> str:
    return url_as_given(given).rstrip("/")


def urls(given: str) -> tuple[str, ...]:
    """URLs with commas between them, each once."""
    parts = [part.strip() for part in given.split(",")]
    if not all(parts):
        raise Invalid("there is an empty place between commas")
    return tuple(dict.fromkeys(url(part) for part in parts))


def origins(given: str) -> tuple[str, ...]:
    """Origins with commas between them: scheme, host, port, and no path."""
    found = urls(given)
    for one in found:
        if urlsplit(one).path:
            raise Invalid(f"{one} is no origin: it has a path")
    return found


# ---- Slack ----------------------------------------------------------------------------------------------------------

_OTHER_TOKENS = {
    "xoxp-": "a user's token",
    "xoxa-": "a token of an older kind",
    "xapp-": "an app-level token",
    "xoxe.": "a token that expires; switch token rotation off in the app",
    "xoxe-": "a token to refresh another",
    "xoxs-": "a browser's token",
    "xoxc-": "a browser's token",
}


def bot_token(given: str) -> Secret:
    """A bot's token, never shown."""
    given = given.strip()
    if re.fullmatch(r"xoxb-[A-Za-z0-9._-]{1,500}", given):
        return Secret(given)
    other = _OTHER_TOKENS.get(given[:5])
    raise Invalid("expected a bot token, which begins with xoxb-" + (f", not {other}" if other else ""))


def slack_webhook_url(given: str) -> Secret:
    """An incoming webhook's URL, never shown; in clear text only on this machine."""
    given = given.strip()
    if given.startswith(("xoxb-", "xoxp-", "xapp-")):
        raise Invalid("expected an https:// URL, not a token; a bot's goes into SLACK_BOT_TOKEN")
    try:
        checked = urlsplit(url_as_given(given))
    except Invalid as error:
        raise Invalid(error.detail.replace("http:// or ", "")) from None
    if checked.scheme == "http" and not is_loopback(checked.hostname or ""):
        raise Invalid("expected an https:// URL: whoever reads this one can post")
    if len(checked.path) < 2:
        raise Invalid("the URL has no path, such as /services/T…/B…/…; copy all of it")
    return Secret(given)


# ---- the database and the broker --------------------------------------------------------------------------------

_DATABASE = "expected postgresql://USER:PASSWORD@HOST:5432/NAME"
_BROKER = "expected redis://, rediss:// (TLS) or redis+socket:///PATH, such as redis://HOST:6379/0"
_ENCODE = "; in a name or password, write @ : / ? # % as %40 %3A %2F %3F %23 %25"
_DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_BROKER_SCHEMES = ("redis", "rediss", "redis+socket")
_QUEUE = re.compile(r"[a-z0-9_.-]{1,64}")
_HIDDEN = ("password", "sslpassword", "passfile")


def database_url(given: str) -> Secret:
    """A PostgreSQL URL, in the one form that the store takes; what is wrong with it is told without showing it."""
    scheme, _, rest = given.partition("://")
    if scheme.lower() not in _DATABASE_SCHEMES:
        raise Invalid(_DATABASE)
    host, path = _checked(given, _DATABASE)
    if not host and len(path) < 2:
        raise Invalid(_DATABASE)
    return Secret(f"postgresql+psycopg://{rest}")


def redis_url(given: str) -> Secret:
    """The broker's URL, in the forms that Celery takes."""
    scheme = given.partition("://")[0].lower()
    if scheme not in _BROKER_SCHEMES:
        raise Invalid(_BROKER)
    host, path = _checked(given, _BROKER)
    if scheme == "redis+socket" and (host or len(path) < 2):
        raise Invalid(f"{_BROKER}; a socket's URL has no host: redis+socket:///run/redis/redis.sock")
    if scheme != "redis+socket" and (not host or not re.fullmatch(r"(/[0-9]{0,5})?", path)):
        raise Invalid(_BROKER + _ENCODE)
    return Secret(given)


def _checked(given: str, expected: str) -> tuple[str, str]:
    """Host and path of a URL that has nothing in it that two readers would understand in two ways."""
    try:
        parts = urlsplit(given)
        wrong = parts.port == 0 or bool(parts.fragment) or "@" in parts.netloc.rpartition("@")[0]
    except ValueError:
        raise Invalid(expected + _ENCODE) from None
    if wrong or re.search(r"[\s\x00-\x20\x7f]", given) or "\0" in unquote(given):
        raise Invalid(expected + _ENCODE)
    return parts.hostname or "", parts.path


def passwords(url: str) -> list[str]:
    """Every form in which the password of a URL may turn up in a text."""
    try:
        parts = urlsplit(url)
        given = [parts.password, *(value for name, value in parse_qsl(parts.query) if name in _HIDDEN)]
    except ValueError:
        return []
    return [form for text in given if text for form in dict.fromkeys((text, unquote(text)))]


def queues(given: str) -> tuple[str, ...]:
    """Names of queues with commas between them, each once."""
    names = [part.strip() for part in given.split(",")]
    for name in names:
        if not _QUEUE.fullmatch(name):
            raise Invalid(f"{name!r} is no name of a queue: 1 to 64 of a-z 0-9 _ . - (commas between names)")
    return tuple(dict.fromkeys(names))
