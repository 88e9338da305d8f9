"""What works only once: over all processes on one database, and over a restart of one that is alone."""

from __future__ import annotations

from autoheal.threader.service import Threader


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
