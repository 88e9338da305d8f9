"""How long to wait before the next attempt: exponential, capped, with jitter."""

from __future__ import annotations

from typing import Literal

_MOST_DOUBLINGS = 64


def delay(attempt: int, base: float, cap: float, random01: float, jitter: Literal["full", "equal"] = "full") -> float:
    """Seconds to wait after the failed `attempt` (1 is the first), of at most `cap`.

    `random01` lies in [0, 1). Full jitter spreads over the whole span and drains a crowd fastest; equal jitter
    keeps at least half of it (M. Brooker, "Exponential Backoff and Jitter", 2015).
    """
    span: float = min(cap, base * 2.0 ** min(max(attempt - 1, 0), _MOST_DOUBLINGS))
    if jitter == "full":
        return span * random01
    return span / 2 + span / 2 * random01
