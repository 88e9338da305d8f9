"""A generated trail: sealed events as a real ledger has them, fast enough to make ten million."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from autoheal.core import remediation as life
from autoheal.core.events import GENESIS
from autoheal.core.remediation import Remediation
from autoheal.engine.ports import Head, RemediationRow, Row

BEGAN = 1_760_000_000.0
EVERY = 0.5
"""Seconds between two events, on average; times are whole milliseconds."""
STEP_BACK = 250_000
"""Events from one going back of the clock to the next."""
PER_REMEDIATION = 25
"""A remediation begins with each event of which the id divides by this."""
RARE = "Rare"
"""In an alert's and a rule's name: one event in 50,000."""

ALERTNAMES = tuple(f"Alert{number}" for number in range(200))
RULES = tuple(f"rule{number}" for number in range(20))
_KINDS = {
    "decision_skip": 50,
    "webhook_received": 20,
    "decision_act": 6,
    "action_started": 6,
    "action_ok": 5,
    "verify_ok": 4,
    "action_dry_run": 4,
    "heartbeat": 2,
    "action_fail": 1,
    "escalated": 1,
    "cancelled": 1,
}
KINDS = tuple(_KINDS)
_OURS = frozenset(KINDS) - {"decision_skip", "webhook_received", "heartbeat", "escalated"}
"""Kinds that belong to a remediation."""
_SHAPES = 4000
_BATCH = 5000
_ENDS = (life.HEALED,) * 80 + (life.FAILED,) * 12 + (life.EXHAUSTED,) * 5 + (life.CANCELLED,) * 3
STATES = (life.HEALED, life.FAILED, life.EXHAUSTED, life.CANCELLED)


class _Shape(NamedTuple):
    """An event without what is its own: `before` and `after` are the JSON on both sides of the remediation's id."""

    kind: str
    alertname: str | None
    rule: str | None
    ours: bool
    before: bytes
    after: bytes


class Trail:
    """What comes after `head`, as if no policy or process had ever changed."""

    def __init__(self, head: Head) -> None:
        self.head = head if head.id else Head(0, GENESIS, BEGAN)
        self._draw = random.Random(head.id)
        shapes = random.Random(7)
        self._shapes = [_shape(shapes, number) for number in range(_SHAPES)]
        self._rare = _shape(shapes, 0, RARE)

    def rows(self, last: int) -> list[Row]:
        """The next few events, up to `last`; `head` is where they lead."""
        return self._batch(min(_BATCH, last - self.head.id))

    def _batch(self, count: int) -> list[Row]:
        first, digest, at = self.head.id + 1, self.head.hash, math.ceil(self.head.ts * 1000)
        shapes = self._draw.choices(self._shapes, k=count)
        if first // 50_000 != (first + count) // 50_000:
            shapes[0] = self._rare
        pauses = self._draw.choices(range(0, int(EVERY * 2000) + 1, 10), k=count)
        rows = []
        for number, shape, pause in zip(range(first, first + count), shapes, pauses, strict=True):
            at += pause if number % STEP_BACK else -30_000
            kind, alertname, rule, ours, before, after = shape
            which = f"r{number - number % PER_REMEDIATION or PER_REMEDIATION}" if ours else None
            inside = before + b',"remediation_id":"' + which.encode() + b'"' + after if which else before + after
            body = b'{"id":%d,"ts":%d.%03d%s' % (number, at // 1000, at % 1000, inside)
            digest = hashlib.sha256(digest.encode() + body).hexdigest()  # as `seal`, without its two calls
            rows.append(
                Row(number, at / 1000, kind, alertname, rule, which, f'{body[:-1].decode()},"hash":"{digest}"}}')
            )
        self.head = Head(number, digest, at / 1000)
        return rows


def steps_back(rows: list[Row], before: float) -> list[tuple[int, float, float]]:
    """What `clock_steps` has to say of them: (id, ts, ts of the event before)."""
    steps = []
    for row in rows:
        if row.ts < before:
            steps.append((row.id, row.ts, before))
        before = row.ts
    return steps


def remediations(first: int, last: int) -> Iterator[RemediationRow]:
    """Those that begin with the events `first` to `last`: all have ended."""
    draw = random.Random(first)
    for number in range(first + -first % PER_REMEDIATION, last + 1, PER_REMEDIATION):
        rare = number % 50_000 == 0
        name, rule = (f"Alert{RARE}", f"rule{RARE}") if rare else (draw.choice(ALERTNAMES), draw.choice(RULES))
        began, state = BEGAN + number * EVERY, draw.choice(_ENDS)
        labels = _labels(name, number)
        made = Remediation(
            f"r{number}", state, rule, "5cd080536be34518", f'{rule}{{instance="{labels["instance"]}"}}', name,
            f"{number:016x}", f"{number:016x}@{began:.3f}", labels, {}, began, began, began, ended_at=began + 40,
        )  # fmt: skip
        yield RemediationRow(made.id, state, rule, name, began, began + 40, orjson.dumps(made).decode())


def _labels(alertname: str, number: int) -> dict[str, str]:
    place = {"instance": f"10.0.0.{number % 250}:9100", "job": "node", "cluster": f"c{number % 7}"}
    return {"alertname": alertname, **place, "severity": "critical"}


def _shape(draw: random.Random, number: int, rare: str = "") -> _Shape:
    """Few names make most of the noise."""
    kind = "decision_act" if rare else draw.choices(KINDS, list(_KINDS.values()))[0]
    if kind in ("webhook_received", "heartbeat"):
        tail = {"kind": kind, "alerts": 1 + number % 30, "source": "alertmanager", "origin": "http://alertmanager:9093"}
        return _Shape(kind, None, None, False, b"," + orjson.dumps(tail)[1:], b"")
    alertname = f"Alert{rare}" if rare else ALERTNAMES[int(200 * draw.random() ** 2)]
    ours = kind in _OURS
    rule = f"rule{rare}" if rare else RULES[int(20 * draw.random() ** 2)]
    named = {"kind": kind, "alertname": alertname, "fingerprint": f"{draw.getrandbits(64):016x}"}
    if ours or number % 3:
        named["rule"] = rule
    trace = dict.fromkeys(("kill_switch", "resolved", "maintenance", "silenced", "in_progress", "cooldown"), "pass")
    more = {"labels": _labels(alertname, number), "reason": "cooldown", "cmd": "/usr/bin/systemctl", "trace": trace}
    before, after = orjson.dumps(named)[1:-1], orjson.dumps(more)[1:]
    return _Shape(kind, alertname, named.get("rule"), ours, b"," + before, b"," + after)
