"""The trail's events: their kinds, their fields, and the hash chain that binds their lines."""

from __future__ import annotations

import hashlib
from typing import Any

Event = dict[str, Any]
"""One event: `id` (dense, the order of commit), `ts` (Unix seconds), `kind`, and the fields that apply."""

KINDS = (
    "webhook_received",
    "webhook_rejected",
    "decision_act",
    "decision_skip",
    "decision_hold",
    "action_dry_run",
    "action_started",
    "action_ok",
    "action_fail",
    "action_unknown",
    "verify_ok",
    "verify_fail",
    "verify_inconclusive",
    "escalated",
    "cancelled",
    "approval_requested",
    "approved",
    "rejected",
    "settled",
    "marked",
    "ack",
    "ack_ended",
    "mode_changed",
    "cooldown_changed",
    "policy_loaded",
    "policy_rejected",
    "heartbeat",
    "started",
    "stopped",
)

SILENCE_WATCH = "silence_watch"
"""The `source` of what no webhook tells and the watch of our own silences saw. `seen` lists it, each with `status`;
`behind` is the silence that hides it."""

GENESIS = "0" * 64
"""What the first line of a ledger is chained to."""

_TAIL = b',"hash":"'
_TAIL_LENGTH = len(_TAIL) + 64 + 2


def seal(body: bytes, previous: str) -> tuple[str, str]:
    """Chain one serialised event: its line (the body with its hash as the last field) and that hash.

    `body` is a JSON object in UTF-8 without white space at its ends and with at least one field; the hash is
    SHA-256 over the previous line's hash (64 hexadecimal digits) and the body.
    """
    digest = hashlib.sha256(previous.encode() + body).hexdigest()
    return f'{body[:-1].decode()},"hash":"{digest}"}}', digest


def unseal(line: str | bytes) -> tuple[bytes, str] | None:
    """The body and the stated hash of a line, or None where the line has no hash at its end."""
    raw = line.encode() if isinstance(line, str) else line
    tail = raw[-_TAIL_LENGTH:]
    if len(raw) <= _TAIL_LENGTH or not tail.startswith(_TAIL) or not tail.endswith(b'"}'):
        return None
    return raw[:-_TAIL_LENGTH] + b"}", tail[len(_TAIL) : -2].decode("ascii", "replace")


def follows(line: str | bytes, previous: str) -> bool:
    """Whether `line` is unchanged and comes directly after the line whose hash is `previous`."""
    parts = unseal(line)
    if parts is None:
        return False
    body, stated = parts
    return hashlib.sha256(previous.encode() + body).hexdigest() == stated
