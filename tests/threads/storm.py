"""A storm: many groups begin within seconds, each told of by several deliveries that grow, sent by the clock."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from autoheal.core.alert import fingerprint
from autoheal.testing.slack import FakeSlack, Message
from tests.threads.proof import covered, threads

SEVERITIES = ("critical", "warning", "info")
SENDERS = 8


@dataclass(frozen=True)
class Storm:
    """`groups` of `alerts` each, in `deliveries` apiece, all within `seconds`."""

    groups: int = 200
    alerts: int = 25
    deliveries: int = 5
    seconds: float = 10.0

    def names(self) -> list[str]:
        return [f"group-{number:04}" for number in range(self.groups)]

    def schedule(self) -> list[tuple[float, bytes]]:
        """When each delivery is due, and its body: as Alertmanager's, with everything that fires by then."""
        chance, found = random.Random(self.groups), []
        every = self.seconds / self.deliveries
        for number, name in enumerate(self.names()):
            first = chance.uniform(0, every)
            alerts = [self._alert(name, SEVERITIES[number % 3], at) for at in range(self.alerts)]
            for turn in range(self.deliveries):
                shown = alerts[: -(-self.alerts * (turn + 1) // self.deliveries)]
                found.append((first + turn * every, json.dumps(self._webhook(name, shown)).encode()))
        return sorted(found)

    def _alert(self, group: str, severity: str, number: int) -> dict[str, Any]:
        labels = {"alertname": "ServiceDown", "group": group, "instance": f"i{number}", "severity": severity}
        return {
            "status": "firing",
            "labels": labels,
            "annotations": {"summary": f"i{number} of {group} is down", "runbook_url": "https://example.invalid/down"},
            "startsAt": datetime.now(UTC).isoformat(),
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
            "fingerprint": fingerprint(labels),
        }

    def _webhook(self, group: str, alerts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {
            "version": "4",
            "receiver": "slack",
            "status": "firing",
            "groupKey": f'{{}}:{{group="{group}"}}',
            "groupLabels": {"group": group},
            "externalURL": "http://alertmanager:9093",
            "alerts": list(alerts),
        }

    # ---- what came of it ---------------------------------------------------------------------------------------

    def true_at(self, slack: FakeSlack) -> dict[str, float]:
        """When each group's parent came to say how many fire; those that do not yet are left out."""
        found = {}
        for name, thread in threads(slack).items():
            at = _since(thread.parent, f"— {self.alerts} firing")
            if at is not None:
                found[name] = at
        return found

    def untold(self, slack: FakeSlack) -> list[str]:
        """The groups whose thread does not tell every alert's coming exactly once, and how."""
        found = []
        shown = threads(slack)
        for name in self.names():
            thread = shown.get(name)
            if thread is None or len(thread.parents) != 1:
                found.append(f"{name}: {0 if thread is None else len(thread.parents)} parents")
                continue
            told = Counter(number for one in (thread.parent, *thread.parent.replies) for number in covered(one))
            if told != Counter(range(1, self.deliveries + 1)):
                found.append(f"{name}: told {dict(told)}")
        return found


def _since(parent: Message, words: str) -> float | None:
    """When a message first said so; None where it does not end with that."""
    if words not in parent.shown:
        return None
    at = parent.at
    for version in parent.edits:
        if words not in version.text:
            at = version.at
    return at


@dataclass
class Sent:
    """How it was sent. `took`: seconds from when a delivery was due until its answer, `late`: until it was sent."""

    began: float
    took: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    bad: int = 0


def send(url: str, schedule: Sequence[tuple[float, bytes]], path: str = "/alert") -> Sent:
    """Send everything when it is due, whether or not what was sent before has been answered."""
    address = urlsplit(url).netloc
    sent, turns, turn = Sent(time.time()), iter(schedule), threading.Lock()
    began = time.monotonic()

    def work() -> None:
        link = http.client.HTTPConnection(address, timeout=60)
        pause = threading.Event()
        while True:
            with turn:
                due, body = next(turns, (0.0, b""))
            if not body:
                link.close()
                return
            pause.wait(max(0.0, began + due - time.monotonic()))
            sent.late.append(time.monotonic() - began - due)
            link.request("POST", path, body, {"Content-Type": "application/json"})
            answer = link.getresponse()
            answer.read()
            sent.took.append(time.monotonic() - began - due)
            sent.bad += answer.status != 200

    running = [threading.Thread(target=work, daemon=True) for _ in range(SENDERS)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sent
