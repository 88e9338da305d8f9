"""What a button or a link is worth: signed, bound to exact labels, expiring, kept nowhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from autoheal.threader.conversation import Conversation
from autoheal.threader.look import GROUP

Purpose = Literal["button", "link", "confirm"]
Refusal = Literal["forged", "late"]

UNDO = "undo"
"""What stands for a duration where an acknowledgement is taken back."""
DAY = 86400
LASTS = 7
"""Days for which a button or a link holds at least, after the last that was heard when it was drawn."""
CONFIRM_LASTS = 600
"""Seconds in which a person must have confirmed."""
MAX_TOKEN = 600
_PART = re.compile(r"[A-Za-z0-9_-]{0,64}")
_TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,600}")
_OBVIOUS = frozenset({"1234", "4321", "2345", "9999", "1111", "1212", "2222", "1000", "2000", "2468", "9876"})


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token says. `nonce` tells it from every other one; `shown` is the digest of what the person was shown
    before confirming (`digest_of`), empty elsewhere; `expires` is Unix seconds."""

    key: str
    scope: str
    duration: str
    labels_digest: str
    expires: int
    nonce: str
    shown: str = ""


class Tokens:
    """`key` signs; processes that share it read each other's tokens. `now` gives Unix seconds.

    Buttons and links are the same for the same conversation, so that drawing it twice gives the same bytes. A link is
    another one after each transition, and in each thread of a group, for it works only once (`Claim.nonce`, `uses`).
    """

    def __init__(self, key: bytes, now: Callable[[], float]) -> None:
        self._key = hmac.digest(key, b"autoheal threader token 1", hashlib.sha256)
        self._now = now

    def make(self, purpose: Purpose, c: Conversation, scope: str, duration: str, shown: str = "") -> str:
        """A token for `scope`: `GROUP`, a fingerprint, or the id of a silence of this conversation; empty where nothing
        could be done with it. `duration` is as Prometheus writes it, or `UNDO`.

        What is done to a silence that is there is bound to the conversation, everything else to exact labels, too.
        """
        labels = None if duration == UNDO or scope in c.acks else labels_for(c, scope)
        if labels is None and not c.acks:
            return ""
        digest = digest_of(labels) if labels is not None else ""
        if purpose == "confirm":
            mark, expires = secrets.token_urlsafe(12), int(self._now()) + CONFIRM_LASTS
        else:
            mark, expires = f"{int(c.opened_at)}-{c.number}" if purpose == "link" else "", _expires(c)
        parts = (c.key, scope, duration, digest, shown, mark, str(expires))
        if not all(map(_PART.fullmatch, parts)):
            return ""  # a silence with an id that no Alertmanager gives
        text = ".".join(parts)
        return f"{text}.{self._sign(purpose, text)}"

    def read(self, purpose: Purpose, token: str) -> Claim | Refusal:
        """What the token says, if it is ours and still holds."""
        claim = self.signed(purpose, token)
        if claim is None:
            return "forged"
        return claim if self._now() <= claim.expires else "late"

    def signed(self, purpose: Purpose, token: str) -> Claim | None:
        """What the token says, if it is ours, whether or not it still holds."""
        if not _TOKEN.fullmatch(token):
            return None
        text, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(purpose, text).encode()):
            return None
        key, scope, duration, digest, shown, _, expires = text.split(".")
        return Claim(key, scope, duration, digest, int(expires), signature, shown)

    def left(self, claim: Claim) -> float:
        """Seconds for which its use must be remembered."""
        return max(claim.expires - self._now(), 0.0) + 60.0

    def code(self, token: str) -> str:
        """Four digits that belong to this token; none that a machine which fills in forms would think of."""
        for turn in range(100):
            number = hmac.digest(self._key, f"code {turn} {token}".encode("utf-8", "replace"), hashlib.sha256)
            found = f"{1000 + int.from_bytes(number[:8], 'big') % 9000}"
            if found not in _OBVIOUS:
                return found
        raise AssertionError("unreachable: a digest never gives only obvious digits")

    def _sign(self, purpose: str, text: str) -> str:
        signed = hmac.digest(self._key, f"{purpose}\n{text}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()


def _expires(c: Conversation) -> int:
    """By whole days, so that what is drawn anew is not another message each time."""
    return int(max(c.fired_at, c.news_at, c.heard_at) // DAY + 1 + LASTS) * DAY


def labels_for(c: Conversation, scope: str) -> dict[str, str] | None:
    """The labels that an acknowledgement asks for now: of the one alert that fires, or those the group is made by.

    `scope` is `GROUP` or a fingerprint. None where there are none, where they would match everything, or where nothing
    in scope fires.
    """
    firing = c.firing
    if scope != GROUP:
        member = c.members.get(scope)
        labels: Mapping[str, str] = member.labels if member is not None and member.firing else {}
    elif not firing:
        return None
    elif len(firing) == 1 and not c.truncated:
        labels = firing[0].labels
    else:
        labels = c.group_labels
    return dict(labels) if any(labels.values()) else None


def digest_of(said: object) -> str:
    """Short and the same for the same thing, whatever the order of its names."""
    text = json.dumps(said, sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:16]).rstrip(b"=").decode()
