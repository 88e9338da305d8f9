"""A change of the mode is answered when it has reached every process on the ledger."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from autoheal.core.moves.people import SetMode
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Clock, StoreUnavailable
from autoheal.engine.presence import Attendance

log = structlog.get_logger("mode")

CONFIRM: float = 3.0
"""Seconds that a change of the mode waits for the other processes to say that it has reached them."""


async def switched(head: HeadThread, attendance: Attendance, clock: Clock, move: SetMode) -> dict[str, Any]:
    """Play the change and wait until every living process has it, so that nothing starts any more under the old one.

    Who did not say so in time is named as `unconfirmed`: frozen, or cut off from the ledger, it may still begin, within
    seconds, what it was given leave for before.
    """
    answer: dict[str, Any] = await head.play(move)
    event_id = answer.pop("id")
    if attendance.claims.alone:
        return answer
    deadline = clock.monotonic() + CONFIRM
    while True:
        try:
            missing = await asyncio.to_thread(attendance.not_seen, event_id)
        except StoreUnavailable as error:
            log.warning("brake_not_confirmed", error=str(error))
            missing = [process.instance for process in attendance.others()]
        if not missing:
            return answer
        if clock.monotonic() >= deadline:
            log.warning("brake_not_confirmed", instances=missing)
            return answer | {"unconfirmed": missing}
        await asyncio.sleep(0.02)
