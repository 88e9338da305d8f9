"""A stream of Server-Sent Events from the ledger's tail: one reader's answer."""

from __future__ import annotations

import asyncio
import socket

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from autoheal.engine.ports import StoreUnavailable
from autoheal.web import tail as tails
from autoheal.web.protocol import CONNECTION
from autoheal.web.tail import Seat, Tail, Wanted

log = structlog.get_logger("stream")

BUFFER = 128 * 1024
"""Bytes that the system holds for a reader who takes nothing (Linux doubles it for its own books)."""
HELLO = b": autoheal\n\n"
STILL_HERE = b": still here\n\n"


class EventStream(Response):
    """Everything after id `after`, or from now on; ends when the reader goes, is cut off, or the tail is closed.

    `after` beyond the ledger's end (it was restored, or it is another one): the reader is told so by a `reset`.
    """

    media_type = "text/event-stream"

    def __init__(self, tail: Tail, after: int | None, wanted: Wanted) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._tail, self._after, self._wanted = tail, after, wanted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope["extensions"][CONNECTION]
        connection["socket"].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        seat = self._tail.sit(self._after, self._wanted, connection["abort"])
        listening = asyncio.create_task(_hang_up(receive, seat))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._tell(send, seat)
            if not seat.gone:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except StoreUnavailable as error:
            log.info("stream_ended", error=str(error))  # the reader comes back by its last id
        finally:
            self._tail.leave(seat)
            listening.cancel()

    async def _tell(self, send: Send, seat: Seat) -> None:
        tail, clock = self._tail, asyncio.get_running_loop().time
        await _write(send, seat, HELLO + await self._not_ahead(seat))
        said = clock()
        while not (seat.gone or tail.closed):
            seat.wake.clear()
            piece = await tail.next(seat)
            data = piece.data if piece is not None else b""
            if not data and clock() - said >= tails.BEAT * 2 / 3:
                data = STILL_HERE
            if piece is not None:
                seat.after = piece.last
            if data:
                await _write(send, seat, data)
                said = clock()
            if piece is None:
                await seat.wake.wait()

    async def _not_ahead(self, seat: Seat) -> bytes:
        newest = await self._tail.ahead(seat.after)
        if newest is None:
            return b""
        asked, seat.after = seat.after, newest
        return tails.reset(newest + 1, asked, "ahead")


async def _write(send: Send, seat: Seat, data: bytes) -> None:
    """Hand over to the socket; `seat.sending` says since when it has not been taken."""
    seat.sending = asyncio.get_running_loop().time()
    await send({"type": "http.response.body", "body": data, "more_body": True})
    seat.sending = None


async def _hang_up(receive: Receive, seat: Seat) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    seat.gone = True
    seat.wake.set()
