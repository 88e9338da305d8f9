"""A plain live stream as most write it: a queue for each reader, each event serialised for each. Run as a process."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

queues: set[asyncio.Queue[dict[str, object]]] = set()
last_id = 0


async def alert(request: Request) -> JSONResponse:
    """As many events as Autoheal would write for this body."""
    global last_id
    alerts = json.loads(await request.body())["alerts"]
    for labels in [{}, *(alert["labels"] for alert in alerts)]:
        last_id += 1
        event = {"id": last_id, "ts": time.time(), "kind": "decision_skip", "labels": labels, "hash": "0" * 64}
        for queue in queues:
            queue.put_nowait(event)
    return JSONResponse({"ok": True})


async def events(request: Request) -> StreamingResponse:
    return StreamingResponse(_tell(), media_type="text/event-stream")


async def _tell() -> AsyncIterator[str]:
    queue: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    queues.add(queue)
    try:
        yield ": hello\n\n"
        while True:
            event = await queue.get()
            yield f"id: {event['id']}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n"
    finally:
        queues.discard(queue)


async def readyz(request: Request) -> JSONResponse:
    return JSONResponse({"readers": len(queues)})


app = Starlette(
    routes=[Route("/alert", alert, methods=["POST"]), Route("/events", events), Route("/readyz", readyz)],
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
