"""Claims of several processes in one memory, by a clock that obeys the test."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoheal.engine.ports import Clock, Presence, StoreUnavailable


@dataclass
class Table:
    """What all processes share."""

    clock: Clock
    duties: dict[str, tuple[str, float]] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    present: dict[str, tuple[float, Mapping[str, Any]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    away: bool = False


class MemoryClaims:
    """`engine.ports.Claims` on a `Table`; while the table is `away` nobody reaches it."""

    alone = False

    def __init__(self, table: Table, instance: str) -> None:
        self.table = table
        self._instance = instance

    @property
    def instance(self) -> str:
        return self._instance

    def _reach(self) -> float:
        if self.table.away:
            raise StoreUnavailable("the claims are out of reach")
        return self.table.clock.now()

    def take(self, keys: Sequence[str], seconds: float) -> set[str]:
        now = self._reach()
        with self.table.lock:
            duties = self.table.duties
            ours = {k for k in keys if k not in duties or duties[k][0] == self._instance or duties[k][1] <= now}
            duties.update(dict.fromkeys(ours, (self._instance, now + seconds)))
            return ours

    def release(self, keys: Sequence[str]) -> None:
        self._reach()
        with self.table.lock:
            for key in keys:
                if self.table.duties.get(key, ("", 0.0))[0] == self._instance:
                    del self.table.duties[key]

    def once(self, key: str, seconds: float) -> bool:
        now = self._reach()
        with self.table.lock:
            first = self.table.asked.get(key, now) <= now
            if first:
                self.table.asked[key] = now + seconds
            return first

    def present(self, seconds: float, data: Mapping[str, Any]) -> float:
        now = self._reach()
        with self.table.lock:
            self.table.present[self._instance] = (now + seconds, data)
        return now

    def processes(self) -> list[Presence]:
        now = self._reach()
        with self.table.lock:
            return [Presence(name, until - now, data) for name, (until, data) in sorted(self.table.present.items())]

    def leave(self) -> None:
        self._reach()
        with self.table.lock:
            self.table.present.pop(self._instance, None)
            duties = self.table.duties
            for key in [key for key, (owner, _) in duties.items() if owner == self._instance]:
                del duties[key]
