"""The options that every client verb has, and the connection that they give."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from autoheal.clients.autoheal import AutohealClient

Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="Which Autoheal. Default: AUTOHEAL_PUBLIC_URL, else 127.0.0.1 and AUTOHEAL_PORT."
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        help="Default: AUTOHEAL_ADMIN_TOKEN, or the file that AUTOHEAL_ADMIN_TOKEN_FILE names (both stay out of `ps`).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


def connect(url: str | None, token: str | None) -> AutohealClient:
    """The Autoheal that the options and the environment name; Invalid where they cannot be used."""
    from autoheal.clients.autoheal import AutohealClient

    return AutohealClient(where(url, os.environ), proof(token, os.environ))


def where(url: str | None, environ: Mapping[str, str]) -> str:
    """The base URL: given, public, or this machine's."""
    from autoheal.config import variables
    from autoheal.core.errors import Invalid

    for name, text in (("--url", url), ("AUTOHEAL_PUBLIC_URL", environ.get("AUTOHEAL_PUBLIC_URL", "").strip())):
        if text:
            try:
                return variables.url(text)
            except Invalid as error:
                raise Invalid(error.detail, name) from None
    if "AUTOHEAL_PORT" in variables.service_links(environ):
        raise Invalid(variables.LINKS.format(names="AUTOHEAL_PORT"))
    try:
        return f"http://127.0.0.1:{variables.port(environ.get('AUTOHEAL_PORT', '').strip() or '9009')}"
    except Invalid as error:
        raise Invalid(error.detail, "AUTOHEAL_PORT") from None


def proof(token: str | None, environ: Mapping[str, str]) -> str | None:
    """The token: given, or the environment's."""
    from autoheal.config.secrets import secret_text

    return token.strip() if token else secret_text("AUTOHEAL_ADMIN_TOKEN", environ)
