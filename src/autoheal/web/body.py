"""Request bodies: bounded in size and in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autoheal.web.problems import Problem

MAX_BODY = 10 * 1024 * 1024
MAX_SMALL = 256 * 1024
"""Bytes for everything that is not a delivery of alerts."""
BODY_TIMEOUT = 30.0
_LINGER = 8
"""Times the limit that is read and thrown away, so that a sender who writes before he reads sees the answer."""


async def read_body(request: Request, limit: int = MAX_BODY, timeout: float = BODY_TIMEOUT) -> bytes:
    """The whole body; Problem 413 beyond `limit` bytes, 408 where it does not arrive in `timeout` seconds."""
    chunks: list[bytes] = []
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdecimal() and len(length) < 19 and int(length) > limit else 0
    stream = request.stream()
    try:
        async with asyncio.timeout(timeout):
            if size <= limit:
                size = 0
                async for chunk in stream:
                    size += len(chunk)
                    if size > limit:
                        break
                    chunks.append(chunk)
            if size > limit:
                chunks.clear()
                await _discard(stream, limit * _LINGER)
    except TimeoutError:
        if size <= limit:
            raise Problem(408, f"the body did not arrive within {timeout:g} s", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "the connection was closed before the body was complete") from None
    if size > limit:
        raise Problem(413, f"the body is larger than {limit} bytes", {"Connection": "close"}, field="body")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _discard(stream: AsyncIterator[bytes], at_most: int) -> None:
    async for chunk in stream:
        at_most -= len(chunk)
        if at_most < 0:
            return


class BoundedBody:
    """Middleware for routes whose bodies the framework reads: 413 beyond `limit` bytes, 408 after `timeout` seconds.

    `apart`: paths that read their bodies by `read_body` themselves.
    """

    def __init__(
        self, app: ASGIApp, limit: int = MAX_SMALL, timeout: float = BODY_TIMEOUT, apart: tuple[str, ...] = ()
    ) -> None:
        self._app = app
        self._limit = limit
        self._timeout = timeout
        self._apart = apart

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD") or scope["path"] in self._apart:
            await self._app(scope, receive, send)
            return
        try:
            body = await read_body(Request(scope, receive), self._limit, self._timeout)
        except Problem as error:
            await error.response()(scope, receive, send)
            return
        await self._app(scope, _replayed(body, receive), send)


def _replayed(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again
