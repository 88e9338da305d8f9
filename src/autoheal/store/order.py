"""The order in which transactions on the conversations wait for each other, so that none waits for ever."""

from __future__ import annotations

Place = tuple[int, str, str]
"""A row: what it is, its name, and of work the kind."""

THREADS, WORK, CHANNELS, FREE = range(4)
"""Conversations, what is to be done for them, channels; what nobody waits for."""


class Order:
    """What a transaction holds, and what it may wait for.

    Whoever waits for a conversation holds no work, no channel and only conversations that sort before it; for work, its
    conversation, or nothing at all; for a channel, only channels that sort before it. Then no transactions wait for
    each other in a ring: who has work without its conversation (by a claim, which waits for nobody) waits for nothing
    but channels, and so who waits for work waits for none that waits for anything but those.
    """

    def __init__(self) -> None:
        self._held: set[Place] = set()
        self._last = {THREADS: "", WORK: "", CHANNELS: ""}
        self._loose = False

    def holds(self, place: Place) -> bool:
        return place in self._held

    def allows(self, place: Place) -> bool:
        """Whether it may be waited for."""
        sort, name, _ = place
        if place in self._held or not self._held:
            return True
        if sort == CHANNELS:
            return name >= self._last[CHANNELS]
        if self._last[CHANNELS]:
            return False
        if sort == WORK:
            return not self._loose and (THREADS, name, "") in self._held
        return not self._last[WORK] and name >= self._last[THREADS]

    def has(self, place: Place) -> None:
        sort, name, _ = place
        self._held.add(place)
        self._last[sort] = max(self._last[sort], name)
        if sort == WORK and (THREADS, name, "") not in self._held:
            self._loose = True
