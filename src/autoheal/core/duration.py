"""Durations as Prometheus writes them: ``4h5m``, ``90s``, ``500ms``."""

from __future__ import annotations

import re

from autoheal.core.errors import Invalid

_UNITS = (
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
)
"""Unit and milliseconds, in the order in which they must be written."""
_SHAPE = re.compile("".join(f"(?:([0-9]+){unit})?" for unit, _ in _UNITS))
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_MOST = 2**63 // 1_000_000
"""Milliseconds: what Prometheus can hold (292 years)."""
_EXACT = ("y", "w")
"""Units that are written only where nothing remains: 8 days are ``8d``, not ``1w1d``."""


def parse_duration(text: str) -> float:
    """Seconds of a Prometheus duration: units y w d h m s ms, each at most once and in this order; or ``0``."""
    if text == "0":
        return 0.0
    found = _SHAPE.fullmatch(text)
    if found is None or not text:
        raise Invalid(f"{text!r} is no duration; write it as 90s, 10m, 4h5m or 1d")
    if len(text) > 100:
        raise Invalid("the duration is out of range")
    total = sum(int(count) * unit for count, (_, unit) in zip(found.groups(), _UNITS, strict=True) if count)
    if total > _MOST:
        raise Invalid(f"the duration {text!r} is out of range")
    return total / 1000


def parse_seconds(text: str) -> float:
    """Seconds of a duration; a plain number, such as ``600`` or ``1.5``, counts as seconds."""
    if len(text) <= 20 and _NUMBER.fullmatch(text):
        return float(text)
    return parse_duration(text)


def format_duration(seconds: float) -> str:
    """`seconds` as a Prometheus duration, to the millisecond; what lies below zero gets a minus in front."""
    rest = round(abs(seconds) * 1000)
    if rest == 0:
        return "0s"
    text = "-" if seconds < 0 else ""
    for unit, length in _UNITS:
        if rest >= length and (unit not in _EXACT or rest % length == 0):
            text += f"{rest // length}{unit}"
            rest %= length
    return text
