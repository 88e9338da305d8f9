"""The routes of :9009, thin: check who asks, call, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Annotated, Any, Literal

import orjson
from fastapi import FastAPI, Query, Request, Response
from prometheus_client.exposition import choose_encoder
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from autoheal.core.alert import FIRING, Alert, fingerprint
from autoheal.core.decision import explain
from autoheal.core.errors import Invalid, NotFound
from autoheal.core.gates import Case
from autoheal.core.moves.people import Approve, Cancel, Mark, Reject, SetMode, Settle
from autoheal.core.turn import Move
from autoheal.remediator import ack, bodies, console, cooldown, views
from autoheal.remediator.alert import Door, receive_alerts
from autoheal.remediator.moments import moment
from autoheal.remediator.service import Remediator
from autoheal.remediator.stream import TICKET, TICKET_LASTS, stream
from autoheal.web import problems
from autoheal.web.access import ADMIN, OPS, Caller
from autoheal.web.body import BoundedBody
from autoheal.web.problems import Problem, answers, visible

PROTECTED = answers(400, 401, 403, 431, 503)
CHANGES = {**PROTECTED, **answers(408, 413)}
Name = Annotated[str | None, Query(max_length=1000)]
Endpoint = Callable[..., Awaitable[Any]]
Pairs = Annotated[str | None, Query(max_length=20_000)]


class ModeChange(BaseModel):
    """What the mode shall be."""

    model_config = ConfigDict(extra="forbid", strict=True)
    enabled: bool
    dry_run: bool


class Verb(BaseModel):
    """What a person adds to a verb; `outcome` is for settle, `mark` for mark."""

    model_config = ConfigDict(extra="forbid")
    note: Annotated[str, Field(max_length=1000), AfterValidator(visible)] = ""
    outcome: Literal["healed", "failed"] | None = None
    mark: Literal["false_positive"] = "false_positive"


def build(service: Remediator) -> FastAPI:
    """The application; `service` holds everything that it works with."""
    app = FastAPI(
        title="Autoheal remediator",
        version=service.version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    app.add_middleware(BoundedBody, timeout=service.body_timeout, apart=("/alert",))
    _public(app, service)
    _alerts(app, service)
    _trail(app, service)
    console.install(app, service)
    views.install(app, service)
    _acks(app, service)
    _mode(app, service)
    cooldown.install(app, service)
    _remediations(app, service)
    problems.undocument_422(app)
    return app


def _caller(request: Request, service: Remediator, role: str, changes: bool = False) -> Caller:
    return service.access.require(request.headers, role, changes=changes)


def _json(data: Any) -> Response:
    return Response(orjson.dumps(data), media_type="application/json")


def _public(app: FastAPI, service: Remediator) -> None:
    def public(path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """GET, and HEAD, which says the same without a body and is not described apart."""

        def add(endpoint: Endpoint) -> Endpoint:
            app.get(path, tags=["public"], **options)(endpoint)
            app.head(path, **{**options, "include_in_schema": False})(endpoint)
            return endpoint

        return add

    @public("/")
    async def status() -> dict[str, Any]:
        """What runs, in which mode, and which alerts it has an answer to."""
        return await asyncio.to_thread(status_of, service)

    @public("/healthz")
    @public("/-/healthy", include_in_schema=False)
    async def alive() -> dict[str, Any]:
        """The process answers."""
        return {"status": "ok"}

    @public("/readyz", responses=answers(503))
    @public("/-/ready", include_in_schema=False)
    async def ready() -> dict[str, Any]:
        """Able to persist and to decide."""
        found = views.ready(service)
        if not found["ok"]:
            raise Problem(503, found["reason"])
        return {"status": "ready", "last_event_id": service.head.state.last_id, "waiting": service.head.waiting}

    @public("/metrics", response_class=Response)
    async def metrics(request: Request) -> Response:
        """Prometheus text or OpenMetrics, by the Accept header."""
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        service.metrics.sse_clients.set(service.tail.readers)
        return Response(await asyncio.to_thread(encode, service.metrics.registry), media_type=kind)

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name != "autoheal.css":
            raise NotFound(f"there is no file {name!r}")
        data = (files("autoheal.remediator") / "static" / name).read_bytes()
        return Response(data, media_type="text/css", headers={"X-Content-Type-Options": "nosniff"})


def status_of(service: Remediator) -> dict[str, Any]:
    with service.head.reading() as (state, policy):
        return {
            "status": "ok",
            "enabled": state.mode.enabled,
            "dry_run": state.mode.dry_run,
            "actions": policy.alertnames,
            "public_base_url": service.public_url,
            "version": service.version,
        }


def _alerts(app: FastAPI, service: Remediator) -> None:
    door = Door(service.head)
    app.state.door = door

    @app.post(
        "/alert",
        tags=["alertmanager"],
        openapi_extra=bodies.ALERT_BODY,
        responses=answers(400, 401, 408, 413, 415, 503),
    )
    async def alert(request: Request) -> Response:
        """Alertmanager's webhook, version 4, or the minimal form."""
        return await receive_alerts(request, service, door)

    app.state.receive = alert


def _trail(app: FastAPI, service: Remediator) -> None:
    @app.get("/audit", tags=["trail"], responses=PROTECTED)
    async def audit(
        request: Request,
        n: Annotated[int, Query(ge=1, le=10_000)] = 100,
        kind: Name = None,
        alertname: Name = None,
        rule: Name = None,
        remediation_id: Name = None,
        since: Name = None,
        until: Name = None,
        contains: Name = None,
        before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    ) -> Response:
        """The newest `n` events that match, oldest first. Heartbeats only by ``kind=heartbeat``."""
        _caller(request, service, OPS)
        page = await asyncio.to_thread(
            service.reader.query,
            n,
            kind=kind,
            alertname=alertname,
            rule=rule,
            remediation_id=remediation_id,
            since=moment(since, "since"),
            until=moment(until, "until"),
            contains=contains,
            before=before,
        )
        more = f',"partial":true,"before":{orjson.dumps(page.before).decode()}' if page.partial else ""
        text = f'{{"count":{len(page.lines)},"events":[{",".join(page.lines)}]{more}}}'
        return Response(text, media_type="application/json")

    @app.get("/events", tags=["trail"], responses=PROTECTED, response_class=Response)
    async def events(
        request: Request, kind: Name = None, alertname: Name = None, rule: Name = None, ticket: Name = None
    ) -> Response:
        """Server-Sent Events; resumes by ``Last-Event-ID`` or ``last_event_id`` without a gap."""
        if ticket is None or await asyncio.to_thread(service.once.redeem, TICKET, None, ticket) is not None:
            _caller(request, service, OPS)
        return stream(request, service, kind, alertname, rule)

    @app.post("/events/ticket", tags=["trail"], responses=CHANGES)
    async def ticket(request: Request) -> dict[str, Any]:
        """Leave to open one stream within 30 s, for an EventSource, which cannot send a token."""
        _caller(request, service, OPS, changes=True)
        return {"ticket": service.once.make(TICKET, None, TICKET_LASTS)}

    @app.get("/explain", tags=["trail"], responses=PROTECTED)
    async def explained(request: Request, labels: Pairs = None, annotations: Pairs = None) -> Response:
        """The decision that would be taken now for these labels, and every gate's verdict."""
        _caller(request, service, OPS)
        names = ack.read_labels(labels)
        notes = ack.read_pairs(ack.read_json(annotations, "annotations"), "annotations") if annotations else {}
        return _json(await asyncio.to_thread(_explain, service, names, notes))


def _explain(service: Remediator, labels: dict[str, str], annotations: dict[str, str]) -> dict[str, Any]:
    with service.head.reading() as (state, policy):
        now = service.head.clock.now()
        return explain(Case(Alert(FIRING, labels, annotations, now, fingerprint(labels)), now, policy, state))


def _acks(app: FastAPI, service: Remediator) -> None:
    codes = {**PROTECTED, **answers(408, 409, 413, 415, 502)}

    @app.get("/ack", tags=["silences"], openapi_extra=bodies.ACK_PARAMETERS, responses=codes)
    async def get_ack(request: Request) -> Response:
        """A browser sees what would be silenced; a program with a token silences it."""
        return await ack.get_ack(request, service)

    @app.post("/ack", tags=["silences"], openapi_extra=bodies.ACK_BODY, responses=codes)
    async def post_ack(request: Request) -> Response:
        """Silence alerts with exactly these labels, watch them, and end the silence when they are gone."""
        return await ack.post_ack(request, service)

    @app.get("/silences", tags=["silences"], responses={**PROTECTED, **answers(409, 502)})
    async def silences(request: Request) -> dict[str, Any]:
        """Alertmanager's silences; ``ours`` marks those that are watched."""
        _caller(request, service, OPS)
        return await ack.list_silences(service)

    @app.post("/silences/{silence_id}/expire", tags=["silences"], responses={**CHANGES, **answers(404, 409, 502)})
    async def expire(request: Request, silence_id: str) -> dict[str, Any]:
        """End a silence; one that has ended is fine."""
        caller = _caller(request, service, OPS, changes=True)
        ack.need_alertmanager(service)
        return {"ok": True, "ours": await service.engine.acks.expire(silence_id, caller.name)}


def _mode(app: FastAPI, service: Remediator) -> None:
    @app.get("/mode", tags=["operation"], responses=PROTECTED)
    async def mode(request: Request) -> dict[str, Any]:
        _caller(request, service, ADMIN)
        return await asyncio.to_thread(_mode_of, service)

    @app.post("/mode", tags=["operation"], responses=CHANGES)
    async def set_mode(request: Request, change: ModeChange) -> dict[str, Any]:
        """Switch; once this is answered nothing more starts under the old mode."""
        caller = _caller(request, service, ADMIN, changes=True)
        return await service.engine.switch(SetMode(change.enabled, change.dry_run, caller.name, "api", service.env))

    @app.post("/policy/reload", tags=["operation"], responses=CHANGES)
    @app.post("/-/reload", tags=["operation"], include_in_schema=False)
    async def reload(request: Request) -> dict[str, Any]:
        """Build the new policy whole, then take it; a bad one is refused and the old kept."""
        caller = _caller(request, service, ADMIN, changes=True)
        return {"ok": True, **await service.reload(caller.name)}


def _mode_of(service: Remediator) -> dict[str, Any]:
    with service.head.reading() as (state, _):
        now = state.mode
        return {
            "enabled": now.enabled,
            "dry_run": now.dry_run,
            "source": now.source,
            "since": now.since,
            "by": now.by,
        }


def _remediations(app: FastAPI, service: Remediator) -> None:
    codes = {**CHANGES, **answers(404, 409)}

    @app.get("/remediations", tags=["remediations"], responses=PROTECTED)
    async def remediations(
        request: Request,
        state: Name = None,
        rule: Name = None,
        alertname: Name = None,
        n: Annotated[int, Query(ge=1, le=10_000)] = 100,
    ) -> Response:
        """The newest `n`, newest first."""
        _caller(request, service, OPS)
        rows = await asyncio.to_thread(service.reader.remediations, state, rule, n, alertname)
        return Response(
            f'{{"count":{len(rows)},"remediations":[{",".join(row.data for row in rows)}]}}',
            media_type="application/json",
        )

    @app.get("/remediations/{remediation_id}", tags=["remediations"], responses=codes)
    async def remediation(request: Request, remediation_id: str) -> Response:
        """One remediation with its steps, its gate trace and its events."""
        _caller(request, service, OPS)
        row = await asyncio.to_thread(service.reader.remediation, remediation_id)
        if row is None:
            raise NotFound(f"there is no remediation {remediation_id!r}")
        page = await asyncio.to_thread(lambda: service.reader.query(1000, remediation_id=remediation_id))
        return Response(f'{row.data[:-1]},"events":[{",".join(page.lines)}]}}', media_type="application/json")

    @app.post("/remediations/{remediation_id}/{verb}", tags=["remediations"], responses=codes)
    async def act(
        request: Request,
        remediation_id: str,
        verb: Literal["approve", "reject", "cancel", "settle", "mark"],
        body: Verb | None = None,
    ) -> dict[str, Any]:
        """What a person decides about one remediation."""
        caller = _caller(request, service, OPS, changes=True)
        move = await _move(service, remediation_id, verb, body or Verb(), caller.name)
        return {"ok": True, "state": await service.head.play(move)}


async def _move(service: Remediator, remediation_id: str, verb: str, body: Verb, actor: str) -> Move:
    if verb == "approve":
        return Approve(remediation_id, actor, body.note)
    if verb == "reject":
        return Reject(remediation_id, actor, body.note)
    if verb == "cancel":
        return Cancel(remediation_id, actor, body.note)
    if verb == "settle":
        if body.outcome is None:
            raise Invalid('must be "healed" or "failed"', "outcome")
        return Settle(remediation_id, actor, body.outcome, body.note)
    row = await asyncio.to_thread(service.reader.remediation, remediation_id)
    return Mark(remediation_id, actor, body.mark, body.note, orjson.loads(row.data) if row else None)
