"""Being there: each process says so again and again, and knows of the others which of them are gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from autoheal.core.events import Event
from autoheal.engine.clock import LedgerClock
from autoheal.engine.ports import Claims, Clock, Presence, StoreUnavailable

log = structlog.get_logger("presence")

LEASE: float = 15.0
"""Seconds for which a process counts as there after it said so."""
RENEW: float = 5.0
"""Seconds between two times that it says so."""
TRY_AGAIN: float = 1.0
SMEAR: float = 1.0
"""Seconds by which a list of who is there must be younger than what it is asked about."""
SEEN = "mode_seen"
"""Under this name a process says which change of the mode was the last that reached it."""


class Attendance:
    """Our own lease, renewed by a thread of its own, and what is known of the others.

    Nobody is taken for gone before we have ourselves been there, without a break, for one whole lease: after the
    database was away every lease has run out, and those who live need a moment to come back.
    """

    def __init__(
        self, claims: Claims, clock: Clock, data: Mapping[str, Any], able: Callable[[], bool] = lambda: True
    ) -> None:
        self.claims = claims
        self._able = able
        self._clock = clock
        self._data = data
        self._others: dict[str, Presence] = {}
        self._since: float | None = None
        self._seen = 0
        self._poke = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Say that we are here, and learn who else is; StoreUnavailable where that cannot be said, and it may be
        tried again."""
        self._renew()
        if not self.claims.alone and not self._thread.is_alive():
            self._thread.start()

    def stop(self) -> None:
        """Leave in order: what we held is free at once."""
        self._stop.set()
        self._poke.set()
        if self._thread.is_alive():
            self._thread.join(10)
        try:
            self.claims.leave()
        except StoreUnavailable as error:
            log.warning("not_left", error=str(error))

    def others(self) -> list[Presence]:
        """The other processes that live, as far as is known."""
        return [found for found in self._others.values() if found.alive]

    def gone(self, instance: str, since: float = 0.0) -> bool:
        """Whether a process that was there at `since` (the ledger's time) is certainly not there any more, or at
        least has not said so for a whole lease. A list from before says nothing: it may have come after that."""
        if instance == self.claims.instance:
            return False
        if self.claims.alone:
            return True
        if self._since is None or self._clock.monotonic() - self._since < LEASE:
            return False
        if self._told <= since + SMEAR:
            return False
        found = self._others.get(instance)
        return found is None or not found.alive

    # ---- the mode --------------------------------------------------------------------------------------------

    def follow(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        """After every commit, behind whoever holds the brake: a new mode has arrived here, and we say so at once."""
        for event in events:
            if event["kind"] == "mode_changed":
                self.arrived(event["id"])

    def arrived(self, event_id: int) -> None:
        """The brake is as the ledger had it at this event: a start has read it."""
        self._seen = max(self._seen, event_id)
        self._poke.set()

    def not_seen(self, event_id: int) -> list[str]:
        """The other living processes that have not said yet that a mode of this event, or a later one, is theirs."""
        found = self.claims.processes()
        mine = self.claims.instance
        return [p.instance for p in found if p.alive and p.instance != mine and p.data.get(SEEN, 0) < event_id]

    # ---- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = RENEW
        while True:
            self._poke.wait(pause)
            self._poke.clear()
            if self._stop.is_set():
                return
            pause = RENEW
            try:
                self._renew()
            except StoreUnavailable as error:
                if self._since is not None:
                    log.warning("presence_not_renewed", error=str(error))
                self._since = None
                pause = TRY_AGAIN
            except Exception:
                log.exception("presence_failed")
                self._since, pause = None, TRY_AGAIN

    def _renew(self) -> None:
        asked = self._clock.monotonic()
        if self._since is not None and asked - self._last > LEASE:
            self._since = None  # we were stopped for so long that others took us for gone, and know as little of them
        told = self.claims.present(LEASE, {**self._data, SEEN: self._seen, "able": self._able()})
        answered = self._clock.monotonic()
        if isinstance(self._clock, LedgerClock):
            self._clock.feed(told, asked, answered)
        self._others = {p.instance: p for p in self.claims.processes() if p.instance != self.claims.instance}
        self._last, self._told = answered, told
        if self._since is None:
            self._since = answered

    _last: float = float("-inf")
    _told: float = float("-inf")
