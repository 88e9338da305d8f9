"""Who does what, where there is only one process: everything is ours."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from autoheal.engine.ports import Clock, Presence


def instance_name(host: str, pid: int) -> str:
    """A name that no process had before or will have after: host and pid alone come again."""
    return f"{host}:{pid}:{secrets.token_hex(3)}"


class LocalClaims:
    """`engine.ports.Claims` for the embedded ledger, which belongs to one process."""

    alone = True

    def __init__(self, instance: str, clock: Clock) -> None:
        self._instance = instance
        self._clock = clock
        self._data: Mapping[str, Any] = {}
        self._until = float("-inf")
        self._asked: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def instance(self) -> str:
        return self._instance

    def take(self, keys: Sequence[str], seconds: float) -> set[str]:
        return set(keys)

    def release(self, keys: Sequence[str]) -> None:
        pass

    def once(self, key: str, seconds: float) -> bool:
        now = self._clock.now()
        with self._lock:
            if len(self._asked) % 1000 == 999:
                self._asked = {known: until for known, until in self._asked.items() if until > now}
            first = self._asked.get(key, now) <= now
            if first:
                self._asked[key] = now + seconds
            return first

    def present(self, seconds: float, data: Mapping[str, Any]) -> float:
        self._data, self._until = data, self._clock.now() + seconds
        return self._clock.now()

    def processes(self) -> list[Presence]:
        left = self._until - self._clock.now()
        return [Presence(self._instance, left, self._data)] if self._until > float("-inf") else []

    def leave(self) -> None:
        self._until = float("-inf")
