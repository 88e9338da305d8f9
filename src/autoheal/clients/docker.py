"""The Docker Engine's API, over its socket or TCP: start, stop, restart, and what belongs to a compose project."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from autoheal.clients.exchange import Reply, client, exchange, place
from autoheal.core.errors import AutohealError, Invalid, NotFound, Permanent, Temporary, Unknown

DEFAULT_HOST = "unix:///var/run/docker.sock"
_VERSION = re.compile(r"[0-9]+\.[0-9]+")
MAX_STOP = 10
"""Seconds that a container is given to stop by itself, at most."""


class DockerEngine:
    """One engine. Each call opens its own client, since actions run in threads of their own."""

    def __init__(self, host: str = DEFAULT_HOST) -> None:
        self.host = host
        self._uds, self._base = _address(host)

    async def operate(
        self, verb: str, names: Sequence[str], timeout: float, before: Callable[[], object] | None = None
    ) -> str:
        """`verb` (restart | start | stop) on each container, within `timeout` seconds in all; what was done.

        `before`: once, before the first request that changes something. NotFound: no such container.
        """
        async with client(self._uds, keep=False) as web:
            call = _Call(web, self._base, self.host, time.monotonic() + timeout)
            await call.negotiate()
            return await _all(call, verb, names, before)

    async def restart_services(
        self, project: str, services: Sequence[str], timeout: float, before: Callable[[], object] | None = None
    ) -> str:
        """Restart the containers of these services of a compose project, in the order of `services`."""
        async with client(self._uds, keep=False) as web:
            call = _Call(web, self._base, self.host, time.monotonic() + timeout)
            await call.negotiate()
            names = [name for service in services for name in await call.of_service(project, service)]
            return await _all(call, "restart", names, before)


async def _all(call: _Call, verb: str, names: Sequence[str], before: Callable[[], object] | None) -> str:
    done = []
    for name in names:
        done.append(await call.change(verb, name, before))
        before = None
    return "\n".join(done)


class _Call:
    """The requests of one action: they share a version and a deadline (monotonic)."""

    def __init__(self, web: httpx.AsyncClient, base: str, host: str, deadline: float) -> None:
        self._web = web
        self._base = base
        self._host = host
        self._deadline = deadline
        self._prefix = ""

    @property
    def _left(self) -> float:
        return max(0.001, self._deadline - time.monotonic())

    async def negotiate(self) -> None:
        """Speak the engine's own version: these few routes are the same in all of them."""
        answer = await self._read("/_ping")
        version = answer.headers.get("api-version", "")
        if _VERSION.fullmatch(version):
            self._prefix = f"/v{version}"

    async def of_service(self, project: str, service: str) -> list[str]:
        """Ids of the containers of one service; NotFound where there is none."""
        labels = [f"com.docker.compose.project={project}", f"com.docker.compose.service={service}"]
        answer = await self._read("/containers/json", {"all": "true", "filters": json.dumps({"label": labels})})
        ids = [str(item["Id"]) for item in answer.json()]
        if not ids:
            raise NotFound(f"no container of service {service!r} in compose project {project!r}")
        return ids

    async def change(self, verb: str, name: str, before: Callable[[], object] | None) -> str:
        """One container; 304 says that it was so already. Unknown where the answer was lost."""
        wait = max(1, min(MAX_STOP, int(self._left / 2)))
        params = {} if verb == "start" else {"t": str(wait)}
        path = f"/containers/{quote(name, safe='')}/{verb}"
        try:
            answer = await self._send("POST", path, params, before)
        except Unknown as error:
            raise Unknown(f"{verb} {name}: {error}") from error
        if answer.status == 304:
            return f"{name}: nothing to {verb}"
        if not answer.ok:
            raise _refusal(answer)
        return f"{name}: {verb} done"

    async def _read(self, path: str, params: dict[str, str] | None = None) -> Reply:
        try:
            answer = await self._send("GET", path, params or {})
        except Unknown as error:
            raise Temporary(str(error)) from error
        if not answer.ok:
            raise _refusal(answer)
        return answer

    async def _send(
        self, method: str, path: str, params: dict[str, str], before: Callable[[], object] | None = None
    ) -> Reply:
        url = self._base + self._prefix + path
        try:
            return await exchange(self._web, method, url, timeout=self._left, before=before, params=params)
        except AutohealError as error:
            raise type(error)(f"Docker Engine at {self._host}: {error}") from error


def _refusal(answer: Reply) -> AutohealError:
    """The engine's own words."""
    try:
        data: Any = answer.json()
        message = str(data["message"])
    except (Temporary, KeyError, TypeError):
        message = answer.text[:300] or "no reason given"
    text = f"Docker Engine: {message} ({answer.status})"
    if answer.status == 404:
        return NotFound(text)
    return Temporary(text) if answer.status >= 500 else Permanent(text)


def _address(host: str) -> tuple[str | None, str]:
    """The socket, if it is one, and the base URL of a DOCKER_HOST."""
    scheme, _, rest = host.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return rest, "http://docker"
    if scheme in ("tcp", "http", "https") and rest:
        return None, place(f"{'http' if scheme == 'tcp' else scheme}://{rest}").url
    raise Invalid(f"expected unix:///path/to/socket or tcp://host:port, got {scheme or host!r}", "DOCKER_HOST")
