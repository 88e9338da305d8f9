"""What works only once: over all processes on one database, and over a restart of one that is alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoheal.threader.service import Threader

BUSY = 120.0
"""Seconds for which what is reserved counts as being used; what has not ended by then has taken its use with it."""
MOST = 20
"""Times that a use is given back; after as many that came to nothing it is over."""

Taken = Literal["used", "using"]


def first(threader: Threader, key: str, seconds: float) -> bool:
    """Whether nobody has asked for this key in the last `seconds`. Blocks, and may raise StoreUnavailable.

    A process that is alone remembers claims in memory only; the store's file then remembers with it, as a bucket that
    holds one and is filled again after `seconds`.
    """
    if not threader.claims.once(key, seconds):
        return False
    if not threader.claims.alone:
        return True
    with threader.threads.transaction() as book:
        return book.take(f"once:{key}", seconds, 1) is None


def asked(threader: Threader, key: str, seconds: float) -> bool:
    """Whether `first` was asked for this key, with as many seconds; asks for nothing itself."""
    if not threader.claims.once(key, 0.0):
        return True
    if not threader.claims.alone:
        return False
    try:
        with threader.threads.transaction() as book:
            raise _Seen(book.take(f"once:{key}", seconds, 1) is not None)
    except _Seen as seen:
        return seen.taken


class _Seen(Exception):
    """Undoes the transaction that has looked."""

    def __init__(self, taken: bool) -> None:
        super().__init__()
        self.taken = taken


@dataclass(slots=True)
class Use:
    """The one use of a token, reserved before anything is done: a crash uses it up rather than letting it act twice."""

    threader: Threader
    key: str
    seconds: float
    acted: bool = False

    def keep(self) -> None:
        """It is used up for good."""
        self.threader.claims.once(f"done:{self.key}", BUSY)

    def give_back(self) -> None:
        """Nothing came of it: somebody may use it again."""
        first(self.threader, f"back:{self.key}", self.seconds)


def reserve(threader: Threader, nonce: str, seconds: float) -> Use | Taken:
    """The use of what `nonce` stands for, remembered for `seconds`. Blocks, and may raise StoreUnavailable."""
    for turn in range(MOST):
        key = f"threader:{nonce}:{turn}"
        if asked(threader, f"back:{key}", seconds):
            continue
        if first(threader, key, seconds):
            threader.claims.once(f"using:{key}", BUSY)
            return Use(threader, key, seconds)
        using = not threader.claims.once(f"using:{key}", 0.0) and threader.claims.once(f"done:{key}", 0.0)
        return "using" if using else "used"
    return "used"
