"""Secrets: what they are called, where they are read from, and a type that does not show them."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from pathlib import Path

from autoheal.core.errors import Invalid

SECRET_NAMES = frozenset(
    {
        "AUTOHEAL_WEBHOOK_TOKEN",
        "AUTOHEAL_ADMIN_TOKEN",
        "SECRET_KEY",
        "OIDC_CLIENT_SECRET",
        "SLACK_WEBHOOK_URL",
        "SLACK_BOT_TOKEN",
        "SLACK_SIGNING_SECRET",
        "DATABASE_URL",
        "REDIS_URL",
        "VAULT_TOKEN",
    }
)
"""Variables whose value may also stand in the file that ``NAME_FILE`` names."""

MAX_SECRET = 64 * 1024


class Secret:
    """A text that neither `repr` nor `str` nor a format shows; `reveal` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def fits(self, given: str) -> bool:
        """Whether `given` is the secret, in a time that does not tell how much of it fits."""
        return hmac.compare_digest(self._text.encode("utf-8", "replace"), given.encode("utf-8", "replace"))

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return self.fits(other._text) if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


def secret_text(name: str, environ: Mapping[str, str]) -> str | None:
    """The secret's text from ``NAME`` or the file that ``NAME_FILE`` names; None where neither is set.

    Invalid names the variable and what is wrong with its file; the file's text is stripped.
    """
    direct, path = environ.get(name, ""), environ.get(f"{name}_FILE", "")
    if direct and path:
        raise Invalid(f"both {name} and {name}_FILE are set; keep one")
    if not path:
        return direct or None
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_SECRET + 1).decode()
    except OSError as error:
        raise Invalid(f"{name}_FILE: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Invalid(f"{name}_FILE: {path} is not UTF-8") from None
    if len(text) > MAX_SECRET:
        raise Invalid(f"{name}_FILE: {path} is larger than {MAX_SECRET} bytes")
    if not text.strip():
        raise Invalid(f"{name}_FILE: {path} is empty")
    return text.strip()
