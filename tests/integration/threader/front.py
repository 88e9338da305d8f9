"""The threader's front, whole but for the posting: its routes, its store, a ledger with its watch, an Alertmanager and
a Slack that are strict. Messages are posted by hand where a test wants to click on one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from autoheal.clients.alertmanager import AlertmanagerCluster
from autoheal.clients.slack import SlackClient
from autoheal.core.alert import fingerprint
from autoheal.core.errors import Invalid
from autoheal.core.events import Event
from autoheal.core.threads import ThreadPolicy
from autoheal.engine.acks import AckWatch
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import OutgoingAlert
from autoheal.store.threads import Threads, threads_url
from autoheal.testing.alertmanager import FakeAlertmanager
from autoheal.testing.clock import ManualClock
from autoheal.testing.memory_claims import MemoryClaims, Table
from autoheal.testing.memory_ledger import MemoryLedger
from autoheal.testing.slack import SECRET, TEAM, TOKEN, Delivery, FakeSlack, Message
from autoheal.threader import http, links
from autoheal.threader.conversation import Conversation
from autoheal.threader.follow import Follower
from autoheal.threader.health import Health
from autoheal.threader.intake import Intake
from autoheal.threader.look import Look
from autoheal.threader.metrics import ThreaderMetrics
from autoheal.threader.service import SlackState, Threader
from autoheal.threader.talk import conversation_key
from autoheal.threader.tokens import Tokens
from autoheal.threader.words import parent, plain
from autoheal.web.access import Access
from autoheal.web.once import OnceTokens
from tests.unit.core.make import T0, policy

KEY = b"what two processes share"
PUBLIC = "http://localhost:9009"
SOURCE, RECEIVER = "http://alertmanager:9093", "slack"
STALE = 14_700.0


class FakeOps:
    """A remediator that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.enabled, self.dry_run = True, True

    async def cooldown(self, rule: str, seconds: float | None, actor: str) -> dict[str, Any]:
        if rule != "restart":
            raise Invalid(f"there is no rule {rule!r}; did you mean 'restart'?", "rule")
        self.asked.append(("cooldown", rule, seconds, actor))
        return {"rule": rule, "cooldown": seconds}

    async def mode(self, enabled: bool, dry_run: bool, actor: str) -> dict[str, Any]:
        self.asked.append(("mode", enabled, dry_run, actor))
        self.enabled, self.dry_run = enabled, dry_run
        return {"enabled": enabled, "dry_run": dry_run}

    def status(self) -> dict[str, Any]:
        return {"enabled": self.enabled, "dry_run": self.dry_run, "firing": 3}


class Front:
    """One process of the threader. A second one on the same `table`, `ledger` and store shares everything."""

    def __init__(self, directory: Path, slack: FakeSlack, am: FakeAlertmanager, clock: ManualClock) -> None:
        self.slack, self.am, self.clock = slack, am, clock
        self.policy = ThreadPolicy()
        self.ledger = MemoryLedger()
        self.head = HeadThread(self.ledger, clock, policy())
        self.cluster = AlertmanagerCluster([am.url], settled_after=0.0)
        self.watch = AckWatch(self.head, self.cluster, clock)
        self.table = Table(clock)
        self.claims = MemoryClaims(self.table, "one")
        self.threads = Threads(threads_url(directory), clock)
        self.tokens = Tokens(KEY, clock.now)
        self.client = SlackClient(TOKEN, slack.api_url)
        self.ops = FakeOps()
        self.state = SlackState("ok", team_id=TEAM, team="autoheal")
        self.intake = Intake(self.threads, lambda: self.policy, STALE)
        self.metrics = ThreaderMetrics(CollectorRegistry(), self.threads.figures, lambda: True, clock)
        self.threader = Threader(
            intake=self.intake,
            threads=self.threads,
            policy=lambda: self.policy,
            acks=self.watch,
            ops=self.ops,
            slack=self.state,
            claims=self.claims,
            once=OnceTokens(self.claims, clock.now, KEY),
            tokens=self.tokens,
            clock=clock,
            metrics=self.metrics,
            public_url=PUBLIC,
            version="1.2.3",
            signing_secret=SECRET,
            respond=self.client.respond,
        )
        self.access = Access(webhook_token=None, admin_token=None, loopback=True, insecure=False, public_url=PUBLIC)
        self.app = http.build(self.threader, self.access)
        self.web = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=PUBLIC)
        self.look = Look(
            public_url=PUBLIC,
            token=lambda c, scope, duration: self.tokens.make("button", c, scope, duration),
            link=links.signed(self.tokens, PUBLIC),
        )
        self.follower = Follower(
            self.intake,
            lambda after, limit: [(row.id, row.line) for row in self.ledger.disk.rows if row.id > after][:limit],
            lambda: self.ledger.disk.head.id,
            lambda: self.ledger.disk.head.id,
            dict,
            lambda names: {},
            clock.monotonic,
        )

    async def close(self) -> None:
        await self.app.state.desk.finish()
        await self.web.aclose()
        await self.client.aclose()
        await self.cluster.aclose()
        self.head.stop()
        self.threads.close()

    # ---- alerts ------------------------------------------------------------------------------------------------

    async def fire(self, *labels: Mapping[str, str], group: Mapping[str, str] | None = None, **more: Any) -> str:
        """They fire in Alertmanager, and it tells us; the key of the conversation."""
        await self.raise_(*labels)
        return await self.deliver("firing", labels, group or {"alertname": "Down"}, **more)

    async def resolve(self, *labels: Mapping[str, str], group: Mapping[str, str] | None = None) -> str:
        await self.raise_(*labels, ends_in=-1.0)
        return await self.deliver("resolved", labels, group or {"alertname": "Down"})

    async def raise_(self, *labels: Mapping[str, str], ends_in: float = 3600.0) -> None:
        """They fire in Alertmanager, which says nothing about it; or they cease to."""
        now = self.clock.now()
        alerts = [OutgoingAlert(one, {}, now - 60, now + ends_in) for one in labels]
        await self.cluster.post_alerts(self.cluster.urls[0], alerts)

    async def deliver(
        self, status: str, labels: Any, group: Mapping[str, str], annotations: Mapping[str, str] | None = None
    ) -> str:
        answer = await self.web.post("/alert", json=webhook(self.clock.now(), status, labels, group, annotations))
        assert answer.status_code == 200, answer.text
        return conversation_key(SOURCE, RECEIVER, json.dumps(dict(group), sort_keys=True))

    async def talk(self, key: str) -> Conversation:
        found = await self.intake.find(key)
        assert found is not None
        return found

    # ---- Slack -------------------------------------------------------------------------------------------------

    async def message(self, key: str) -> Message:
        """The conversation's parent as it is now, posted."""
        drawn = parent(await self.talk(key), self.look)
        await self.client.post_message("#alerts-info", drawn["text"], drawn.get("blocks"))
        self.clock.advance(2.0)
        return self.slack.channel("alerts-info").messages[-1]

    async def send(self, delivery: Delivery, path: str = "/slack/interactive", **headers: str) -> httpx.Response:
        answer = await self.web.post(path, content=delivery.body, headers={**delivery.headers, **headers})
        await self.app.state.desk.finish()
        return answer

    async def click(self, message: Message, action: str, user: str = "ann", **more: Any) -> str:
        """Somebody clicks; what that person, and nobody else, is told."""
        before = len(self.slack.responses)
        answer = await self.send(self.slack.click(message, action, user, **more))
        assert (answer.status_code, answer.content) == (200, b"")
        return self.told(before)

    def told(self, before: int) -> str:
        new = [one.payload for one in self.slack.responses[before:]]
        assert len(new) <= 1 and all(one.get("response_type") == "ephemeral" for one in new)
        return str(new[0]["text"]) if new else ""

    async def press(self, action: str, user: str = "ann", place: int = -1, **changed: Any) -> dict[str, Any]:
        """Somebody clicks in what only he was shown last; what then takes its place."""
        blocks = self.slack.responses[place].payload["blocks"]
        elements = [one for block in blocks for one in block.get("elements", [])]
        [element] = [one for one in elements if one.get("action_id") == action]
        delivery = self.interaction({**element, **changed}, user, ephemeral=True)
        before = len(self.slack.responses)
        assert (await self.send(delivery)).status_code == 200
        return self.slack.responses[-1].payload if len(self.slack.responses) > before else {}

    def interaction(
        self, action: Mapping[str, Any], name: str = "ann", ephemeral: bool = False, **changed: Any
    ) -> Delivery:
        """Any interaction, signed as Slack signs it."""
        channel, who = self.slack.channel("alerts-info"), self.slack.person(name)
        payload = {
            "type": "block_actions",
            "user": {"id": who["id"], "username": who["name"], "name": who["name"], "team_id": TEAM},
            "team": {"id": TEAM, "domain": "autoheal"},
            "container": {"type": "message", "message_ts": "1.2", "channel_id": channel.id, "is_ephemeral": ephemeral},
            "channel": {"id": channel.id, "name": channel.name},
            "response_url": self.slack._response_url("actions", channel, None, who["id"]),
            "actions": [action],
            **changed,
        }
        return self.slack._interactive(payload)

    async def slash(self, text: str, user: str = "ann") -> str:
        answer = await self.send(self.slack.slash("/autoheal", text, user), "/slack/commands")
        assert answer.status_code == 200 and answer.json()["response_type"] == "ephemeral"
        return str(answer.json()["text"])

    # ---- what came of it -----------------------------------------------------------------------------------------

    async def silences(self) -> list[Any]:
        """Those in force."""
        return [one for one in await self.cluster.silences() if one.state == "active"]

    def events(self, kind: str = "ack") -> list[Event]:
        """What the trail holds."""
        found = [json.loads(row.line) for row in self.ledger.disk.rows]
        return [event for event in found if event["kind"] == kind]

    async def follow(self) -> None:
        """The ledger's news come into the conversations."""
        while await asyncio.to_thread(self.follower.step):
            pass

    async def link(self, key: str, duration: str = "2h") -> str:
        """A link of the message that an incoming webhook is sent, as a path."""
        text = plain(await self.talk(key), self.look)["text"]
        [found] = [part for part in text.replace("|", " ").replace(">", " ").split() if f"|{duration}>" in text
                   and part.startswith(f"<{PUBLIC}/slack/ack") and self._lasts(part) == duration]  # fmt: skip
        return found.removeprefix(f"<{PUBLIC}")

    def _lasts(self, link: str) -> str:
        claim = self.tokens.signed("link", link.partition("t=")[2])
        return claim.duration if claim else ""


@asynccontextmanager
async def front(directory: Path) -> AsyncIterator[Front]:
    clock = ManualClock(T0)
    with FakeSlack(clock.now, posts_per_second=1000, burst=1000) as slack, FakeAlertmanager(clock.now) as am:
        made = Front(directory, slack, am, clock)
        made.head.start()
        await asyncio.to_thread(made.follower.step)  # where the ledger begins
        try:
            yield made
        finally:
            await made.close()


def webhook(
    now: float, status: str, labels: Any, group: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What Alertmanager sends."""
    started = datetime.fromtimestamp(now - 60, UTC).isoformat().replace("+00:00", "Z")
    ended = datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
    alerts = [
        {
            "status": status,
            "labels": one,
            "annotations": dict(annotations or {}),
            "startsAt": started,
            "endsAt": ended if status == "resolved" else "0001-01-01T00:00:00Z",
            "fingerprint": fingerprint(one),
        }
        for one in labels
    ]
    return {
        "version": "4",
        "groupKey": json.dumps(dict(group), sort_keys=True),
        "receiver": RECEIVER,
        "externalURL": SOURCE,
        "groupLabels": dict(group),
        "status": status,
        "alerts": alerts,
    }


def down(instance: str = "web-1", **more: str) -> dict[str, str]:
    return {"alertname": "Down", "instance": instance, "severity": "critical", **more}


__all__ = ["SECRET", "TEAM", "Front", "Health", "down", "front", "webhook"]
