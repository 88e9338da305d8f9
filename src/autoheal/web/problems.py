"""Errors on the wire: RFC 9457 problem+json, naming the field where there is one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from time import monotonic
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from autoheal.core.errors import AutohealError, Conflict, Invalid, NotFound
from autoheal.engine.ports import StoreUnavailable

log = structlog.get_logger("web")

TELL_EVERY = 10.0
"""Seconds between two lines in the log that the ledger is away."""


class Problem(Exception):
    """Raised anywhere in a request; becomes a problem+json answer with this status."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra

    def response(self) -> Response:
        return problem(self.status, self.detail, self.headers, **self.extra)


_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with NUL and lone surrogates, which UTF-8 or a database cannot hold, written out."""
    return _UNWRITABLE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **extra: Any) -> Response:
    """The answer itself; `extra` members such as ``field`` are added."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": visible(detail), **extra}
    return Response(orjson.dumps(body), status, dict(headers or {}), "application/problem+json")


def unavailable(error: StoreUnavailable, before: str = "nothing was done: ") -> Response:
    """The answer while the ledger is away. What the database said, which may name hosts and users, is for the log."""
    said = public(str(error))
    _unavailable.tell(str(error))
    return problem(503, before + said, {"Retry-After": "5"})


def public(error: str) -> str:
    """What anybody may read of an error of the store: what cannot be done, without what the database said."""
    return error.partition(": ")[0].replace("cannot be opened", "cannot be reached")


class _Sparing:
    """One line in the log now and then, however many ask."""

    def __init__(self) -> None:
        self._next = float("-inf")

    def tell(self, error: str) -> None:
        if monotonic() >= self._next:
            self._next = monotonic() + TELL_EVERY
            log.warning("unavailable", error=error)


_unavailable = _Sparing()


PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string"},
    },
}


def answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the problem answers of a route."""
    content = {"application/problem+json": {"schema": PROBLEM_SCHEMA}}
    return {code: {"description": HTTPStatus(code).phrase, "content": content} for code in codes}


def undocument_422(app: FastAPI) -> None:
    """Take FastAPI's own code for bad input out of the description: here that is 400."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        schema = describe()
        for verbs in schema["paths"].values():
            for verb in verbs.values():
                verb["responses"].pop("422", None)
        return schema

    app.openapi = described  # type: ignore[method-assign]


def install(app: FastAPI) -> None:
    """Turn every error that leaves a route into a problem."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where, *parts = first["loc"]
        if where == "path":
            return problem(404, "Not Found")
        broken = first["type"] == "json_invalid"
        field = str(where) if broken or not parts else ".".join(str(part) for part in parts)
        return problem(400, f"{field}: {first['msg']}", field=visible(field)[:200])

    @app.exception_handler(Invalid)
    async def _invalid(request: Request, error: Invalid) -> Response:
        return problem(400, str(error), field=error.field)

    @app.exception_handler(NotFound)
    async def _not_found(request: Request, error: NotFound) -> Response:
        return problem(404, str(error))

    @app.exception_handler(Conflict)
    async def _conflict(request: Request, error: Conflict) -> Response:
        return problem(409, str(error))

    @app.exception_handler(StoreUnavailable)
    async def _store(request: Request, error: StoreUnavailable) -> Response:
        return unavailable(error, "" if request.method in ("GET", "HEAD") else "nothing was done: ")

    @app.exception_handler(AutohealError)
    async def _neighbour(request: Request, error: AutohealError) -> Response:
        return problem(502, str(error))

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> Response:
        return problem(500, "an error of Autoheal's own making; its log tells more")
