"""Request bodies: bounded in size and in time."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from autoheal.web.problems import Problem

MAX_BODY = 10 * 1024 * 1024
BODY_TIMEOUT = 30.0


async def read_body(request: Request, limit: int = MAX_BODY, timeout: float = BODY_TIMEOUT) -> bytes:
    """The whole body; Problem 413 beyond `limit` bytes, 408 where it does not arrive in `timeout` seconds."""
    too_large = Problem(413, f"the body is larger than {limit} bytes", {"Connection": "close"}, field="body")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {timeout:.0f} s", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "the connection was closed before the body was complete") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
