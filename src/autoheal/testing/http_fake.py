"""What the fakes share: an HTTP server in a thread, on loopback or a unix socket, with faults to order."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def one(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.query.get(name, [default])[0]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(status: int, data: Any, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(data).encode(), {"Content-Type": "application/json", **named})


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next `times` requests whose ``METHOD /path`` fits `where` (a regular expression).

    refuse: answer `answer`, do nothing. drop: close the connection, do nothing. lose: do it, then close without an
    answer. hang: do nothing and say nothing until the fake ends. late: do it, answer after `seconds`.
    """

    kind: Literal["refuse", "drop", "lose", "hang", "late"]
    where: str = ".*"
    times: int = 1
    answer: Answer = field(default_factory=lambda: as_json(500, {"message": "server error"}))
    seconds: float = 0.0


class FakeServer:
    """Answers requests by `handle`, which a fake defines; keeps every request in `requests`. A context manager."""

    def __init__(self, socket_path: Path | None = None) -> None:
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self._released = threading.Event()
        self._socket_path = socket_path
        self._server = self._listen(socket_path)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def handle(self, request: Request) -> Answer:
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where it listens: http://127.0.0.1:PORT, or unix:///path."""
        if self._socket_path is not None:
            return f"unix://{self._socket_path}"
        address: Any = self._server.server_address
        return f"http://127.0.0.1:{address[1]}"

    def asked(self, where: str) -> list[Request]:
        """The requests so far whose ``METHOD /path`` fits `where` from its beginning."""
        return [request for request in list(self.requests) if re.match(where, f"{request.method} {request.path}")]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)

    def _listen(self, path: Path | None) -> socketserver.BaseServer:
        handler = _handler(self)
        server: socketserver.BaseServer
        if path is not None:
            server = _UnixServer(str(path), handler)
        else:
            server = _TcpServer(("127.0.0.1", 0), handler)
        return server

    def serve(self, request: Request) -> Answer | None:
        """The answer, or None where the connection is to be closed without one."""
        with self.lock:
            self.requests.append(request)
            fault = next((f for f in self.faults if re.match(f.where, f"{request.method} {request.path}")), None)
            if fault is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
        if fault is None:
            return self._locked(request)
        return self._faulty(request, fault)

    def _faulty(self, request: Request, fault: Fault) -> Answer | None:
        if fault.kind == "refuse":
            return fault.answer
        if fault.kind == "hang":
            self._released.wait()
        if fault.kind in ("hang", "drop"):
            return None
        answer = self._locked(request)
        if fault.kind == "lose":
            return None
        self._released.wait(fault.seconds)
        return answer

    def _locked(self, request: Request) -> Answer:
        with self.lock:
            return self.handle(request)


class _TcpServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            query = parse_qs(parts.query, keep_blank_values=True)
            answer = fake.serve(Request(self.command, parts.path, query, dict(self.headers), body))
            if answer is None:
                self.close_connection = True
                return
            self._send(answer)

        def _send(self, answer: Answer) -> None:
            try:
                own_date = "Date" in answer.headers
                (self.send_response_only if own_date else self.send_response)(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.status not in (204, 304):
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD" and answer.status not in (204, 304):
                    self.wfile.write(answer.body)
            except OSError:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _any

        def address_string(self) -> str:
            return "client"

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
