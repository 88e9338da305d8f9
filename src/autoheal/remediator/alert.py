"""`POST /alert`: persist and decide, then answer. The hot path; it goes past the framework's routing."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response

from autoheal.core.errors import Invalid
from autoheal.core.moves.intake import AlertsArrived, Refused, Rejected
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import StoreUnavailable
from autoheal.remediator.service import Remediator
from autoheal.sources.alertmanager import Delivery, parse
from autoheal.web.body import read_body
from autoheal.web.problems import Problem, problem, unavailable

log = structlog.get_logger("alert")

AHEAD = 1.0
"""Seconds that the conversations are ahead of the decision; without them it is made all the same."""
TOGETHER = 10.0
"""Seconds over which further refusals of one reason are added up before they become one event."""
LARGE = 1024 * 1024
"""Bytes of a body beyond which it is read beside the loop."""


class Door:
    """Records what was refused before it became an alert: the first at once, a flood added up."""

    def __init__(self, head: HeadThread) -> None:
        self._head = head
        self._next: dict[str, float] = {}
        self._waiting: Counter[str] = Counter()
        self._last: dict[str, Refused] = {}

    async def refused(self, reason: str, field: str, text: str) -> None:
        self._waiting[reason] += 1
        self._last[reason] = Refused(-1, field, text[:500])
        if self._next.get(reason, float("-inf")) <= self._head.clock.monotonic():
            await self.flush(reason)

    async def flush(self, reason: str | None = None) -> None:
        """Write what has been added up, all of it or of one reason; while the store is down it is kept."""
        for name in [reason] if reason else list(self._waiting):
            count = self._waiting.pop(name, 0)
            if not count:
                continue
            self._next[name] = self._head.clock.monotonic() + TOGETHER
            try:
                await self._head.play(Rejected(name, [self._last[name]], count=count))
            except StoreUnavailable:
                self._waiting[name] += count


async def receive_alerts(request: Request, service: Remediator, door: Door) -> Response:
    """Read, decide, write, answer; see CONTRACT for the answer's shape. Never 429. 503: nothing was done, or it was
    decided and only the conversations are to hear of it again."""
    try:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(request.scope["headers"])
        }
        service.access.require_webhook(headers)
        _check_type(headers.get("content-type", ""))
        if service.stopping:
            raise StoreUnavailable("autoheal is stopping")
        body = await read_body(request, timeout=service.body_timeout)
        delivery = await _read(body, service.head.clock.now())
        move = AlertsArrived(
            delivery.alerts,
            origin=delivery.origin,
            receiver=delivery.receiver,
            group_key=delivery.group_key,
        )
        results, untold = await _decide(service, delivery, move)
    except Invalid as error:
        await door.refused("unreadable", error.field, error.detail)
        return problem(400, str(error), field=error.field)
    except Problem as error:
        await door.refused(_REASONS.get(error.status, "refused"), "request", error.detail)
        return error.response()
    except StoreUnavailable as error:
        return unavailable(error)
    except Exception:
        log.exception("delivery_failed")
        return problem(500, "an error of Autoheal's own making; its log tells more")
    if untold is not None:
        return _untold(untold)
    answer = orjson.dumps({"ok": True, "received": len(results), "results": results})
    return Response(answer, media_type="application/json")


async def _decide(
    service: Remediator, delivery: Delivery, move: AlertsArrived
) -> tuple[list[dict[str, Any]], BaseException | None]:
    """What the head answers, and why the conversations could not be written."""
    weight = len(delivery.alerts)
    if service.heard is None:
        return await service.head.play(move, weight=weight), None
    hearing = asyncio.ensure_future(service.heard(delivery))
    try:
        await asyncio.wait({hearing}, timeout=AHEAD)
        results: list[dict[str, Any]] = await service.head.play(move, weight=weight)
        await asyncio.wait({hearing})
        return results, hearing.exception()
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


def _untold(error: BaseException) -> Response:
    """Sent again, the alerts are known, and the conversations hear of them."""
    decided = "decided; the conversations could not be written, send it again"
    if isinstance(error, StoreUnavailable):
        return unavailable(error, f"{decided}: ")
    log.error("delivery_untold", exc_info=error)
    return problem(500, f"{decided}: an error of Autoheal's own making; its log tells more")


async def _read(body: bytes, now: float) -> Delivery:
    """Large bodies are read in a thread, so that other callers are not kept waiting."""
    return parse(body, now) if len(body) <= LARGE else await asyncio.to_thread(parse, body, now)


_REASONS = {401: "unauthorized", 403: "forbidden", 413: "too_large", 408: "too_slow", 415: "wrong_type", 400: "cut_off"}


def _check_type(content_type: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise Problem(415, f"send application/json, not {kind[:100]}", field="content-type")
