"""What stands in for the runner's `begin`: lets through, refuses, or remembers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from autoheal.engine.ports import NotStarted

T = TypeVar("T")


class Begin:
    """Counts its calls. `allow=False`: the brake is on."""

    def __init__(self, allow: bool = True) -> None:
        self.allow = allow
        self.calls = 0

    def __call__(self, start: Callable[[], T]) -> T:
        self.calls += 1
        if not self.allow:
            raise NotStarted("brake")
        return start()
