"""A whole server in this process: the service as `autoheal serve` wires it, on a port and a directory of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from autoheal.app import serve
from autoheal.app.serve import Service, listen
from autoheal.config.settings import Settings
from tests.servers import wait_until

POLICY = """\
version: 1
limits:
  blast_radius: {actions: 1000, per: 10m}
rules:
  - name: needs-approval
    match: ['alertname="NeedsApproval"']
    opt_in: false
    cooldown: 30s
    cooldown_by: [alertname, instance]
    approval: {timeout: 15m}
    steps: [{action: {command: ["true"]}}]
  - name: restart
    match: ['alertname="Restart"']
    opt_in: false
    cooldown: 30s
    cooldown_by: [alertname, instance]
    steps: [{action: {command: ["true"]}}]
  - name: fails
    match: ['alertname="Fails"']
    opt_in: false
    cooldown: 30s
    cooldown_by: [alertname, instance]
    steps: [{action: {command: ["false"]}}]
"""
WEBHOOK, ADMIN = "webhook-token-of-the-tests", "admin-token-of-the-tests"


class Quiet(Service):
    """Signals belong to the main thread, which here is pytest's."""

    def _signals(self) -> None:
        pass


class Server:
    """What a test holds: the service, its address, and a client that is a plain program."""

    def __init__(self, service: Service, host: str, port: int) -> None:
        self.service = service
        self.host, self.port = host, port
        self.url = f"http://{host}:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=30, headers={"user-agent": "tests"})

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.client.post(path, **options)

    def alert(self, *alerts: Mapping[str, Any], **options: Any) -> httpx.Response:
        return self.client.post("/alert", json={"version": "4", "alerts": list(alerts)}, **options)

    def events(self, **query: Any) -> list[dict[str, Any]]:
        """What the trail holds, asked for by the administrator where there is one."""
        settings = self.service.settings
        token = settings.admin_token.reveal() if settings.admin_token else ""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = self.get("/audit", params={"n": 10_000, **query}, headers=headers)
        found: list[dict[str, Any]] = answer.json()["events"]
        return found

    @property
    def last_id(self) -> int:
        last: int = self.get("/readyz").json()["last_event_id"]
        return last

    def raw(self, data: bytes, *more: bytes, timeout: float = 15.0) -> bytes:
        """Send bytes as they are; what comes back until the server closes, or nothing more within `timeout`."""
        with socket.create_connection((self.host, self.port), timeout=timeout) as connection:
            connection.sendall(data)
            for part in more:
                connection.sendall(part)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    found = b""
    try:
        while chunk := connection.recv(65536):
            found += chunk
    except (TimeoutError, ConnectionResetError):
        pass
    return found


@contextmanager
def server(
    directory: Path, env: Mapping[str, str] | None = None, prepare: Callable[[Service], None] = lambda service: None
) -> Iterator[Server]:
    """Run it in a thread with a loop of its own until the test is over. `env`: settings besides the directory's."""
    policy = directory / "policy.yaml"
    if not policy.exists():
        policy.write_text(POLICY)
    environ = {
        "AUTOHEAL_DATA_DIR": str(directory / "data"),
        "AUTOHEAL_POLICY_FILE": str(policy),
        "AUTOHEAL_DRAIN_SEC": "2",
        **(env or {}),
    }
    settings = Settings.from_env(environ)
    listening = listen("127.0.0.1", 0)
    host, port = listening.getsockname()[:2]
    born: list[tuple[Service, asyncio.AbstractEventLoop]] = []
    died: list[BaseException] = []

    async def life() -> None:
        service = Quiet(settings, environ)
        prepare(service)
        born.append((service, asyncio.get_running_loop()))
        try:
            await service.run(listening)
        finally:
            service.close()

    def live() -> None:
        try:
            asyncio.run(life())
        except BaseException as error:
            died.append(error)

    thread = threading.Thread(target=live, name="autoheal", daemon=True)
    thread.start()
    try:
        wait_until(lambda: died or (born and hasattr(born[0][0], "remediator")), what="the service")
        assert not died, died
        found = Server(born[0][0], host, port)
        wait_until(lambda: httpx.get(f"{found.url}/readyz").status_code == 200, what="ready")
        with found.client:
            yield found
    finally:
        if born:
            born[0][1].call_soon_threadsafe(born[0][0].stop_asked.set)
        thread.join(20)
        listening.close()
    assert not thread.is_alive(), "the server did not stop"
    assert not died, died


def body_timeout(seconds: float) -> Callable[[Service], None]:
    """Let bodies take no longer than this."""

    def prepare(service: Service) -> None:
        wire = service._wire

        def wired() -> Any:
            made = wire()
            made.body_timeout = seconds
            return made

        service._wire = wired  # type: ignore[method-assign]

    return prepare


def alert(name: str, status: str = "firing", starts: str = "2026-11-21T03:06:04.119Z", **labels: str) -> dict[str, Any]:
    return {"status": status, "labels": {"alertname": name, **labels}, "annotations": {}, "startsAt": starts}


def is_problem(answer: httpx.Response, status: int, field: str | None = None) -> dict[str, Any]:
    """The answer is problem+json with this status; what it says."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    data: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail"} <= data.keys()
    assert data["status"] == status
    if field is not None:
        assert data["field"] == field, data
    return data


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request."""
    named = {
        "Host": "127.0.0.1",
        "Content-Length": str(len(body)),
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def dumps(data: Any) -> bytes:
    return json.dumps(data).encode()


__all__ = [
    "ADMIN",
    "POLICY",
    "WEBHOOK",
    "Server",
    "alert",
    "body_timeout",
    "dumps",
    "is_problem",
    "request",
    "serve",
    "server",
]
