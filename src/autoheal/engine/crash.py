"""Named points at which the crash tests end the process; in a running service they cost one comparison."""

from __future__ import annotations

import os
import signal

POINTS = (
    "before_commit",
    "after_commit",
    "after_copy",
    "before_spawn",
    "after_spawn",
    "before_outcome",
    "before_verdict",
)
THREADER_POINTS = ("threader.heard", "threader.claimed", "threader.sent", "threader.confirmed")
"""The same on the way to Slack: alerts on disk, a message claimed, sent, confirmed."""

_wanted = ""
_countdown = 0


def arm(point: str, after: int = 1) -> None:
    """End the process with SIGKILL when `point` is passed for the `after`-th time; only tests do this."""
    global _wanted, _countdown
    known = POINTS + THREADER_POINTS
    if point not in known:
        raise ValueError(f"no crash point {point!r}; there are {', '.join(known)}")
    _wanted, _countdown = point, after


def crash_point(name: str) -> None:
    if _wanted != name:
        return
    global _countdown
    _countdown -= 1
    if _countdown <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
