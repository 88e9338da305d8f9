"""Whether a request is Slack's: its signature, version v0 (docs.slack.dev, "Verifying requests from Slack")."""

from __future__ import annotations

import hashlib
import hmac
import re

WINDOW = 300.0
"""Seconds that the timestamp may be away from our clock, so that a request cannot be sent again later."""
_STAMP = re.compile(r"[0-9]{1,15}")


def verify_signature(secret: str, timestamp: str | None, body: bytes, signature: str | None, now: float) -> bool:
    """Whether `signature` is the one of `body` at `timestamp` (the two headers), and that is not long ago.

    Never raises: whatever is missing or malformed is no.
    """
    if not secret or timestamp is None or signature is None or not _STAMP.fullmatch(timestamp):
        return False
    if not abs(now - int(timestamp)) <= WINDOW:
        return False
    signed = b"v0:" + timestamp.encode() + b":" + body
    expected = "v0=" + hmac.new(secret.encode("utf-8", "surrogatepass"), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogatepass"))
