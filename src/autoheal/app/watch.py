"""What a worker shows of itself over HTTP: /metrics, /healthz, /readyz. A thread, and nothing that can be changed."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from autoheal.core.errors import Permanent

TIMEOUT = 5.0
"""Seconds for which a client may be silent."""


class Watch:
    """Serves while it is entered; port 0: not at all. `unready` says why no work should be expected, or nothing."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry, unready: Callable[[], str]) -> None:
        self._server: _Server | None = None
        self.url = ""
        if port == 0:
            return
        try:
            self._server = (_Server6 if ":" in host else _Server)((host, port), registry, unready)
        except OSError as error:
            why = f"cannot listen on {host}:{port}: {error.strerror}"
            raise Permanent(f"{why}; choose another AUTOHEAL_WORKER_PORT, or 0 for none") from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}"

    def __enter__(self) -> Self:
        if self._server is not None:
            serve = self._server.serve_forever
            threading.Thread(target=serve, kwargs={"poll_interval": 0.1}, name="watch", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], registry: CollectorRegistry, unready: Callable[[], str]) -> None:
        super().__init__(address, _Handler)
        self.registry, self.unready = registry, unready

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is no news."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = TIMEOUT
    server_version = "autoheal"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, kind, encode(self.server.registry))
        elif path in ("/healthz", "/-/healthy"):
            self._json(200, {"status": "ok"})
        elif path in ("/readyz", "/-/ready"):
            why = self.server.unready()
            self._json(503 if why else 200, {"status": "not ready", "detail": why} if why else {"status": "ready"})
        else:
            self._json(404, {"detail": "there are /metrics, /healthz and /readyz"})

    def _json(self, status: int, body: dict[str, str]) -> None:
        self._answer(status, "application/json", json.dumps(body).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
