"""`autoheal threader`: conversations on a port of its own. Any number of them on one database share the work."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Mapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from autoheal import __version__, actions
from autoheal.app import logs
from autoheal.app.assembly import lay, patiently
from autoheal.app.conversing import Company, Conversing, standing
from autoheal.app.server import QuietServer, listen, run_forever, server_config
from autoheal.clients.alertmanager import AlertmanagerCluster
from autoheal.config.environment import environment
from autoheal.config.policy_file import PolicyErrors, load_policy
from autoheal.config.settings import Settings
from autoheal.core.errors import Conflict, Permanent
from autoheal.core.moves.people import SetCooldown, SetMode
from autoheal.core.moves.service import environment_of
from autoheal.core.policy import Policy
from autoheal.core.threads import ThreadPolicy
from autoheal.engine.engine import REMEDIATOR
from autoheal.engine.mode import switched
from autoheal.engine.observer import Observer
from autoheal.threader.http import build
from autoheal.threader.poster import USUAL, Pace
from autoheal.web.access import Access

log = structlog.get_logger("threader")


class ThreaderService:
    """Everything of one threader, wired; `run` returns when it was told to stop."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], pace: Pace = USUAL) -> None:
        self.settings, self.environ, self.pace = settings, environ, pace
        self.own = self._read_policy()
        self.ground = lay(settings)
        self.head = self.ground.head(Policy())
        urls = settings.alertmanager_urls
        self.alertmanagers = AlertmanagerCluster(urls) if urls else None
        ground = self.ground
        self.observer = Observer(
            self.head, self.alertmanagers, ground.clock, ground.claims, ground.stored, "threader", __version__
        )
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        company = Company(
            head=self.head,
            acks=self.observer.acks if self.alertmanagers is not None else None,
            alertmanagers=self.alertmanagers,
            ops=_Ops(self.observer) if ground.shared else None,
            policy=self.policy,
            public_url=self.public_url,
            registry=registry,
            console=False,
        )
        self.conversing = Conversing(settings, ground, company, pace)
        self.stop_asked = asyncio.Event()

    def _read_policy(self) -> ThreadPolicy | None:
        """The section of our own file; None where there is none, and then the ledger's policy counts."""
        settings = self.settings
        if settings.policy_file is None:
            return None
        return load_policy(settings.policy_file, self.environ, actions.KINDS, settings.policy_defaults).threader

    def policy(self) -> ThreadPolicy:
        return self.own if self.own is not None else self.head.policy.threader

    @property
    def public_url(self) -> str:
        return self.settings.public_url

    # ---- life ------------------------------------------------------------------------------------------------

    async def run(self, listening: socket.socket) -> None:
        settings = self.settings
        loop = asyncio.get_running_loop()
        begin = lambda: asyncio.run_coroutine_threadsafe(self.observer.start(), loop).result()  # noqa: E731
        await asyncio.to_thread(patiently, begin)
        await self.conversing.start()
        webhook = settings.webhook_token
        access = Access(
            webhook_token=webhook.reveal() if webhook is not None else None,
            admin_token=None,
            loopback=settings.loopback,
            insecure=settings.allow_insecure,
            public_url=self.public_url,
        )
        app = build(self.conversing.threader, access)
        server = QuietServer(server_config(app))
        serving = asyncio.create_task(server.serve(sockets=[listening]), name="http")
        self._signals()
        url = f"http://{settings.host}:{settings.threader_port}"
        log.info("listening", url=url, ledger=self.ground.place, slack="webhook" if self.plain else "app")
        stop = asyncio.create_task(self.stop_asked.wait(), name="stop")
        await asyncio.wait({stop, serving}, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
        self.conversing.threader.stopping = True
        server.should_exit = True
        done, _ = await asyncio.wait({serving}, timeout=5)
        if not done:
            server.force_exit = True
            await asyncio.wait({serving}, timeout=2)
        await app.state.desk.finish()
        await self.conversing.stop()
        await self.observer.stop()
        if self.alertmanagers is not None:
            await self.alertmanagers.aclose()
        log.info("stopped")

    @property
    def plain(self) -> bool:
        return self.settings.slack_bot_token is None

    def close(self) -> None:
        self.conversing.close()
        self.ground.close()

    def _signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop_asked.set)
        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        try:
            self.own = self._read_policy()
        except PolicyErrors as error:
            log.error("policy_rejected", mistakes=len(error.mistakes), first=str(error.mistakes[0]))
        else:
            log.info("policy_read")


class _Ops:
    """What an admin asks for by Slack, where remediators share the ledger."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    async def cooldown(self, rule: str, seconds: float | None, actor: str) -> dict[str, Any]:
        self._remediators()
        answer: dict[str, Any] = await self._observer.head.play(SetCooldown(rule, seconds, actor))
        return answer

    async def mode(self, enabled: bool, dry_run: bool, actor: str) -> dict[str, Any]:
        under = self._remediators()[0].data["mode"]
        move = SetMode(enabled, dry_run, actor, source="slack", env=environment_of(bool(under[0]), bool(under[1])))
        observer = self._observer
        return await switched(observer.head, observer.attendance, observer.clock, move)

    def status(self) -> dict[str, Any]:
        return standing(self._observer.head)

    def _remediators(self) -> list[Any]:
        found = [p for p in self._observer.attendance.others() if p.data.get("role") == REMEDIATOR and "mode" in p.data]
        if not found:
            raise Conflict("no remediator runs on this ledger")
        return found


def main(settings: Settings, pace: Pace = USUAL) -> int:
    """Run until SIGTERM or SIGINT; 0 after an orderly end. Raises Permanent for what the person must change."""
    logs.configure(settings.log_level, settings.log_format)
    if not settings.slack_configured:
        raise Permanent("SLACK_BOT_TOKEN or SLACK_WEBHOOK_URL: the threader needs one of them to reach Slack")
    refused = settings.threader_exposed()
    if refused:
        raise Permanent("\n".join(refused))

    async def life() -> None:
        listening = listen(settings.host, settings.threader_port, "THREADER_PORT")
        service = ThreaderService(settings, environment(), pace)
        try:
            await service.run(listening)
        finally:
            service.close()

    run_forever(life)
    return 0
