"""`GET /events`: Server-Sent Events from the ledger's tail, resumable by the last id."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

from starlette.requests import Request
from starlette.responses import StreamingResponse

from autoheal.core.errors import Invalid
from autoheal.remediator.service import Remediator
from autoheal.web.tail import Item

BEAT = 15.0
"""Seconds between two comment lines while nothing happens."""
TICKET_LASTS = 30.0
MAX_TICKETS = 10_000


class Tickets:
    """One-use leave to open a stream, for browsers, which cannot send a token with an EventSource."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._open: OrderedDict[str, float] = OrderedDict()

    def make(self) -> str:
        ticket = secrets.token_urlsafe(24)
        self._open[ticket] = self._now() + TICKET_LASTS
        while len(self._open) > MAX_TICKETS:
            self._open.popitem(last=False)
        return ticket

    def redeem(self, ticket: str) -> bool:
        return self._open.pop(ticket, 0.0) >= self._now()


def stream(request: Request, service: Remediator, kind: str | None, alertname: str | None) -> StreamingResponse:
    """Everything after `Last-Event-ID` (or ``last_event_id``), or from now on."""
    given = request.headers.get("last-event-id") or request.query_params.get("last_event_id")
    after = service.tail.last_id
    if given is not None:
        if not (given.isascii() and given.isdecimal()) or len(given) > 18:
            raise Invalid("must be the id of an event", "last_event_id")
        after = min(int(given), service.tail.last_id)
    kinds = frozenset(kind.split(",")) if kind else None
    names = frozenset(alertname.split(",")) if alertname else None
    return StreamingResponse(
        _chunks(service, after, kinds, names),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _chunks(
    service: Remediator, after: int, kinds: frozenset[str] | None, names: frozenset[str] | None
) -> AsyncIterator[str]:
    yield ": autoheal\n\n"
    clock = service.head.clock
    said = clock.monotonic()
    async for batch in service.tail.follow(after, BEAT):
        wanted = [
            _frame(item)
            for item in batch
            if (kinds is None or item.kind in kinds) and (names is None or item.alertname in names)
        ]
        if not wanted and batch and clock.monotonic() - said < BEAT:
            continue
        said = clock.monotonic()
        yield "".join(wanted) or ": still here\n\n"


def _frame(item: Item) -> str:
    return f"id: {item.id}\nevent: {item.kind}\ndata: {item.line}\n\n"
