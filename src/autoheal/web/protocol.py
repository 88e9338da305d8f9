"""uvicorn's HTTP protocol with two bounds that it lacks: how long a request's head may take, and how large it is."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_TIMEOUT = 15.0
"""Seconds from the connection, or from a request's first byte, until its headers must be complete."""
MAX_HEAD = 128 * 1024
"""Bytes of request line and headers."""
CONNECTION = "autoheal.connection"
"""The scope's extension with the connection's `socket`, and `abort`, which ends it at once, whatever still waits."""

_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class BoundedProtocol(HttpToolsProtocol):
    """Ends connections that say nothing, or never finish saying it, so that they cannot use up all places."""

    _due: asyncio.TimerHandle | None = None
    _head_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            self._expect_no_more()
            return
        if self._waits_for_head:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self._refuse(431, f"request line and headers are larger than {MAX_HEAD} bytes")
            elif self._due is None:
                self._expect()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        socket = self.transport.get_extra_info("socket")
        self.scope["extensions"] = {CONNECTION: {"socket": socket, "abort": self.transport.abort}}
        self._head_size = 0
        if self._due is None:
            self._expect()

    def on_headers_complete(self) -> None:
        self._expect_no_more()
        super().on_headers_complete()

    @property
    def _waits_for_head(self) -> bool:
        return self.timeout_keep_alive_task is None and (self._fresh or self.cycle.response_complete)

    @property
    def _fresh(self) -> bool:
        """No request's head was complete so far; uvicorn then keeps None where its types promise a cycle."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None

    def _expect(self) -> None:
        self._due = self.loop.call_later(HEAD_TIMEOUT, self._too_late)

    def _expect_no_more(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _too_late(self) -> None:
        self._due = None
        if self.transport.is_closing():
            return
        if self._fresh and self._head_size == 0:
            self.transport.close()
            return
        self._refuse(408, f"the headers did not arrive within {HEAD_TIMEOUT:g} s")

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, msg)

    def _refuse(self, status: int, detail: str) -> None:
        self._expect_no_more()
        title = _REASONS[status]
        answer: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body = orjson.dumps(answer)
        head = (
            f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
