"""A scripted Autoheal on loopback, and the command line run against it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from typer.testing import CliRunner, Result

from autoheal.cli.main import app


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: Any


Answer = tuple[int, Any]
Route = Callable[[Asked], Answer]


@dataclass
class Stage:
    """`routes` maps ``"GET /mode"`` to a JSON answer, or to a function of what was asked giving (status, body).

    A body of `bytes` is sent as an event stream, one of `str` as plain text; an iterator of `bytes` is an event stream
    that goes on until it ends or the reader has gone.
    """

    url: str
    routes: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        route = self.routes.get(f"{asked.method} {asked.path}")
        if route is None:
            return 404, problem(404, "Not Found")
        return route(asked) if callable(route) else (200, route)

    def run(self, *args: str, input: str | None = None) -> Result:
        """The command with ``--url`` of this stage behind it."""
        return run(*args, "--url", self.url, input=input)


def problem(status: int, detail: str, **more: str) -> dict[str, Any]:
    return {"type": "about:blank", "title": "No", "status": status, "detail": detail, **more}


def run(*args: str, input: str | None = None, env: Mapping[str, str] | None = None) -> Result:
    """The command with these arguments; an exception that is not expected comes out of here."""
    return CliRunner().invoke(app, list(args), input=input, env=env, catch_exceptions=False)


@contextmanager
def staged() -> Iterator[Stage]:
    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            params = dict(parse_qsl(parts.query, keep_blank_values=True))
            asked = Asked(self.command, parts.path, params, headers, json.loads(raw) if raw else None)
            status, body = found.answer(asked)
            if isinstance(body, Iterator):
                self._go_on(body)
                return
            kind = {bytes: "text/event-stream", str: "text/plain"}.get(type(body), "application/json")
            data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind if status < 400 else "application/problem+json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _go_on(self, pieces: Iterator[bytes]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            try:
                for piece in pieces:
                    self.wfile.write(piece)
            except OSError:
                pass  # the reader has gone

        do_GET = do_POST = _any

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Stage(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join(5)
