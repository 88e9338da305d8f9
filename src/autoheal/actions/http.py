"""The action `http`: one request, answered as expected or not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from http.client import responses
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote, unquote

from autoheal.clients.exchange import Reply, client, exchange, link_local, settle
from autoheal.clients.outside import Outside
from autoheal.core.errors import Invalid, Permanent, Temporary
from autoheal.core.options import one_of, required, table, text, text_map
from autoheal.core.policy import ActionSpec
from autoheal.core.template import placeholders
from autoheal.engine.ports import ActionResult, Begin

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
OPTIONS = ("method", "url", "headers", "body", "expect", "allow_link_local")
KEPT = 4096
"""Bytes of the answer that go into the trail."""
_URL = re.compile(r"(https?)://(?:([^/?#]*)@)?(\[[^\]]*\]|[^/?#:]*)(?::([^/?#]*))?(/[^?#]*)?(?:\?([^#]*))?", re.I)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\]")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HIDDEN = re.compile(r"token|secret|passw|key|auth|sig", re.I)
_STATUS = {"type": "integer", "minimum": 100, "maximum": 599}
_KEPT_IN_PATH = "%:@!$&'()*+,;=~"


class HttpAction:
    """Options: ``{method: POST, url: ..., headers: {...}, body: text or JSON, expect: [200], allow_link_local: no}``.

    A URL is taken apart when the policy is read: what an alert fills in stays inside its host label, path segment or
    query value. Redirects are not followed. Header values, and query values that look like secrets, are shown nowhere.
    """

    kind: ClassVar[str] = "http"
    schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "method": {"enum": list(METHODS)},
            "url": {"type": "string", "minLength": 1},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "body": {"type": ["string", "object", "array"]},
            "expect": {"anyOf": [_STATUS, {"type": "array", "items": _STATUS, "minItems": 1}]},
            "allow_link_local": {"type": "boolean"},
        },
        "required": ["url"],
        "additionalProperties": False,
    }

    @classmethod
    def ready(cls, outside: Outside) -> HttpAction:
        return cls()

    @staticmethod
    def check(options: Any) -> ActionSpec:
        written = table(options, OPTIONS)
        method = one_of(written.get("method") or "POST", METHODS, "method")
        allow = written.get("allow_link_local", False)
        if not isinstance(allow, bool):
            raise Invalid("expected true or false", "allow_link_local")
        address, shown = _take_apart(text(required(written, "url"), "url"), allow)
        checked = {
            "method": method,
            "address": address,
            "headers": _check_headers(written.get("headers") or {}, written.get("body")),
            "body": _check_body(written.get("body")),
            "expect": _check_expect(written.get("expect")),
            "allow_link_local": allow,
        }
        return ActionSpec("http", checked, ("http", method, shown))

    def run(self, options: Mapping[str, Any], timeout: float, begin: Begin) -> ActionResult:
        return settle(_send(options, timeout, begin))


async def _send(options: Mapping[str, Any], timeout: float, begin: Begin) -> str:
    url = _put_together(options["address"], options["allow_link_local"])
    async with client(keep=False) as web:
        answer = await exchange(
            web,
            options["method"],
            url,
            timeout=timeout,
            limit=KEPT,
            before=lambda: begin(lambda: None),
            refuse_link_local=not options["allow_link_local"],
            headers=options["headers"],
            content=_content(options["body"]),
            auth=_user(options["address"]["user"]),
        )
    return _judge(answer, options["expect"])


def _user(pair: Sequence[str]) -> tuple[str, str] | None:
    return (unquote(pair[0]), unquote(pair[1])) if pair else None


def _judge(answer: Reply, expect: Sequence[int]) -> str:
    """The answer's beginning; an error where its status is not the expected one."""
    if answer.status in expect or (not expect and answer.ok):
        return answer.text
    phrase = responses.get(answer.status, "")
    said = f": {answer.text[:500]}" if answer.body else ""
    error = Temporary if answer.status >= 500 else Permanent
    raise error(f"answered {answer.status} {phrase}".rstrip() + said)


def _content(body: Any) -> bytes | None:
    if body is None:
        return None
    return (body if isinstance(body, str) else json.dumps(body)).encode()


# ---- the address --------------------------------------------------------------------------------------------------


def _take_apart(url: str, allow_link_local: bool) -> tuple[dict[str, Any], str]:
    """The parts, each with its own placeholders, and the URL as it is shown."""
    found = _URL.fullmatch(url)
    if found is None:
        raise Invalid("expected http://HOST/PATH or https://HOST/PATH, without a fragment", "url")
    scheme, user, host, port, path, query = found.groups()
    for part, name in ((user, "user or password"), (port, "port")):
        if part is not None and placeholders(part):
            raise Invalid(f"an alert may not fill in the {name}", "url")
    if port is not None and not (port.isdecimal() and 0 < int(port) < 65536):
        raise Invalid(f"{port!r} is no port", "url")
    segments = (path or "/")[1:].split("/")
    if any(segment in (".", "..") for segment in segments):
        raise Invalid("write the path without . and ..", "url")
    pairs = parse_qsl(query or "", keep_blank_values=True)
    address = {
        "scheme": scheme.lower(),
        "user": [*user.partition(":")[::2]] if user is not None else [],
        "host": host,
        "port": f":{port}" if port else "",
        "path": segments,
        "query": [list(pair) for pair in pairs],
    }
    if not placeholders(host):
        _check_host(host, allow_link_local)
    shown = "&".join(f"{name}={'***' if _HIDDEN.search(name) else value}" for name, value in pairs)
    base = f"{address['scheme']}://{'***@' if user is not None else ''}{host}{address['port']}{path or '/'}"
    return address, base + (f"?{shown}" if shown else "")


def _put_together(address: Mapping[str, Any], allow_link_local: bool) -> str:
    """The URL from rendered parts; what was filled in is encoded, so that it cannot leave its place."""
    host = _check_host(address["host"], allow_link_local)
    segments = [quote(segment, safe=_KEPT_IN_PATH) for segment in address["path"]]
    if any(segment in (".", "..") for segment in segments):
        raise Invalid("the alert fills in a path segment with dots only", "url")
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in address["query"])
    return f"{address['scheme']}://{host}{address['port']}/{'/'.join(segments)}" + (f"?{query}" if query else "")


def _check_host(host: str, allow_link_local: bool) -> str:
    if not _HOST.fullmatch(host):
        raise Invalid(f"{host[:80]!r} is no host", "url")
    if not allow_link_local and link_local(host):
        raise Invalid(f"{host} is a link-local or metadata address; allow_link_local: true permits it", "url")
    return host


# ---- the rest -----------------------------------------------------------------------------------------------------


def _check_headers(value: Any, body: Any) -> dict[str, str]:
    headers = text_map(value, "headers")
    if isinstance(body, list | Mapping) and "content-type" not in map(str.lower, headers):
        headers["Content-Type"] = "application/json"
    for name, item in headers.items():
        if not _HEADER.fullmatch(name):
            raise Invalid("is no header's name", f"headers.{name}")
        if any(ord(char) < 32 and char != "\t" for char in item) or not item.isascii():
            raise Invalid("holds a control character or is not ASCII", f"headers.{name}")
        if name.lower() in ("content-length", "transfer-encoding"):
            raise Invalid("is set by Autoheal", f"headers.{name}")
    return headers


def _check_body(value: Any) -> Any:
    if value is None or isinstance(value, str | list | Mapping):
        return value
    raise Invalid("expected text, or JSON as a mapping or a list", "body")


def _check_expect(value: Any) -> list[int]:
    if value is None:
        return []
    items = value if isinstance(value, list) else [value]
    if not items or not all(type(item) is int and 100 <= item <= 599 for item in items):
        raise Invalid("expected a list of statuses, such as [200, 202]", "expect")
    return items
