"""A fake Slack: as strict as the real one about limits, rates, scopes and signatures, and as unreliable as ordered."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from autoheal.testing.http_fake import Answer, FakeServer, Request, as_json
from autoheal.testing.slack_limits import Limits, Violation
from autoheal.testing.slack_methods import Call, Limited, Refused
from autoheal.testing.slack_people import Delivery, People, Response, storm
from autoheal.testing.slack_reading import FORM_METHODS, JSON_METHODS
from autoheal.testing.slack_state import TEAM, App, Channel, Data, Message, Workspace

__all__ = ["TEAM", "Channel", "Delivery", "FakeSlack", "Message", "Response", "Violation", "storm"]

TOKEN, SECRET = "xoxb-fake-0123456789-token", "fake-signing-secret"
CHANNELS = ("alerts-critical", "alerts-warning", "alerts-info")


@dataclass(slots=True)
class Chaos:
    """What goes wrong at random, each as a part of all calls: see `FakeSlack.chaos`."""

    rate_429: float
    lost: float
    server_error: float
    dropped: float
    chance: random.Random


class FakeSlack(People, FakeServer):
    """`now` answers Unix seconds. The Web API is at `api_url`, incoming webhooks come from `webhook(channel)`.

    A channel takes `burst` messages at once and `posts_per_second` after them; `per_minute` replaces tiers of
    `slack_limits.TIERS`. `speed` lets every limit pass that much faster (Retry-After is then a fraction).
    Our bot is in every channel of `channels`.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        token: str = TOKEN,
        signing_secret: str = SECRET,
        channels: Iterable[str] = CHANNELS,
        posts_per_second: float = 1.0,
        burst: int = 3,
        per_minute: Mapping[str, float] | None = None,
        speed: float = 1.0,
    ) -> None:
        Workspace.__init__(self, now, token, channels)
        self.token = token
        self.signing_secret = signing_secret
        self.limits = Limits(now, posts_per_second, burst, per_minute or {}, speed)
        self.calls: Counter[str] = Counter()
        """Calls by method, those that were refused included; incoming webhooks count as ``webhook``."""
        self.refusals: Counter[str] = Counter()
        """Refusals by Slack's word for them."""
        self.responses = []
        self.history_lag = 0.0
        """Seconds until a message is found in history and replies."""
        self.page_limit = 1000
        """Items on a page at most, whatever was asked for."""
        self._answerable = {}
        self._triggers = {}
        self._chaos: Chaos | None = None
        FakeServer.__init__(self)
        handler: Any = getattr(self._server, "RequestHandlerClass", None)
        handler.disable_nagle_algorithm = True

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    @property
    def violations(self) -> list[Violation]:
        """What a well-behaved client would not have done."""
        return list(self.limits.violations)

    def webhook_url(self, channel: str) -> str:
        """A new incoming webhook's URL."""
        return f"{self.url}{self.webhook(channel)}"

    def add_token(self, token: str, scopes: str, app: str = "") -> App:
        """A token with these scopes (separated by spaces), of our app or of another one."""
        made = App(token, scopes=set(scopes.split()))
        if app:
            made.id, made.bot, made.user = f"A{app}", f"B{app}", f"U{app}"
        self.apps[token] = made
        return made

    def limit(self, seconds: float, channel: str = "", method: str = "chat.postMessage") -> None:
        """Turn away posts to this channel, or this method, for `seconds`, as Slack may at any time."""
        self.limits.block(method, seconds, self.channel(channel).id if channel else "")

    def chaos(
        self,
        rate_429: float = 0.0,
        lost: float = 0.0,
        server_error: float = 0.0,
        dropped: float = 0.0,
        seed: int = 0,
    ) -> None:
        """From now on things go wrong at random; without arguments nothing does any more.

        rate_429: turned away for a second, not done. lost: done, but then the connection is closed, or the answer is
        a 500 or `fatal_error`. server_error: a 503, not done. dropped: the connection is closed, not done.
        """
        chosen = Chaos(rate_429, lost, server_error, dropped, random.Random(seed))  # noqa: S311
        self._chaos = chosen if rate_429 + lost + server_error + dropped else None

    # ---- serving -----------------------------------------------------------------------------------------------

    def serve(self, request: Request) -> Answer | None:
        chaos = self._chaos
        if chaos is None or not request.path.startswith(("/api/", "/services/")):
            return super().serve(request)
        with self.lock:
            dice, kind = chaos.chance.random(), chaos.chance.randrange(3)
        for name in ("rate_429", "lost", "server_error", "dropped"):
            share = getattr(chaos, name)
            if dice < share:
                return self._go_wrong(name, kind, request)
            dice -= share
        return super().serve(request)

    def _go_wrong(self, name: str, kind: int, request: Request) -> Answer | None:
        if name == "lost":
            done = super().serve(request)
            if done is None or done.status != 200 or b'"ok": false' in done.body:
                return done
            return (None, _wrong("fatal_error"), Answer(500, b"oops"))[kind]
        with self.lock:
            self.requests.append(request)
            self.calls[_named(request)] += 1
            self.refusals[name] += 1
            if name == "rate_429":
                return _limited(self.limits.block(_named(request), 1.0, self._channel_of(request)))
        return Answer(503, b"upstream connect error") if name == "server_error" else None

    def _channel_of(self, request: Request) -> str:
        """The id of the channel that a post is for; empty for everything else."""
        if request.path.startswith("/services/"):
            return self.webhooks.get(request.path, "")
        if request.path != "/api/chat.postMessage":
            return ""
        try:
            args, _, _ = _read(request, "chat.postMessage")
        except Refused:
            return ""
        found = self.find_channel(str(args.get("channel")))
        return found.id if found is not None else ""

    def handle(self, request: Request) -> Answer:
        self.calls[_named(request)] += 1
        if request.path.startswith("/api/"):
            return self._api(request, request.path.removeprefix("/api/"))
        if request.method != "POST":
            return Answer(405, b"method not allowed")
        if request.path.startswith(("/actions/", "/commands/")):
            status, told = self.respond(request.path, request.body)
            return Answer(status, told.encode()) if isinstance(told, str) else as_json(status, told)
        if request.path.startswith("/services/"):
            return self._hooked(request)
        return Answer(404, b"<!DOCTYPE html><title>There has been a glitch</title>", {"Content-Type": "text/html"})

    def _hooked(self, request: Request) -> Answer:
        body = request.body
        if request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            body = parse_qs(body.decode("utf-8", "replace")).get("payload", [""])[0].encode()
        try:
            status, word = self.hook(request.path, body, self._call(self.app, "webhook", {}))
        except Limited as limited:
            self.refusals["rate_limited"] += 1
            return Answer(429, b"rate_limited", {"Retry-After": _seconds(limited.seconds)})
        if status != 200:
            self.refusals[word] += 1
        return Answer(status, word.encode(), {"Content-Type": "text/html"})

    def _api(self, request: Request, method: str) -> Answer:
        known = {**JSON_METHODS, **FORM_METHODS, "views.open": self.open_view}.get(method)
        try:
            args, bearer, warnings = _read(request, method)
            if known is None:
                raise Refused("unknown_method", req_method=method)
            app = self._who(bearer or args.pop("token", ""))
            call = self._call(app, method, args)
            call.warnings += warnings
            told = {"ok": True, **{name: value for name, value in known(call).items() if value is not None}}
        except Refused as refused:
            self.refusals[refused.error] += 1
            return _wrong(refused.error, **refused.extra)
        except Limited as limited:
            self.refusals["ratelimited"] += 1
            return _limited(limited.seconds)
        if call.warnings:
            told["warning"] = ",".join(call.warnings)
            told.setdefault("response_metadata", {})["warnings"] = call.warnings
        return as_json(200, told, X_OAuth_Scopes=",".join(sorted(app.scopes)))

    def _call(self, app: App, method: str, args: Mapping[str, Any]) -> Call:
        return Call(self, self.limits, app, method, args, self.page_limit, self.history_lag)

    def _who(self, token: str) -> App:
        if not token:
            raise Refused("not_authed")
        app = self.apps.get(token)
        if app is None:
            raise Refused("invalid_auth")
        if app.state:
            raise Refused(app.state)
        return app


def _read(request: Request, method: str) -> tuple[dict[str, Any], str, list[str]]:
    """Arguments, bearer token and warnings. A method that wants form fields does not see JSON."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
    kind, _, more = headers.get("content-type", "").partition(";")
    args: dict[str, Any] = {name: values[-1] for name, values in request.query.items()}
    warnings: list[str] = []
    if not request.body:
        return args, bearer, warnings
    if kind == "application/json":
        if "charset" not in more.lower():
            warnings.append("missing_charset")
        if method in FORM_METHODS:
            return args, bearer, warnings
        try:
            given = json.loads(request.body)
        except ValueError:
            raise Refused("invalid_json") from None
        if not isinstance(given, dict):
            raise Refused("json_not_object")
        args |= {name: value for name, value in given.items() if name != "token"}
    elif kind == "application/x-www-form-urlencoded":
        fields = parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        args |= {name: values[-1] for name, values in fields.items()}
    else:
        raise Refused("invalid_post_type" if kind else "missing_post_type")
    return args, bearer, warnings


def _named(request: Request) -> str:
    first, _, rest = request.path.lstrip("/").partition("/")
    return rest if first == "api" else {"services": "webhook"}.get(first, "response")


def _wrong(error: str, **extra: Any) -> Answer:
    return as_json(200, {"ok": False, "error": error, **extra})


def _limited(seconds: float) -> Answer:
    told: Data = {"ok": False, "error": "ratelimited"}
    return as_json(429, told, Retry_After=_seconds(seconds))


def _seconds(seconds: float) -> str:
    """Never less than it is."""
    return f"{math.ceil(seconds * 1e6 - 1e-3) / 1e6:.6f}".rstrip("0").rstrip(".")
