"""What `autoheal doctor` and `autoheal smoke` found: one line of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """`off`: nothing to look at, because it is not configured, or nothing that can be seen from here. `skip`: could not
    be tried, which is not well. `fix`: what to do about a bad one."""

    check: str
    state: Literal["ok", "bad", "off", "skip"]
    detail: str
    fix: str = ""


def ok(check: str, detail: str) -> Finding:
    return Finding(check, "ok", detail)


def bad(check: str, detail: str, fix: str) -> Finding:
    return Finding(check, "bad", detail, fix)


def skip(check: str, why: str) -> Finding:
    return Finding(check, "skip", why)
