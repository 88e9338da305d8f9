"""The threader's routes: on a port of their own, or beside the remediator's."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autoheal.core.alert import Alert
from autoheal.core.errors import Invalid
from autoheal.engine.ports import Clock, StoreUnavailable
from autoheal.sources.alertmanager import Delivery, parse
from autoheal.threader import health, interactive, links
from autoheal.threader.acknowledge import Turns
from autoheal.threader.metrics import ThreaderMetrics
from autoheal.threader.service import Threader
from autoheal.web import problems
from autoheal.web.access import Access
from autoheal.web.body import BoundedBody, read_body
from autoheal.web.problems import Problem, answers, problem, unavailable

log = structlog.get_logger("threader")

LARGE = 1024 * 1024
"""Bytes of a body beyond which it is read beside the loop."""
DOORS = ("/alert", "/webhook")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "required": ["alerts"]}}},
    }
}


def build(threader: Threader, access: Access, registry: CollectorRegistry | None = None) -> FastAPI:
    """The application of `autoheal threader`. `registry`: what `/metrics` shows, where it is more than our own."""
    app = FastAPI(
        title="Autoheal threader",
        version=threader.version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    app.add_middleware(BoundedBody, timeout=threader.body_timeout, apart=(*DOORS, *interactive.PATHS))
    app.add_middleware(Measured, metrics=threader.metrics, clock=threader.clock)
    _public(app, threader, registry or threader.metrics.registry)
    _alerts(app, threader, access)
    mount(app, threader)
    problems.undocument_422(app)
    return app


def mount(app: FastAPI, threader: Threader) -> interactive.Desk:
    """Add `/health…` and `/slack/…` to an application that has the rest. The desk must be `finish`ed at the end."""
    health.install(app, threader)
    turns = Turns()
    links.install(app, threader, turns)
    desk = interactive.install(app, threader, turns)
    app.state.desk = desk
    return desk


def _public(app: FastAPI, threader: Threader, registry: CollectorRegistry) -> None:
    scraping = ThreadPoolExecutor(1, "scrape")  # the others may all wait for the store

    async def status() -> dict[str, Any]:
        """What runs here."""
        return {
            "status": "ok",
            "service": "threader",
            "slack": threader.slack.state,
            "public_base_url": threader.public_url,
            "version": threader.version,
        }

    async def metrics(request: Request) -> Response:
        """Prometheus text or OpenMetrics, by the Accept header."""
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        text = await asyncio.get_running_loop().run_in_executor(scraping, encode, registry)
        return Response(text, media_type=kind)

    app.get("/", tags=["public"])(status)
    app.head("/", include_in_schema=False)(status)
    app.get("/metrics", tags=["public"], response_class=Response)(metrics)
    app.head("/metrics", include_in_schema=False)(metrics)


def _alerts(app: FastAPI, threader: Threader, access: Access) -> None:
    async def alert(request: Request) -> Response:
        """Alertmanager's webhook, version 4, or the minimal form: on disk when this is answered."""
        return await receive(request, threader, access)

    codes = answers(400, 401, 403, 408, 413, 415, 503)
    app.post("/alert", tags=["alertmanager"], openapi_extra=_BODY, responses=codes)(alert)
    app.post("/webhook", tags=["alertmanager"], include_in_schema=False)(alert)


async def receive(request: Request, threader: Threader, access: Access) -> Response:
    """Persist, then answer: 200, 4xx for what will never be readable, 503 for what is to come again. Never 429."""
    try:
        access.require_webhook(request.headers)
        _check_type(request.headers.get("content-type", ""))
        if threader.stopping:
            raise StoreUnavailable("autoheal is stopping")
        body = await read_body(request, timeout=threader.body_timeout)
        delivery = await _read(body, threader.clock.now())
        keys = await _heard(request, threader, delivery)
    except Invalid as error:
        threader.metrics.errors.labels("unreadable").inc()
        return problem(400, str(error), field=error.field)
    except Problem as error:
        threader.metrics.errors.labels("refused").inc()
        return error.response()
    except StoreUnavailable as error:
        threader.metrics.errors.labels("store").inc()
        return unavailable(error, "send it again: ")
    except Exception:
        threader.metrics.errors.labels("internal").inc()
        log.exception("delivery_failed")
        return problem(500, "an error of Autoheal's own making; its log tells more")
    refused = [one for one in delivery.alerts if not isinstance(one, Alert)]
    if refused:
        threader.metrics.errors.labels("unreadable").inc(len(refused))
        log.warning("alerts_refused", count=len(refused), field=refused[0].field, problem=refused[0].problem)
    answer = {"ok": True, "received": len(delivery.alerts) - len(refused), "conversations": len(keys)}
    if refused:
        answer["rejected"] = len(refused)
    return Response(orjson.dumps(answer), media_type="application/json")


async def _heard(request: Request, threader: Threader, delivery: Delivery) -> list[str]:
    """Who goes before the answer sends it again: it is not written for nobody."""
    hearing = asyncio.ensure_future(threader.intake.hear(delivery))
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({hearing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if hearing.done():
            return hearing.result()
        raise Problem(400, "the connection was closed before the answer")
    finally:
        hearing.cancel()
        leaving.cancel()
        await asyncio.gather(hearing, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read(body: bytes, now: float) -> Delivery:
    """Large bodies are read in a thread, so that other callers are not kept waiting."""
    return parse(body, now) if len(body) <= LARGE else await asyncio.to_thread(parse, body, now)


def _check_type(content_type: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise Problem(415, f"send application/json, not {kind[:100]}", field="content-type")


class Measured:
    """Middleware: every answer is counted and timed, under its route's template and not under what was asked for."""

    def __init__(self, app: ASGIApp, metrics: ThreaderMetrics, clock: Clock) -> None:
        self._app, self._metrics, self._clock = app, metrics, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = self._clock.monotonic(), "500"

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.http_requests.labels(method, route, status).inc()
            self._metrics.http_seconds.labels(method, route).observe(self._clock.monotonic() - began)
