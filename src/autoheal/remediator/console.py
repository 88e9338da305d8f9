"""The live console as it is served: one page, and the files that its build made."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from autoheal.core.errors import NotFound
from autoheal.remediator import pages
from autoheal.remediator.service import Remediator
from autoheal.web.access import OPS
from autoheal.web.problems import Problem

HEADERS = pages.HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
}
ASSET_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",  # a name has its content's hash in it
    "X-Content-Type-Options": "nosniff",
}
KINDS = {
    "css": "text/css; charset=utf-8",
    "ico": "image/x-icon",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "map": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
"""No separator and no dot in front: a name leads nowhere but to a file of the folder."""


def built() -> Traversable:
    """Where the build lies; it is no part of the sources."""
    return files("autoheal.remediator") / "static" / "console"


def install(app: FastAPI, service: Remediator) -> None:
    """Add the page and its files; neither holds any data."""

    @app.get("/console", include_in_schema=False)
    async def console(request: Request) -> Response:
        """The page; a browser without rights gets it too, as 401 or 403, so that it can sign in or say why not."""
        try:
            service.access.require(request.headers, OPS, changes=False)
        except Problem as refusal:
            if "text/html" not in request.headers.get("accept", ""):
                raise
            return _page(refusal.status, refusal.headers)
        return _page(200, {})

    @app.get("/console/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        kind = KINDS.get(name.rpartition(".")[2])
        file = built() / "assets" / name if kind and _NAME.fullmatch(name) else None
        if file is None or not file.is_file():
            raise NotFound(f"there is no file {name!r}")
        return Response(file.read_bytes(), media_type=kind, headers=ASSET_HEADERS)


def _page(status: int, headers: dict[str, str]) -> Response:
    index = built() / "index.html"
    if not index.is_file():
        text = pages.done_page("No console", "The console was not built; run scripts/console build.")
        return HTMLResponse(text, 503, pages.HEADERS)
    return HTMLResponse(index.read_bytes(), status, HEADERS | headers)
