"""A threader without a process of its own: intake and poster on a real store, before the fake Slack."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from autoheal.clients.slack import SlackClient, SlackWebhook
from autoheal.core.alert import FIRING, RESOLVED, Alert, fingerprint
from autoheal.core.threads import ThreadPolicy
from autoheal.engine.clock import SystemClock
from autoheal.sources.alertmanager import Delivery
from autoheal.store.threads import Threads, threads_url
from autoheal.testing.slack import FakeSlack
from autoheal.threader.channels import Channels
from autoheal.threader.intake import Intake
from autoheal.threader.metrics import ThreaderMetrics
from autoheal.threader.poster import Pace, Poster
from autoheal.threader.sending import Sender
from autoheal.threader.service import SlackState
from autoheal.threader.talk import Place
from autoheal.threader.words import Look, Words

SPEED = 50.0
"""Slack's limits pass that much faster."""
POLICY = ThreadPolicy(posts_per_second=SPEED * 0.8, edits_per_minute=50 * SPEED * 0.8)
QUICK = Pace(lease=5.0, settle=0.1, looks=2, poll=0.02, ahead=0.2)


def fake(**options: Any) -> FakeSlack:
    return FakeSlack(time.time, speed=SPEED, **options)


def alert(name: str = "a", status: str = FIRING, starts: float | None = None, **labels: str) -> Alert:
    given = {"alertname": "Down", "instance": name, "severity": "critical", **labels}
    began = 1_795_000_000.0 if starts is None else starts
    return Alert(status, given, {"summary": f"{name} is down"}, began, fingerprint(given), began + 9)


def delivery(*alerts: Alert, group: str = "g") -> Delivery:
    return Delivery(list(alerts), "http://am:9093", "hook", group, {"groupLabels": {"alertname": "Down"}})


def resolved(name: str = "a", **options: Any) -> Alert:
    return alert(name, RESOLVED, **options)


class Desk:
    """`slack` is the fake; `policy` may be replaced at any time."""

    def __init__(
        self,
        slack: FakeSlack,
        folder: Path,
        webhook: str = "",
        pace: Pace = QUICK,
        owner: str = "me",
        cluster: Sequence[str] = (),
    ) -> None:
        self.slack, self.policy, self.clock = slack, POLICY, SystemClock()
        self.threads = Threads(threads_url(folder), self.clock)
        self.state = SlackState("unknown")
        self.client = None if webhook else SlackClient(slack.token, slack.api_url, timeout=3.0)
        self.webhook = SlackWebhook(webhook, timeout=3.0) if webhook else None
        metrics = ThreaderMetrics(CollectorRegistry(), self.threads.figures, lambda: True, self.clock)
        self.metrics = metrics
        self.channels = Channels(self.threads, self.client, self.state, self.clock)
        sender = Sender(self.client, self.webhook, self.channels, self.state, metrics, self.clock)
        plain = self.client is None
        self.poster = Poster(
            self.threads,
            sender,
            Words(Look("http://autoheal.example")),
            lambda: self.policy,
            self.clock,
            owner,
            14_700.0,
            plain,
            pace,
            lambda: "https://autoheal.slack.com/",
        )

        def archive(place: Place) -> str:
            return self.poster.link(place.id, place.ts)

        wake = self.poster.wake
        self.intake = Intake(self.threads, lambda: self.policy, 14_700.0, plain, wake, archive, cluster)

    async def hear(self, *alerts: Alert, group: str = "g") -> None:
        await self.intake.hear(delivery(*alerts, group=group))

    async def quiet(self, timeout: float = 15.0) -> None:
        """Wait until nothing is left to be done in Slack."""
        await self.until(lambda: not sum(self.threads.figures().depth.values()), timeout, "an empty outbox")

    async def until(self, true: Callable[[], object], timeout: float = 15.0, what: str = "") -> None:
        deadline = time.monotonic() + timeout
        while not await asyncio.to_thread(true):
            assert time.monotonic() < deadline, f"{what or 'it'} did not come; {self.slack.refusals}, {self.state}"
            await asyncio.sleep(0.02)

    def set(self, **values: Any) -> None:
        self.policy = replace(self.policy, **values)

    async def close(self) -> None:
        await self.poster.stop()
        for client in (self.client, self.webhook):
            if client is not None:
                await client.aclose()
        await asyncio.sleep(0.01)  # the loop closes sockets in its next turn
        self.threads.close()


@asynccontextmanager
async def desk(slack: FakeSlack, folder: Path, **options: Any) -> AsyncIterator[Desk]:
    made = Desk(slack, folder, **options)
    made.channels.load()
    made.poster.start()
    try:
        yield made
    finally:
        await made.close()
