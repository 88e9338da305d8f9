"""Reading the trail of a running Autoheal: pages back in time, and what happens from now on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoheal.core.errors import Temporary

if TYPE_CHECKING:
    from autoheal.clients.autoheal import AutohealClient

Event = dict[str, Any]

POLL = 2.0
"""Seconds between two looks where there is no stream."""
LONGEST = 30.0
"""Seconds between two tries to connect again, at most."""

Sleep = Callable[[float], None]
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events. Times are Unix seconds; `contains` is a part of the event's line."""

    kind: str | None = None
    alertname: str | None = None
    rule: str | None = None
    since: float | None = None
    until: float | None = None
    contains: str | None = None

    def params(self) -> dict[str, str | int | None]:
        """As the server's query parameters."""
        return {
            "kind": self.kind,
            "alertname": self.alertname,
            "rule": self.rule,
            "since": None if self.since is None else f"{self.since:.6f}",
            "until": None if self.until is None else f"{self.until:.6f}",
            "contains": self.contains,
        }

    def admits(self, event: Event, line: str) -> bool:
        """Whether an event that came by itself is wanted; heartbeats are by name only."""
        ts = event.get("ts", 0.0)
        return (
            (self.kind == event.get("kind") if self.kind is not None else event.get("kind") != "heartbeat")
            and self.alertname in (None, event.get("alertname"))
            and self.rule in (None, event.get("rule"))
            and (self.contains is None or self.contains in line)
            and (self.since is None or ts >= self.since)
            and (self.until is None or ts <= self.until)
        )


def history(client: AutohealClient, wanted: Wanted, n: int, after: int = 0) -> list[Event]:
    """The newest `n` events that match and come after the id `after`, oldest first.

    A search that the server breaks off because it takes long is taken up again until it comes to its end.
    """
    found: list[Event] = []
    before: int | None = None
    while len(found) < n:
        page = client.get("/audit", {**wanted.params(), "n": n - len(found), "before": before})
        found = [event for event in page.get("events", []) if event["id"] > after] + found
        lower = page.get("before") if page.get("partial") else None
        if not isinstance(lower, int) or lower <= after + 1 or (before is not None and lower >= before):
            break
        before = lower
    return found


def follow(client: AutohealClient, wanted: Wanted, n: int, note: Note, sleep: Sleep = time.sleep) -> Iterator[Event]:
    """The newest `n`, then everything that happens, without a gap, over lost connections; it never ends by itself.

    Raises what the first question raises; later `note` is told, and it tries again.
    """
    newest = client.get("/audit", {"n": 1}).get("events", [])
    after = newest[-1]["id"] if newest else 0
    for event in history(client, wanted, n):
        after = max(after, event["id"])
        yield event
    yield from _stream(client, wanted, after, note, sleep)


def _stream(client: AutohealClient, wanted: Wanted, after: int, note: Note, sleep: Sleep) -> Iterator[Event]:
    from autoheal.clients.autoheal import NoStream

    pause = 1.0
    while True:
        try:
            for told in client.events(after, _one(wanted.kind), _one(wanted.alertname)):
                if told.reset:
                    after = told.id
                    note(f"events up to {after} cannot be told: they are gone, or the ledger is another one")
                    continue
                after, pause = max(after, told.id), 1.0
                event = json.loads(told.line)
                if wanted.admits(event, told.line):
                    yield event
        except NoStream:
            yield from _poll(client, wanted, after, note, sleep)
        except Temporary as error:
            note(f"{error}; trying again in {pause:.0f}s")
            sleep(pause)
            pause = min(2 * pause, LONGEST)


def _one(name: str | None) -> str | None:
    """A name that the stream can filter by: there commas stand between several."""
    return None if name is None or "," in name else name


def _poll(client: AutohealClient, wanted: Wanted, after: int, note: Note, sleep: Sleep) -> Iterator[Event]:
    pause = POLL
    while True:
        try:
            fresh = history(client, wanted, 10_000, after)
            pause = POLL
        except Temporary as error:
            fresh = []
            note(f"{error}; trying again in {pause:.0f}s")
            pause = min(2 * pause, LONGEST)
        for event in fresh:
            after = event["id"]
            yield event
        sleep(pause)
