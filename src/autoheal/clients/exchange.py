"""One HTTP exchange that knows whether anything was sent: not sent is temporary, sent without an answer unknown."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx

from autoheal.core.errors import AutohealError, Permanent, Temporary, Unknown
from autoheal.engine.ports import ActionResult

T = TypeVar("T")
MAX_BODY = 64 * 1024 * 1024
"""Bytes of an answer that are read at most where the caller does not say."""

METADATA_HOSTS = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_METADATA_ADDRESSES = frozenset({"100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `complete`: the whole body was read; else it was cut at the limit or at the deadline."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool = True

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON; Temporary where it is cut or none (a proxy's page, for example)."""
        try:
            if self.complete:
                return json.loads(self.body)
        except ValueError:
            pass
        raise Temporary(f"answered {self.status} with something that is not JSON: {self.text[:200]!r}")


@dataclass(frozen=True, slots=True)
class Place:
    """A base URL without its secrets, and what proves us there. Only `url` may be shown."""

    url: str
    auth: tuple[str, str] | None = None


def place(url: str) -> Place:
    """Take user and password out of `url`, and a trailing slash; Permanent where it is no http(s) URL."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise Permanent(f"not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise Permanent("expected a URL such as http://host:9093")
    bare = parts.netloc.rpartition("@")[2]
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return Place(urlunsplit((parts.scheme, bare, parts.path.rstrip("/"), "", "")), auth)


@lru_cache(maxsize=1)
def tls() -> ssl.SSLContext:
    """One context for all: loading the certificates takes 20 ms."""
    return httpx.create_ssl_context()


def client(uds: str | None = None, keep: bool = True) -> httpx.AsyncClient:
    """A client that neither follows redirects nor takes proxies from the environment; timeouts are the exchange's.

    `keep=False` opens a connection for each request: for what must not meet one that just went stale.
    """
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=10 if keep else 0)
    transport = httpx.AsyncHTTPTransport(verify=tls(), limits=limits, uds=uds, trust_env=False)
    return httpx.AsyncClient(transport=transport, timeout=None, follow_redirects=False, trust_env=False)  # noqa: S113


async def exchange(
    web: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    timeout: float,
    limit: int = MAX_BODY,
    auth: tuple[str, str] | None = None,
    before: Callable[[], object] | None = None,
    refuse_link_local: bool = False,
    **request: Any,
) -> Reply:
    """Send once, and read the answer, within `timeout` seconds in all; at most `limit` bytes of its body.

    `before` is called when the connection stands, directly before the first byte of the request; what it raises
    leaves here unchanged and nothing is sent. Temporary: nothing was sent. Unknown: sent, and no answer came.
    """
    sent = False

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        nonlocal sent
        if refuse_link_local and event == "connection.connect_tcp.complete":
            await _refuse_link_local(info["return_value"])
        if event.endswith("send_request_headers.started"):
            if before is not None:
                before()
            sent = True

    answer: httpx.Response | None = None
    body = bytearray()
    complete = False
    try:
        async with asyncio.timeout(timeout):
            built = web.build_request(method, url, extensions={"trace": trace}, **request)
            answer = await web.send(built, auth=httpx.BasicAuth(*auth) if auth else None, stream=True)
            complete = await _read(answer, body, limit)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, ValueError) as error:
        raise Permanent(f"cannot be asked: {error}") from error
    except (TimeoutError, httpx.HTTPError, OSError) as error:
        if answer is None:
            raise _lost(sent, timeout, error) from error
    finally:
        if answer is not None:
            await answer.aclose()
    return Reply(answer.status_code, answer.headers, bytes(body), complete)


async def _read(answer: httpx.Response, body: bytearray, limit: int) -> bool:
    """Fill `body` up to `limit`; whether that was all."""
    async for chunk in answer.aiter_bytes():
        body += chunk[: limit - len(body) + 1]
        if len(body) > limit:
            del body[limit:]
            return False
    return True


def _lost(sent: bool, timeout: float, error: Exception) -> AutohealError:
    why = f"no answer within {timeout:g}s" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return Unknown(f"sent, but the answer was lost: {why}") if sent else Temporary(f"cannot be reached: {why}")


async def _refuse_link_local(stream: Any) -> None:
    """Whatever the name was: the address that was reached counts, before anything is sent to it."""
    address = stream.get_extra_info("server_addr")
    if isinstance(address, tuple) and link_local(str(address[0])):
        await stream.aclose()
        raise Permanent(f"{address[0]} is a link-local or metadata address; allow_link_local: true permits it")


def link_local(host: str) -> bool:
    """Whether `host` names the machine's own surroundings: link-local, or a cloud's metadata service."""
    name = host.strip("[]").partition("%")[0].rstrip(".").lower()
    if name in METADATA_HOSTS:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_link_local) or str(mapped) in _METADATA_ADDRESSES


def settle(work: Coroutine[Any, Any, str]) -> ActionResult:
    """Run an action's exchanges to their end, in this thread; errors become its result, the text its output."""
    try:
        return ActionResult("ok", output=asyncio.run(work))
    except Unknown as error:
        return ActionResult("unknown", error=str(error))
    except AutohealError as error:
        return ActionResult("fail", error=str(error))
