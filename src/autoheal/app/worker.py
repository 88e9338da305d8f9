"""`autoheal worker`: hands beside the remediators, rung for over the broker. Put together and run."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from autoheal import __version__, actions
from autoheal.app import logs
from autoheal.app.assembly import lay, patiently
from autoheal.app.watch import Watch
from autoheal.clients.alertmanager import AlertmanagerCluster
from autoheal.clients.broker import CeleryBell, work
from autoheal.clients.docker import DEFAULT_HOST
from autoheal.config.environment import environment
from autoheal.config.secrets import Secret
from autoheal.config.settings import Settings
from autoheal.core.errors import Permanent
from autoheal.core.events import Event
from autoheal.core.policy import Policy
from autoheal.engine.dispatch import Dispatcher
from autoheal.engine.hands import Hands, HandsOptions
from autoheal.engine.ports import Look, World
from autoheal.remediator.metrics import Metrics
from autoheal.remediator.queues import QueueMetrics

log = structlog.get_logger("worker")

SWEEP_EVERY = 0.5


class WorkerService:
    """Everything of one worker, wired; `run` returns when it was told to stop."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.broker_url = _needed(settings.redis_url, "REDIS_URL", "redis://HOST:6379/0")
        _needed(settings.database_url, "DATABASE_URL", "postgresql://USER:PASSWORD@HOST/NAME")
        self.bell = CeleryBell(self.broker_url)
        self.ground = lay(settings)
        head, clock, claims = self.ground.head(Policy()), self.ground.clock, self.ground.claims
        urls = settings.alertmanager_urls
        self.alertmanagers = AlertmanagerCluster(urls) if urls else None
        can = actions.build(clock, environ, settings.docker_host or DEFAULT_HOST, urls)
        options = HandsOptions(__version__, settings.worker_queues)
        self.hands = Hands(head, World(can, _Blind(), self.alertmanagers, settings.mask), clock, claims, options)
        self.dispatcher = Dispatcher(head, self.bell, claims, clock)
        self.metrics = Metrics(head, __version__)
        self.metrics.registry.register(QueueMetrics(self.dispatcher, claims))
        head.listeners += [self.metrics.listen, self.dispatcher.listen]
        head.followers.append(self._follow)
        self.connected = False
        self.stopping = False
        self._over = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="sweep", daemon=True)

    # ---- life ------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve the queues until SIGTERM or SIGINT; how many actions still ran when it was time to go."""
        settings = self.settings
        with Watch(settings.host, settings.worker_port, self.metrics.registry, self.unready) as watch:
            patiently(self.hands.start)
            self.metrics.expect(self.hands.head.policy)
            self.dispatcher.start()
            self._sweeper.start()
            queues, hands = list(settings.worker_queues), settings.worker_concurrency
            log.info("working", queues=queues, hands=hands, url=watch.url, ledger=self.ground.place)
            work(
                self.broker_url,
                self.hands.do,
                settings.worker_queues,
                settings.worker_concurrency,
                self.ground.claims.instance.replace(":", "-"),
                settings.drain,
                started=lambda: self._connected(True),
                stopping=self._stop_taking,
                lost=lambda: self._connected(False),
            )
            return self._shut_down()

    def _connected(self, connected: bool) -> None:
        self.connected = connected

    def _stop_taking(self) -> None:
        """What waits for its turn is let go: it is still reserved, and another worker is rung for."""
        log.info("stopping", drain_seconds=self.settings.drain)
        self.stopping = True
        self.hands.runner.stop(0.0)

    def _shut_down(self) -> int:
        self._over.set()
        self._sweeper.join(5)
        left = self.hands.stop(0.0)
        self.dispatcher.stop()
        log.info("stopped", running=left, last_id=self.hands.head.state.last_id, hash=self.hands.head.hash)
        return left

    def close(self) -> None:
        self.bell.close()
        self.ground.close()

    # ---- what goes on ----------------------------------------------------------------------------------------

    def unready(self) -> str:
        """Why no work should be expected from here; empty where it may."""
        if self.stopping:
            return "stopping"
        if not self.hands.healthy:
            said = self.hands.head.error.partition(": ")[0]  # the rest is in the log: anybody can ask here
            return "the ledger cannot be written" if said.startswith("the ledger") else said
        return "" if self.connected else "the broker cannot be reached"

    def _follow(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        if any(event["kind"] == "policy_loaded" for event in events):
            self.metrics.expect(self.hands.head.policy)

    def _sweep(self) -> None:
        while not self._over.wait(SWEEP_EVERY):
            try:
                self.dispatcher.sweep()
            except Exception:
                log.exception("sweep_failed")


class _Blind:
    """A worker looks at nothing: whether an action helped is for the remediators to see."""

    async def look(self, kind: str, target: str, timeout: float) -> Look:
        return Look("none", "a worker does not look")


def _needed(secret: Secret | None, name: str, example: str) -> str:
    if secret is None:
        raise Permanent(
            f"{name}: a worker needs it, such as {example}; without workers, `autoheal serve` acts by itself"
        )
    return secret.reveal()


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; 0 after an orderly end. Raises Permanent for what the person must change."""
    logs.configure(settings.log_level, settings.log_format)
    service = WorkerService(settings, environment())
    try:
        service.run()
    finally:
        with suppress(Exception):
            service.close()
    return 0
