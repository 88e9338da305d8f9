"""Who may call: static tokens, and the open door that a loopback server without tokens is."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from autoheal.web.problems import Problem

VIEWER = "viewer"
OPS = "ops"
ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `proved`: by a token in the request itself, not by mere nearness."""

    name: str
    role: str
    proved: bool


class Access:
    """The rules for one server. Headers are given with lower-case names."""

    def __init__(
        self, *, webhook_token: str | None, admin_token: str | None, loopback: bool, insecure: bool, public_url: str
    ) -> None:
        self._webhook = webhook_token
        self._admin = admin_token
        self._loopback = loopback
        self._insecure = insecure
        self._public = origin_of(public_url)

    @property
    def open(self) -> bool:
        """Whether protected routes ask for nothing."""
        return self._admin is None and (self._loopback or self._insecure)

    @property
    def alert_open(self) -> bool:
        return self._webhook is None and (self._loopback or self._insecure)

    def require(self, headers: Mapping[str, str], role: str, *, changes: bool) -> Caller:
        """The caller, if he may act in `role`; a Problem 401 or 403 otherwise."""
        token = bearer(headers)
        if self._admin is not None and token is not None and same(token, self._admin):
            return Caller("admin-token", ADMIN, True)
        if token is not None and self._webhook is not None and same(token, self._webhook):
            raise Problem(403, "the webhook token opens /alert and nothing else")
        if token is not None and self._admin is not None:
            raise Problem(401, "this token is not known here", {"WWW-Authenticate": "Bearer"})
        if not self.open:
            raise Problem(401, f"this needs a bearer token with the role {role}", {"WWW-Authenticate": "Bearer"})
        self._near(headers, changes)
        return Caller("local", ADMIN, False)

    def require_webhook(self, headers: Mapping[str, str]) -> None:
        """For ``/alert``: the webhook token, or the admin token, as bearer or as the password of basic."""
        token = bearer(headers)
        if token is None:
            token = basic_password(headers)
        if token is not None and any(t is not None and same(token, t) for t in (self._webhook, self._admin)):
            return
        if not self.alert_open:
            raise Problem(401, "this needs the webhook token", {"WWW-Authenticate": "Bearer"})
        self._near(headers, changes=True)

    def _near(self, headers: Mapping[str, str], changes: bool) -> None:
        """An open server is for programs on this machine: no web page may reach it through somebody's browser."""
        if not self._insecure and not is_loopback(host_of(headers)):
            raise Problem(403, "without a token only this machine is answered; configure AUTOHEAL_ADMIN_TOKEN")
        if not changes:
            return
        origin = headers.get("origin")
        if origin is not None and not self._own(origin_of(origin), headers.get("host", "").lower()):
            raise Problem(403, "requests from other sites are refused")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Problem(403, "requests from other sites are refused")

    def _own(self, origin: tuple[str, str], host: str) -> bool:
        """Whether our own page asks. A Host says no scheme; the public URL does, and then it counts."""
        named = bool(host) and host != self._public[1]
        return origin == self._public or (named and origin[1] == host)

    def may_act_on_get(self, headers: Mapping[str, str], caller: Caller) -> bool:
        """Safety rule 5: only a program that proved itself, or a plain one on an open loopback server."""
        if caller.proved:
            return True
        if not (self.open and self._loopback) or not is_loopback(host_of(headers)):
            return False
        browser = any(name in ("origin", "referer") or name.startswith("sec-") for name in headers)
        fetched_ahead = "purpose" in headers or "x-purpose" in headers or "x-moz" in headers
        return not browser and not fetched_ahead and "text/html" not in headers.get("accept", "")


def bearer(headers: Mapping[str, str]) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def basic_password(headers: Mapping[str, str]) -> str | None:
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(text.strip(), validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), known.encode("utf-8", "replace"))


def origin_of(url: str) -> tuple[str, str]:
    """Scheme, and host with port, of a URL or an Origin; empty where it is ``null`` or no origin at all."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.scheme, parts.netloc.lower()


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a Host names this machine: by the name localhost, or by an address (which no foreign DNS can be)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(headers: Mapping[str, str]) -> str:
    host = headers.get("host", "")
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()
