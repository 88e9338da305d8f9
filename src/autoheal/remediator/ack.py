"""`/ack` and the silences: what a browser sees, what a program does, what a click is worth (safety rule 5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import orjson
from fastapi import Response
from starlette.requests import Request
from starlette.responses import HTMLResponse

from autoheal.core.duration import parse_duration
from autoheal.core.errors import AutohealError, Invalid
from autoheal.remediator import pages
from autoheal.remediator.service import Remediator
from autoheal.web.access import OPS
from autoheal.web.body import read_body
from autoheal.web.problems import Problem

MAX_DURATION = 7 * 86400.0
MAX_LABELS = 100
MAX_COMMENT = 1000
MAX_ACK_BODY = 256 * 1024


def read_labels(text: str | None) -> dict[str, str]:
    """The labels from their JSON; Invalid where they are not a non-empty object of strings."""
    if not text:
        raise Invalid('must be a JSON object such as {"alertname":"TcpEndpointDownFast"}', "labels")
    try:
        labels = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"is not JSON: {error}", "labels") from error
    return check_labels(labels)


def check_labels(labels: Any) -> dict[str, str]:
    if not isinstance(labels, dict) or not labels:
        raise Invalid("must be a JSON object with at least one label", "labels")
    if len(labels) > MAX_LABELS:
        raise Invalid(f"holds {len(labels)} labels; {MAX_LABELS} are allowed", "labels")
    for name, value in labels.items():
        if not name or not isinstance(value, str):
            raise Invalid("names must not be empty and values must be strings", f"labels.{name}"[:100])
    if not any(labels.values()):
        raise Invalid("would silence everything: at least one value must not be empty", "labels")
    return dict(labels)


def read_duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except Invalid as error:
        raise Invalid(error.detail, "duration") from error
    if not 0 < seconds <= MAX_DURATION:
        raise Invalid("must be more than 0 and at most 7d", "duration")
    return seconds


async def get_ack(request: Request, service: Remediator) -> Response:
    """A program that proves itself acts; everybody else sees what would be done."""
    caller = service.access.require(request.headers, OPS, changes=False)
    query = request.query_params
    labels = read_labels(query.get("labels"))
    duration, comment = query.get("duration", "2h"), query.get("comment", "")[:MAX_COMMENT]
    read_duration(duration)
    if request.method == "GET" and service.access.may_act_on_get(request.headers):
        return await silence(service, labels, duration, caller.name, comment)
    token = service.clicks.make(labels, duration, comment)
    text = pages.ack_page(labels, duration, comment, token, await _matching(service, labels))
    return HTMLResponse(text, headers=pages.HEADERS)


async def _matching(service: Remediator, labels: Mapping[str, str]) -> list[Mapping[str, str]] | None:
    if service.alertmanagers is None:
        return None
    try:
        alerts = await service.alertmanagers.alerts()
    except AutohealError:
        return None
    return [a.labels for a in alerts if all(a.labels.get(k, "") == v for k, v in labels.items())]


async def post_ack(request: Request, service: Remediator) -> Response:
    """A program's JSON, or the page's form with its single-use token."""
    caller = service.access.require(request.headers, OPS, changes=True)
    body = await read_body(request, MAX_ACK_BODY)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return await _clicked(service, body, caller.name)
    if kind != "application/json":
        raise Problem(415, "send application/json, or the form of the page", field="content-type")
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"is not JSON: {error}", "body") from error
    if not isinstance(data, dict):
        raise Invalid("must be an object", "body")
    for name in ("duration", "comment"):
        if not isinstance(data.get(name, ""), str):
            raise Invalid("must be a string", name)
    labels = check_labels(data.get("labels"))
    return await silence(
        service, labels, data.get("duration", "2h"), caller.name, data.get("comment", "")[:MAX_COMMENT]
    )


async def _clicked(service: Remediator, body: bytes, actor: str) -> Response:
    try:
        form = dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=10))
    except (UnicodeDecodeError, ValueError) as error:
        raise Invalid("is not a form", "body") from error
    labels = read_labels(form.get("labels"))
    duration, comment = form.get("duration", ""), form.get("comment", "")
    read_duration(duration)
    refusal = service.clicks.redeem(form.get("token", ""), labels, duration, comment)
    if refusal is not None:
        return HTMLResponse(pages.done_page("Nothing was changed", refusal), 409, headers=pages.HEADERS)
    await silence(service, labels, duration, actor, comment)
    text = f"A silence for {duration} is in place. If the alert resolves, it is told and the silence ends."
    return HTMLResponse(pages.done_page("Acknowledged", text), headers=pages.HEADERS)


async def silence(service: Remediator, labels: Mapping[str, str], duration: str, actor: str, comment: str) -> Response:
    seconds = read_duration(duration)
    silence_id, ends_at = await service.engine.acks.acknowledge(labels, seconds, duration, actor, comment)
    answer = {"ok": True, "silence_id": silence_id, "ends_at": _rfc3339(ends_at)}
    return Response(orjson.dumps(answer), media_type="application/json")


async def list_silences(service: Remediator) -> dict[str, Any]:
    if service.alertmanagers is None:
        raise AutohealError("no Alertmanager is configured (ALERTMANAGER_URL)")
    with service.head.reading() as (state, _):
        ours = set(state.acks)
    rows = [
        {
            "id": s.id,
            "state": s.state,
            "matchers": [dict(m) for m in s.matchers],
            "createdBy": s.created_by,
            "comment": s.comment,
            "startsAt": _rfc3339(s.starts_at),
            "endsAt": _rfc3339(s.ends_at),
            "ours": s.id in ours,
        }
        for s in await service.alertmanagers.silences()
    ]
    return {"count": len(rows), "silences": rows}


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
