"""A running Autoheal's own HTTP API, for the command line."""

from __future__ import annotations

import ipaddress
import json
import ssl
from collections.abc import Generator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx

from autoheal.core.errors import AutohealError, Conflict, Invalid, NotFound, Permanent, Temporary, Unknown

TIMEOUT = 30.0
"""Seconds for an answer: Autoheal itself may have to ask two Alertmanagers before it can give one."""
SILENT = 45.0
"""Seconds without a byte after which a stream counts as lost; Autoheal sends a comment every 15."""
_WRONG = frozenset({400, 405, 413, 415, 422})
_LATER = frozenset({408, 429})


class NoStream(Permanent):
    """This server has no event stream; its trail can be asked instead."""


class Told(NamedTuple):
    """One event of the stream: its id, and its line as the ledger has it.

    `reset`: no event, but word that the id asked for is gone, or not there yet: what follows begins after `id`.
    """

    id: int
    line: str
    reset: bool = False


class AutohealClient:
    """One Autoheal at `url`. Synchronous, and on every platform.

    Raises Temporary where it is out of reach (or asks to come again), Unknown where a change was sent and the answer
    lost, Invalid where it says that the request was wrong, NotFound, Conflict, Permanent for its other refusals.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise Invalid("the token holds characters that a request cannot carry")
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        near = _near(self.url)
        try:
            self._web = httpx.Client(
                headers=headers,
                timeout=httpx.Timeout(timeout, connect=min(5.0, timeout)),
                follow_redirects=False,
                trust_env=not near,
                verify=_no_certificates() if near and self.url.startswith("http:") else True,
                transport=transport,
            )
            self._web.build_request("GET", self.url)
        except (httpx.InvalidURL, ValueError) as error:
            raise Invalid(f"{url!r} is no URL that can be asked: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._web.close()

    # ---- asking ----------------------------------------------------------------------------------------------

    def get(self, path: str, params: Mapping[str, str | int | None] | None = None) -> dict[str, Any]:
        """The JSON object at `path`; parameters that are None are left out."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            return self._object(self._web.get(self.url + path, params=given))
        except httpx.HTTPError as error:
            raise self._out_of_reach(error) from None
        except UnicodeError:
            raise Invalid("what was given is no valid text") from None

    def text(self, path: str) -> str:
        """What `path` answers, as it is."""
        try:
            answer = self._web.get(self.url + path, headers={"Accept": "text/plain"})
        except httpx.HTTPError as error:
            raise self._out_of_reach(error) from None
        if not answer.is_success:
            raise self._refusal(answer)
        return answer.text

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Change something; what was answered."""
        try:
            content = json.dumps(dict(body or {})).encode()  # ASCII: any text can be sent, however odd
            answer = self._web.post(self.url + path, content=content, headers={"Content-Type": "application/json"})
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            raise self._out_of_reach(error) from None
        except httpx.HTTPError as error:
            raise Unknown(
                f"sent to Autoheal at {self.url}, but its answer was lost ({_why(error)}): look before you try again"
            ) from None
        return self._object(answer)

    def _object(self, answer: httpx.Response) -> dict[str, Any]:
        if not answer.is_success:
            raise self._refusal(answer)
        try:
            found = json.loads(answer.content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Temporary(f"what answers at {self.url} is not Autoheal, or not all of it: is the URL right?")
        return found

    def _out_of_reach(self, error: httpx.HTTPError) -> AutohealError:
        return Temporary(f"cannot reach Autoheal at {self.url}: {_why(error)}")

    def _refusal(self, answer: httpx.Response) -> AutohealError:
        status, detail = answer.status_code, _detail(answer)
        if answer.is_redirect:
            return Permanent(f"{self.url} sends on to {answer.headers.get('location', 'another place')}: ask that one")
        if status in (401, 403):
            return Permanent(f"Autoheal refused: {detail} (give --token, or set AUTOHEAL_ADMIN_TOKEN)")
        if status in _WRONG:
            return Invalid(detail)
        if status >= 500 or status in _LATER:
            return Temporary(f"Autoheal at {self.url} answered {status}: {detail}")
        return {404: NotFound, 409: Conflict}.get(status, Permanent)(detail)

    # ---- following -------------------------------------------------------------------------------------------

    def events(
        self, after: int, kind: str | None = None, alertname: str | None = None, silent: float = SILENT
    ) -> Generator[Told]:
        """Events after the id `after` as they happen, over one connection that may be silent for so many seconds.

        Ends only by an error: Temporary where the connection is lost (go on after the last id), NoStream where the
        server has no stream.
        """
        given = {"last_event_id": str(after), "kind": kind, "alertname": alertname}
        params = {name: value for name, value in given.items() if value is not None}
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        timeout = httpx.Timeout(silent, connect=5.0)
        try:
            with self._web.stream(
                "GET", f"{self.url}/events", params=params, headers=headers, timeout=timeout
            ) as answer:
                if answer.status_code in (404, 405, 406, 501):
                    raise NoStream(f"Autoheal at {self.url} has no event stream")
                if not answer.is_success:
                    answer.read()
                    raise self._refusal(answer)
                if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                    raise NoStream(f"{self.url}/events is no event stream")
                yield from read_stream(answer.iter_bytes())
        except httpx.HTTPError as error:
            raise Temporary(f"lost Autoheal at {self.url}: {_why(error)}") from None
        raise Temporary(f"Autoheal at {self.url} closed the stream")


def read_stream(chunks: Iterable[bytes]) -> Iterator[Told]:
    """Server-Sent Events (WHATWG HTML, 9.2.6) out of bytes as they come; those without an id of ours are left out."""
    rest, event_id, kind, data = b"", "", "", list[str]()
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for raw in lines:
            line = raw.rstrip(b"\r").decode("utf-8", "replace")
            if not line:
                if data and event_id.isascii() and event_id.isdigit():
                    yield Told(int(event_id), "\n".join(data), kind == "reset")
                kind, data = "", []
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                event_id = value
            elif name == "event":
                kind = value
            elif name == "data":
                data.append(value)


def _detail(answer: httpx.Response) -> str:
    """What a problem+json says; else the beginning of what came."""
    try:
        found = json.loads(answer.content)
    except ValueError:
        found = None
    if isinstance(found, dict) and (found.get("detail") or found.get("title")):
        return str(found.get("detail") or found["title"])
    return answer.text[:200].strip() or f"{answer.status_code} {answer.reason_phrase}".strip()


def _why(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.ConnectError) and "refused" in str(error).lower():
        return "nothing listens there (is it running? `autoheal serve` starts one)"
    return str(error) or type(error).__name__


def _no_certificates() -> ssl.SSLContext:
    """For a connection that has no TLS: it trusts nobody, and it spares the 20 ms of loading whom to trust."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _near(url: str) -> bool:
    """Whether the URL means this machine: no proxy of the environment is asked then."""
    try:
        host = httpx.URL(url).host
    except (httpx.InvalidURL, TypeError):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
