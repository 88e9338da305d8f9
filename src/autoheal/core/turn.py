"""One turn at the head of the ledger: the state, the time, and the events that a move gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from autoheal.core.events import Event
from autoheal.core.fold import fold
from autoheal.core.policy import Policy
from autoheal.core.state import State


@dataclass(slots=True)
class Turn:
    """Handed to each move; `now` is Unix seconds. Whatever it changes, it changes by emitting events."""

    state: State
    policy: Policy
    now: float
    events: list[Event] = field(default_factory=list)

    def emit(self, kind: str, fields: dict[str, Any]) -> Event:
        """Record one event and fold it into the state at once; fields that are None are left out."""
        event: Event = {"id": self.state.last_id + 1, "ts": self.now, "kind": kind}
        for name, value in fields.items():
            if value is not None:
                event[name] = value
        fold(self.state, event)
        self.events.append(event)
        return event


class Move(Protocol):
    """A change that wants to happen. `play` decides at the head; its answer is given when all is on disk."""

    def play(self, turn: Turn) -> Any: ...
