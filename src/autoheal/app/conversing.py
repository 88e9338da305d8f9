"""The threader's parts, put together on a ground: the same in a process of its own and beside a remediator."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from prometheus_client import CollectorRegistry

from autoheal import __version__
from autoheal.app.assembly import Ground
from autoheal.clients.slack import RateLimited, SlackClient, SlackRefused, SlackWebhook
from autoheal.config.settings import Settings
from autoheal.core.errors import AutohealError
from autoheal.core.threads import ThreadPolicy
from autoheal.engine.acks import AckWatch
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Alertmanagers, StoreUnavailable
from autoheal.store.threads import Threads, threads_url
from autoheal.threader import links
from autoheal.threader.channels import Channels
from autoheal.threader.conversation import Conversation
from autoheal.threader.follow import Follower
from autoheal.threader.intake import Intake
from autoheal.threader.metrics import ThreaderMetrics
from autoheal.threader.poster import USUAL, Pace, Poster
from autoheal.threader.sending import Sender
from autoheal.threader.service import Operations, SlackState, Threader
from autoheal.threader.talk import Place
from autoheal.threader.tokens import Tokens
from autoheal.threader.words import Look, Words
from autoheal.web.once import OnceTokens

log = structlog.get_logger("threader")

ASK_EVERY = 300.0
"""Seconds between two questions to Slack who we are; while it is down, `ASK_AGAIN`."""
ASK_AGAIN = 30.0


@dataclass(frozen=True, slots=True)
class Company:
    """What the threader is handed by the process that it lives in."""

    head: HeadThread
    acks: AckWatch | None
    alertmanagers: Alertmanagers | None
    ops: Operations | None
    policy: Callable[[], ThreadPolicy]
    public_url: str
    registry: CollectorRegistry
    console: bool = True
    """Whether the console is served at `public_url`."""


class Conversing:
    """`threader` is what the routes work with. `start` once, `stop` once, `close` at the end."""

    def __init__(self, settings: Settings, ground: Ground, company: Company, pace: Pace = USUAL) -> None:
        self.settings, self.ground, self.company = settings, ground, company
        url = ground.url if ground.shared else threads_url(settings.data_dir)
        clock = ground.clock
        self.threads = Threads(url, clock)
        self._loop = asyncio.get_running_loop()
        self.state = SlackState("unknown")
        token, webhook = settings.slack_bot_token, settings.slack_webhook_url
        self.client = SlackClient(token.reveal(), settings.slack_api_url) if token is not None else None
        self.webhook = SlackWebhook(webhook.reveal()) if webhook is not None else None
        plain = self.client is None
        metrics = ThreaderMetrics(company.registry, self.threads.figures, self._healthy, clock, self._slack_up)
        channels = Channels(self.threads, self.client, self.state, clock)
        sender = Sender(self.client, self.webhook, channels, self.state, metrics, clock)
        tokens = Tokens(signing_key(settings), clock.now)
        look = self._look(tokens)
        self.workspace = ""
        self.poster = Poster(
            self.threads,
            sender,
            Words(look),
            company.policy,
            clock,
            ground.claims.instance,
            settings.stale_after,
            plain,
            pace,
            lambda: self.workspace,
        )
        intake = Intake(
            self.threads,
            company.policy,
            settings.stale_after,
            plain,
            self.poster.wake,
            self._archived,
            settings.alertmanager_urls,
        )
        self.follower = Follower(
            intake,
            ground.reader.lines_after,
            lambda: company.head.state.last_id,
            lambda: ground.reader.head().id,
            self._hidden,
            self._fires,
            clock.monotonic,
        )
        secret = settings.slack_signing_secret
        self.threader = Threader(
            intake=intake,
            threads=self.threads,
            policy=company.policy,
            acks=company.acks,
            ops=company.ops,
            slack=self.state,
            claims=ground.claims,
            once=OnceTokens(ground.claims, clock.now, signing_key(settings)),
            tokens=tokens,
            clock=clock,
            metrics=metrics,
            public_url=company.public_url,
            console=company.console,
            version=__version__,
            signing_secret=secret.reveal() if secret is not None else None,
            respond=self.client.respond if self.client is not None else None,
        )
        self._asking: asyncio.Task[None] | None = None

    # ---- life ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        await asyncio.to_thread(self.poster.channels.load)
        self.company.head.followers.append(lambda events, lines, took: self.follower.wake())
        self.poster.start()
        self.follower.start()
        self._asking = asyncio.create_task(self._ask(), name="slack")

    async def stop(self) -> None:
        """Nothing more is taken; what is being sent is confirmed, bounded to seconds."""
        self.threader.stopping = True
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self.follower.stop()
        await self.poster.stop()
        for client in (self.client, self.webhook):
            if client is not None:
                await client.aclose()

    def close(self) -> None:
        self.threads.close()

    # ---- Slack -----------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        """Who are we, and does Slack still know us?"""
        state = self.state
        while self.client is not None:
            try:
                found = await self.client.auth_test()
            except SlackRefused as error:
                self._now("down", f"Slack refuses our token: {error.code}")
            except RateLimited:
                pass  # it is there; who we are can wait
            except AutohealError as error:
                if state.state == "unknown":
                    state.detail = f"Slack was not reached yet: {error}"
                elif state.state != "down":
                    self._now("down", f"Slack does not answer: {error}")
            else:
                state.team_id, state.team = str(found.get("team_id", "")), str(found.get("team", ""))
                state.bot_id, state.user_id = str(found.get("bot_id", "")), str(found.get("user_id", ""))
                self.workspace = str(found.get("url", ""))
                if state.state != "down" or await self._settled():
                    self._now("ok", "")
            await asyncio.sleep(ASK_EVERY if state.state == "ok" else ASK_AGAIN)

    async def _settled(self) -> bool:
        """Whether posting agrees: that Slack knows us does not mean that it takes what we post."""
        try:
            return await self.poster.settled()
        except StoreUnavailable:
            return False

    def _now(self, state: str, detail: str) -> None:
        if self.state.state != state:
            log.log(20 if state == "ok" else 40, "slack", state=state, detail=detail)
            self.state.since = self.ground.clock.now()
        self.state.state, self.state.detail = state, detail

    def _slack_up(self) -> bool | None:
        return None if self.state.state == "unknown" else self.state.state != "down"

    def _healthy(self) -> bool:
        return not self.threader.stopping

    # ---- what the parts ask ------------------------------------------------------------------------------------

    def _look(self, tokens: Tokens) -> Look:
        """Buttons where their clicks come back to us, links elsewhere, neither where nothing could be silenced."""
        settings, company = self.settings, self.company
        console = settings.public_url if company.console else ""
        if not settings.alertmanager_urls:
            return Look(console, buttons=False)

        def token(c: Conversation, scope: str, duration: str) -> str:
            return tokens.make("button", c, scope, duration)

        buttons = settings.slack_signing_secret is not None and self.client is not None
        return Look(console, buttons, token, links.signed(tokens, company.public_url, company.policy))

    def _archived(self, place: Place) -> str:
        return self.poster.link(place.id, place.ts)

    def _fires(self, fingerprints: Sequence[str]) -> Mapping[str, bool] | None:
        """Which of these fire, as Alertmanager has it now; for threads other than the loop's."""
        if self.company.alertmanagers is None:
            return dict.fromkeys(fingerprints, False)  # nobody can say more than what was said
        asked = asyncio.run_coroutine_threadsafe(self.company.alertmanagers.alerts(), self._loop)
        try:
            active = asked.result(15)
        except (AutohealError, TimeoutError):
            return None
        there = {alert.fingerprint for alert in active.alerts}
        return {name: name in there for name in fingerprints} if active.complete else dict.fromkeys(there, True)

    def _hidden(self) -> Mapping[str, Mapping[str, Any]]:
        """Our acknowledgements as the ledger has them, with what the watch last saw behind each."""
        seen = {fact.key: orjson.loads(fact.data or "{}") for fact in self.ground.stored("behind")}
        found: dict[str, dict[str, Any]] = {}
        for fact in self.ground.stored("ack"):
            ack = orjson.loads(fact.data or "{}")
            found[fact.key] = ack | {"hides": seen.get(ack.get("first") or fact.key, {}).get("hides", {})}
        return found


def standing(head: HeadThread) -> dict[str, Any]:
    """What a person asks for first: the mode, and what is going on."""
    with head.reading() as (state, _):
        return {
            "enabled": state.mode.enabled,
            "dry_run": state.mode.dry_run,
            "open": len(state.remediations),
            "escalations": len(state.escalations),
        }


def signing_key(settings: Settings) -> bytes:
    """What signs buttons and links: the same in every process that talks for one workspace, and after a restart."""
    known = settings.secret_key or settings.slack_bot_token or settings.slack_webhook_url
    if known is None:
        return secrets.token_bytes(32)
    return hmac.digest(known.reveal().encode(), b"autoheal threader links", hashlib.sha256)
