"""`/ack` and the silences: what a browser sees, what a program does, what a click is worth (safety rule 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
from fastapi import Response
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from autoheal.core.duration import parse_duration
from autoheal.core.errors import AutohealError, Conflict, Invalid, NotFound, Permanent
from autoheal.engine.ports import Alertmanagers
from autoheal.remediator import pages
from autoheal.remediator.service import Remediator
from autoheal.web.access import OPS
from autoheal.web.problems import Problem, visible

MAX_DURATION = 7 * 86400.0
MAX_LABELS = 100
MAX_COMMENT = 1000
SHOWN = ("labels", "duration", "comment")
"""What a link to the page says."""
CLICK = "click"
"""What a page's token is for: one human click."""
CLICK_LASTS = 600.0
"""Seconds that a page may stay open before its button no longer works."""
REFUSALS = {
    "forged": "the token does not belong to these labels; open the page again",
    "late": "the page was open for too long; open it again",
    "used": "this button was used already; nothing was changed a second time",
}


def read_labels(text: str | None) -> dict[str, str]:
    """The labels from their JSON; Invalid where they are not a non-empty object of strings."""
    if not text:
        raise Invalid('must be a JSON object such as {"alertname":"TcpEndpointDownFast"}', "labels")
    return check_labels(read_json(text, "labels"))


def read_json(text: str | bytes, where: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"is not JSON: {error}", where) from error


def check_labels(labels: Any) -> dict[str, str]:
    """Labels that a silence may ask for; Invalid where they would match everything, or could match nothing."""
    pairs = read_pairs(labels, "labels")
    if not pairs:
        raise Invalid("must be a JSON object with at least one label", "labels")
    if not any(pairs.values()):
        raise Invalid("would silence everything: at least one value must not be empty", "labels")
    return pairs


def read_pairs(pairs: Any, where: str) -> dict[str, str]:
    """A JSON object of strings, such as labels and annotations are."""
    if not isinstance(pairs, dict):
        raise Invalid("must be a JSON object of strings", where)
    if len(pairs) > MAX_LABELS:
        raise Invalid(f"holds {len(pairs)} names; {MAX_LABELS} are allowed", where)
    for name, value in pairs.items():
        if not name or not isinstance(value, str):
            raise Invalid("names must not be empty and values must be strings", f"{where}.{visible(name)}"[:100])
        if "\0" in name or "\0" in value:
            raise Invalid("NUL stands in no label", f"{where}.{visible(name)}"[:100])
    return dict(pairs)


def read_comment(text: str) -> str:
    """One line of at most 1,000 characters, as a form gives it back unchanged."""
    return " ".join(visible(text).split())[:MAX_COMMENT]


def read_duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except Invalid as error:
        raise Invalid(error.detail, "duration") from error
    if not 0 < seconds <= MAX_DURATION:
        raise Invalid("must be more than 0 and at most 7d", "duration")
    return seconds


async def get_ack(request: Request, service: Remediator) -> Response:
    """A program that proves itself acts; everybody else sees what would be done. A browser that cannot say who is
    there is led to the console, where a person signs in, sees the same, and clicks."""
    try:
        caller = service.access.require(request.headers, OPS, changes=False)
    except Problem as refusal:
        if refusal.status != 401 or "text/html" not in request.headers.get("accept", ""):
            raise
        shown = {name: request.query_params[name] for name in SHOWN if name in request.query_params}
        return RedirectResponse("console?" + urlencode({"view": "ack", **shown}), 303, pages.HEADERS)
    query = request.query_params
    labels = read_labels(query.get("labels"))
    duration, comment = query.get("duration", "2h"), read_comment(query.get("comment", ""))
    read_duration(duration)
    if request.method == "GET" and service.access.may_act_on_get(request.headers, caller):
        return await silence(service, labels, duration, caller.name, comment)
    token = service.once.make(CLICK, [labels, duration, comment], CLICK_LASTS)
    text = pages.ack_page(labels, duration, comment, token, await matching(service, labels))
    return HTMLResponse(text, headers=pages.HEADERS)


async def matching(service: Remediator, labels: Mapping[str, str]) -> list[Mapping[str, str]] | None:
    """The labels of the alerts that such a silence would hide now; None where Alertmanager cannot be asked."""
    if service.alertmanagers is None:
        return None
    try:
        active = await service.alertmanagers.alerts()
    except AutohealError:
        return None
    return [a.labels for a in active.alerts if all(a.labels.get(k, "") == v for k, v in labels.items())]


async def post_ack(request: Request, service: Remediator) -> Response:
    """A program's JSON, or the page's form with its single-use token."""
    caller = service.access.require(request.headers, OPS, changes=True)
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return await _clicked(service, body, caller.name)
    if kind != "application/json":
        raise Problem(415, "send application/json, or the form of the page", field="content-type")
    data = read_json(body, "body")
    if not isinstance(data, dict):
        raise Invalid("must be an object", "body")
    for name in ("duration", "comment"):
        if not isinstance(data.get(name, ""), str):
            raise Invalid("must be a string", name)
    labels = check_labels(data.get("labels"))
    duration, comment = data.get("duration", "2h"), read_comment(data.get("comment", ""))
    return await silence(service, labels, duration, caller.name, comment)


async def _clicked(service: Remediator, body: bytes, actor: str) -> Response:
    try:
        form = dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=10))
    except (UnicodeDecodeError, ValueError) as error:
        raise Invalid("is not a form", "body") from error
    labels = read_labels(form.get("labels"))
    duration, comment = form.get("duration", ""), form.get("comment", "")
    read_duration(duration)
    bound = [labels, duration, comment]
    refusal = await asyncio.to_thread(service.once.redeem, CLICK, bound, form.get("token", ""))
    if refusal is not None:
        return HTMLResponse(pages.done_page("Nothing was changed", REFUSALS[refusal]), 409, headers=pages.HEADERS)
    await silence(service, labels, duration, actor, comment)
    text = f"A silence for {duration} is in place. If the alert resolves, it is told and the silence ends."
    return HTMLResponse(pages.done_page("Acknowledged", text), headers=pages.HEADERS)


async def silence(service: Remediator, labels: Mapping[str, str], duration: str, actor: str, comment: str) -> Response:
    seconds = read_duration(duration)
    need_alertmanager(service)
    try:
        silence_id, ends_at = await service.engine.acks.acknowledge(labels, seconds, duration, actor, comment)
    except (Conflict, NotFound):
        raise
    except Permanent as error:
        raise Invalid(f"Alertmanager will not have them: {error}", "labels") from error
    answer = {"ok": True, "silence_id": silence_id, "ends_at": _rfc3339(ends_at)}
    return Response(orjson.dumps(answer), media_type="application/json")


def need_alertmanager(service: Remediator) -> Alertmanagers:
    """The configured Alertmanagers; Conflict where there are none."""
    if service.alertmanagers is None:
        raise Conflict("no Alertmanager is configured (ALERTMANAGER_URL)")
    return service.alertmanagers


async def list_silences(service: Remediator) -> dict[str, Any]:
    alertmanagers = need_alertmanager(service)
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
        for s in await alertmanagers.silences()
    ]
    return {"count": len(rows), "silences": rows}


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
