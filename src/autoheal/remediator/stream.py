"""`GET /events`: what a reader asks for, and the ticket that a browser opens it with."""

from __future__ import annotations

from starlette.requests import Request

from autoheal.core.errors import Invalid
from autoheal.remediator.service import Remediator
from autoheal.web.sse import EventStream
from autoheal.web.tail import Wanted

TICKET = "events"
"""What a ticket is for."""
TICKET_LASTS = 30.0


def stream(
    request: Request, service: Remediator, kind: str | None, alertname: str | None, rule: str | None
) -> EventStream:
    """Everything after `Last-Event-ID` (or ``last_event_id``), or from now on. Filters are lists with commas."""
    given = request.headers.get("last-event-id") or request.query_params.get("last_event_id") or None
    if given is not None and (not (given.isascii() and given.isdecimal()) or len(given) > 18):
        raise Invalid("must be the id of an event", "last_event_id")
    wanted = Wanted(*(frozenset(text.split(",")) if text else None for text in (kind, alertname, rule)))
    return EventStream(service.tail, None if given is None else int(given), wanted)
