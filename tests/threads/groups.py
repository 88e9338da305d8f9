"""A group of alerts that comes and goes, as Alertmanager tells of it, and what people must have been told of that.

It knows by itself what each delivery means, so that what the threader makes of it has something to be held against.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from autoheal.core.alert import fingerprint
from tests.threads.talker import CRITICAL, INFO, WARNING

RANKS = {"critical": 3, "warning": 2, "info": 1}
CHANNELS = {"critical": CRITICAL, "warning": WARNING, "info": INFO}
MOST = 8
"""Alerts that fire at the same time in a group."""
NAMED = re.compile(r"\bgroup-\d{4}\b")


class Group:
    """`told` has the kind of each transition, the first being the parent itself; `pointers` the channels that are told
    of with a message of their own; `answered`: when the last delivery was taken."""

    def __init__(self, number: int, seed: int, home: str = "") -> None:
        """`home`: the severity that it begins with; empty: any."""
        self.name = f"group-{number:04}"
        self.chance = random.Random(seed * 100_003 + number)
        self.severity = home or self.chance.choice(list(RANKS))
        self.channel = CHANNELS[self.severity]
        self.alerts: dict[str, dict[str, Any]] = {}
        self.worst = 0
        self.told: list[str] = []
        self.pointers: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.answered = 0.0
        self._moment = 0.0

    @property
    def firing(self) -> list[dict[str, Any]]:
        return [alert for alert in self.alerts.values() if alert["status"] == "firing"]

    def step(self) -> dict[str, Any]:
        """Something happens: the webhook that tells of it."""
        self._moment = max(time.time(), self._moment + 0.01)
        if not self.alerts:
            changed = self._begin(self.chance.randint(1, 3), self.severity)
            self.told.append("parent")
            self.worst = self._worst()
        elif not self.firing:
            changed = self._again()
        else:
            changed = self._change()
        body = self._webhook(changed)
        self.sent = [*self.sent[-2:], body]
        return body

    def _change(self) -> list[dict[str, Any]]:
        count = len(self.firing)
        ways = [("more", 4), ("all", 2), ("turn", 1)]
        ways = [way for way in ways if way[0] != "more" or count < MOST]
        ways += [("worse", 2)] if self.worst < 3 else []
        ways += [("some", 3), ("swap", 1)] if count > 1 else []
        way = self.chance.choices([name for name, _ in ways], [weight for _, weight in ways])[0]
        if way == "all":
            return self._all()
        if way == "some":
            return self._some()
        if way == "swap":
            ended = self._some()
            return [*ended, *self._more(ended)]
        if way == "turn":
            self.told.append("resolved_some")  # it was never quiet
            ended = self._end(self.firing)
            return [*ended, *self._join(self.chance.randint(1, 3), self.chance.choice(list(RANKS)), ended)]
        if way == "worse":
            return self._join(1, self.chance.choice([name for name, rank in RANKS.items() if rank > self.worst]))
        return self._more(())

    def _more(self, but: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that are no worse than what there was."""
        mild = [name for name, rank in RANKS.items() if rank <= self.worst]
        return self._join(self.chance.randint(1, 2), self.chance.choice(mild), but)

    def _join(self, count: int, severity: str, but: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
        began = self._begin(count, severity, but)
        self.told.append("joined")
        if RANKS[severity] > self.worst:
            self.told.append("rose")
            self.worst = RANKS[severity]
            self._aloud()
        return began

    def _some(self) -> list[dict[str, Any]]:
        firing = self.firing
        self.told.append("resolved_some")
        return self._end(self.chance.sample(firing, self.chance.randint(1, len(firing) - 1)))

    def _all(self) -> list[dict[str, Any]]:
        self.told.append("resolved")
        return self._end(self.firing)

    def _again(self) -> list[dict[str, Any]]:
        began = self._begin(self.chance.randint(1, 3), self.chance.choice(list(RANKS)))
        self.told.append("refired")
        self.worst = self._worst()
        self._aloud()
        return began

    def _aloud(self) -> None:
        worst = next(name for name, rank in RANKS.items() if rank == self._worst())
        if CHANNELS[worst] != self.channel:
            self.pointers.append(CHANNELS[worst])

    def _worst(self) -> int:
        return max(RANKS[alert["labels"]["severity"]] for alert in self.firing)

    def _begin(self, count: int, severity: str, but: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
        """Alerts begin to fire: some that did before, and new ones."""
        ended = [one["fingerprint"] for one in but]
        silent = [
            alert
            for alert in self.alerts.values()
            if alert["status"] == "resolved"
            and alert["labels"]["severity"] == severity
            and alert["fingerprint"] not in ended
        ]
        began = self.chance.sample(silent, min(len(silent), count // 2))
        for alert in began:
            alert.update(status="firing", startsAt=self._now(), endsAt="0001-01-01T00:00:00Z")
        began += [self._new(severity) for _ in range(count - len(began))]
        return began

    def _new(self, severity: str) -> dict[str, Any]:
        instance = f"i{len(self.alerts)}"
        labels = {"alertname": "Chaos", "group": self.name, "instance": instance, "severity": severity}
        alert = {
            "status": "firing",
            "labels": labels,
            "annotations": {"summary": f"{instance} of {self.name} is down"},
            "startsAt": self._now(),
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": fingerprint(labels),
        }
        self.alerts[alert["fingerprint"]] = alert
        return alert

    def _end(self, alerts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        for alert in alerts:
            alert.update(status="resolved", endsAt=self._now())
        return list(alerts)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._moment, UTC).isoformat()

    def _webhook(self, changed: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """All that fires and what has just ended; now and then, as after a reload, only what is new."""
        shown = {alert["fingerprint"]: alert for alert in ([] if self.chance.random() < 0.1 else self.firing)}
        shown |= {alert["fingerprint"]: alert for alert in changed}
        return {
            "version": "4",
            "receiver": "slack",
            "status": "firing" if self.firing else "resolved",
            "groupKey": f'{{}}:{{group="{self.name}"}}',
            "groupLabels": {"group": self.name},
            "externalURL": "http://alertmanager:9093",
            "alerts": [dict(alert) for alert in shown.values()],
        }
