"""Proof of one human click: a token that is bound to what the page showed, expires, and works once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping

import orjson

LASTS = 600.0
"""Seconds that a page may stay open before its button no longer works."""
MAX_USED = 10_000


class Clicks:
    """Makes and redeems tokens; the key lives as long as the process, so a restart voids what was handed out."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._key = secrets.token_bytes(32)
        self._used: OrderedDict[str, float] = OrderedDict()

    def make(self, labels: Mapping[str, str], duration: str, comment: str) -> str:
        nonce, ends = secrets.token_urlsafe(16), str(int(self._now() + LASTS))
        return f"{nonce}.{ends}.{self._sign(nonce, ends, labels, duration, comment)}"

    def redeem(self, token: str, labels: Mapping[str, str], duration: str, comment: str) -> str | None:
        """None when it holds, and then never again; otherwise why not."""
        nonce, _, rest = token.partition(".")
        ends, _, signature = rest.partition(".")
        if not hmac.compare_digest(
            signature.encode("utf-8", "replace"), self._sign(nonce, ends, labels, duration, comment).encode()
        ):
            return "the token does not belong to these labels; open the page again"
        if float(ends) < self._now():
            return "the page was open for too long; open it again"
        if nonce in self._used:
            return "this button was used already; nothing was changed a second time"
        self._used[nonce] = float(ends)
        while len(self._used) > MAX_USED or (self._used and next(iter(self._used.values())) < self._now()):
            self._used.popitem(last=False)
        return None

    def _sign(self, nonce: str, ends: str, labels: Mapping[str, str], duration: str, comment: str) -> str:
        bound = orjson.dumps([nonce, ends, dict(labels), duration, comment], option=orjson.OPT_SORT_KEYS)
        return hmac.new(self._key, bound, hashlib.sha256).hexdigest()
