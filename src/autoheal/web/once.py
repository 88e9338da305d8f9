"""Tokens that are bound to what they were made for, expire, and work once, over all processes on one ledger."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Literal

import orjson

from autoheal.engine.ports import Claims

Refusal = Literal["forged", "late", "used"]


class OnceTokens:
    """`key` signs; processes that share a ledger share it. `now` gives Unix seconds."""

    def __init__(self, claims: Claims, now: Callable[[], float], key: bytes) -> None:
        self._claims, self._now, self._key = claims, now, key

    def make(self, purpose: str, bound: object, lasts: float) -> str:
        """A token for one use within `lasts` seconds. `bound` is anything that JSON can say."""
        nonce, ends = secrets.token_urlsafe(16), str(int(self._now() + lasts))
        return f"{nonce}.{ends}.{self._sign(purpose, nonce, ends, bound)}"

    def redeem(self, purpose: str, bound: object, token: str) -> Refusal | None:
        """None when it holds, and then never again; otherwise why not. Blocks, and may raise StoreUnavailable."""
        nonce, _, rest = token.partition(".")
        ends, _, signature = rest.partition(".")
        expected = self._sign(purpose, nonce, ends, bound)
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), expected.encode()):
            return "forged"
        left = float(ends) - self._now()
        if left < 0:
            return "late"
        return None if self._claims.once(f"{purpose}:{nonce}", left + 1) else "used"

    def _sign(self, purpose: str, nonce: str, ends: str, bound: object) -> str:
        said = [purpose, *(text.encode("utf-8", "replace").decode() for text in (nonce, ends)), bound]
        return hmac.new(self._key, orjson.dumps(said, option=orjson.OPT_SORT_KEYS), hashlib.sha256).hexdigest()
