"""`autoheal serve`: the remediator, put together and run. Straight and boring on purpose."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import structlog
import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from autoheal import __version__, actions
from autoheal.app import logs
from autoheal.app.assembly import lay, patiently
from autoheal.app.conversing import Company, Conversing, standing
from autoheal.app.server import QuietServer, listen, run_forever, server_config
from autoheal.clients.alertmanager import AlertmanagerCluster
from autoheal.clients.broker import CeleryBell
from autoheal.clients.docker import DEFAULT_HOST
from autoheal.clients.probe import Prober as ProbeClient
from autoheal.clients.prometheus import PrometheusClient
from autoheal.config.environment import environment
from autoheal.config.policy_file import PolicyErrors, load_policy
from autoheal.config.secrets import Secret
from autoheal.config.settings import MIN_TOKEN, Settings
from autoheal.core.alert import Alert
from autoheal.core.errors import Invalid, Permanent
from autoheal.core.events import Event
from autoheal.core.fold import fold
from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.moves.people import SetCooldown, SetMode
from autoheal.core.moves.service import PolicyLoaded, PolicyRejected, environment_of
from autoheal.core.policy import Policy
from autoheal.core.state import State
from autoheal.engine.engine import Beside, Engine, Options
from autoheal.engine.head import HeadThread, Listener, changes
from autoheal.engine.ports import Fact, RemediationRow, StoreUnavailable, World
from autoheal.remediator.alert import Door, receive_alerts
from autoheal.remediator.api import build
from autoheal.remediator.metrics import Metrics
from autoheal.remediator.queues import QueueMetrics
from autoheal.remediator.service import Remediator
from autoheal.sources.prober import ProbeSource
from autoheal.store.copy import AuditCopy
from autoheal.store.restore import restore
from autoheal.store.retention import prune
from autoheal.threader.http import mount
from autoheal.threader.interactive import Desk
from autoheal.web.access import Access
from autoheal.web.once import OnceTokens
from autoheal.web.tail import Tail

log = structlog.get_logger("serve")

WITNESS_EVERY = 3600.0
"""Seconds between two lines in the process log that name the head's hash: a witness outside of the ledger."""
PROBING: float = 15.0
"""Seconds for which one process asks the policy's probes without having to say so again."""
RETAIN_EVERY = 3600.0


class Service:
    """Everything of one process, wired; `run` returns when it was told to stop."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.environ = environ
        self.policy = self._load_policy()
        self.ground = lay(settings)
        self.clock, self.reader, self.claims = self.ground.clock, self.ground.reader, self.ground.claims
        self.imported = self._restore()
        self.copy: AuditCopy | None = None
        if settings.copies:
            self.copy = AuditCopy(settings.audit_path, self.reader, settings.audit_segment_bytes)
        self.conversing: Conversing | None = None
        self.desk: Desk
        self.head = self.ground.head(self.policy)
        self.bell = CeleryBell(settings.redis_url.reveal()) if settings.redis_url is not None else None
        self.stop_asked = asyncio.Event()
        self._policy_came = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._probes_are_ours = False

    def _load_policy(self) -> Policy:
        settings = self.settings
        return load_policy(settings.policy_file, self.environ, actions.KINDS, settings.policy_defaults)

    def _restore(self) -> int:
        """A copy of the trail without its database is imported; how many events it had."""
        if self.ground.shared:
            return 0  # there `autoheal db import` does it, on purpose and once
        restored = restore(self.settings.audit_path, self.ground.ledger, _state_of)
        if restored is None:
            return 0
        count = restored.head.id - restored.first + 1
        log.warning("trail_imported", events=count, note="the database was missing; autoheal starts in dry run")
        return count

    # ---- parts -----------------------------------------------------------------------------------------------

    def _wire(self) -> Remediator:
        settings, head, clock = self.settings, self.head, self.clock
        self.alertmanagers = AlertmanagerCluster(settings.alertmanager_urls) if settings.alertmanager_urls else None
        self.prometheus = PrometheusClient(settings.prometheus_url) if settings.prometheus_url else None
        self.probes = ProbeClient(self.prometheus)
        docker_host = settings.docker_host or DEFAULT_HOST
        hands = actions.build(clock, self.environ, docker_host, settings.alertmanager_urls)
        options = Options(
            version=__version__,
            enabled=settings.enabled,
            dry_run=settings.dry_run,
            public_url=settings.public_url,
            stale_after=settings.stale_after,
            heartbeat=settings.heartbeat,
            drain=settings.drain,
            imported=self.imported,
        )
        world = World(hands, self.probes, self.alertmanagers, settings.mask)
        beside = Beside(self.claims, self.ground.stored, self.bell, settings.broker_down == "run")
        self.engine = Engine(head, world, clock, options, beside)
        self.prober = ProbeSource(self.probes, _Intake(head), clock)
        self.metrics = metrics = Metrics(head, __version__)
        self.tail = Tail(self.reader.lines_after, lambda: self.reader.head().id, metrics.sse_dropped.inc)
        metrics.expect(self.policy)
        head.listeners.append(metrics.listen)
        head.followers += [self.tail.listen, self._follow]
        if self.copy is not None and self.ground.shared:
            head.followers.append(_copying(self.copy))
        else:
            head.copy = self.copy
        if self.engine.dispatcher is not None:
            metrics.registry.register(QueueMetrics(self.engine.dispatcher, self.claims))
        access = Access(
            webhook_token=_text(settings.webhook_token),
            admin_token=_text(settings.admin_token),
            loopback=settings.loopback,
            insecure=settings.allow_insecure,
            public_url=settings.public_url,
        )
        env = environment_of(settings.enabled, settings.dry_run)
        if settings.slack_configured:
            acks = self.engine.acks if self.alertmanagers is not None else None
            ops = _Ops(self.engine, env)
            policy = lambda: head.policy.threader  # noqa: E731
            company = Company(head, acks, self.alertmanagers, ops, policy, settings.public_url, metrics.registry)
            self.conversing = Conversing(settings, self.ground, company)
        return Remediator(
            head=head,
            engine=self.engine,
            reader=self.reader,
            tail=self.tail,
            metrics=metrics,
            access=access,
            once=OnceTokens(self.claims, clock.now, self._signing_key()),
            alertmanagers=self.alertmanagers,
            reload=self.reload,
            env=env,
            heard=self.conversing.threader.intake.hear if self.conversing is not None else None,
            version=__version__,
            public_url=settings.public_url,
        )

    def _signing_key(self) -> bytes:
        """One that replicas share where they have a secret in common; otherwise it lives as long as the process."""
        known = self.settings.secret_key or self.settings.admin_token
        return known.reveal().encode() if known is not None and self.ground.shared else secrets.token_bytes(32)

    async def reload(self, actor: str) -> dict[str, Any]:
        """Build the new policy whole; take it, or keep the old and say every mistake."""
        try:
            policy = await asyncio.to_thread(self._load_policy)
        except PolicyErrors as error:
            lines = tuple(str(mistake) for mistake in error.mistakes)
            await self.head.play(PolicyRejected(lines, actor))
            log.error("policy_rejected", mistakes=len(lines), first=lines[0] if lines else "")
            raise Invalid("the policy was refused, the old one stays:\n" + "\n".join(lines), "policy") from error
        answer: dict[str, Any] = await self.head.play(PolicyLoaded(policy, actor))
        log.info("policy_loaded", rules=answer["rules"], changed=answer["changed"])
        return answer

    # ---- life ------------------------------------------------------------------------------------------------

    async def run(self, listening: socket.socket) -> None:
        self.remediator = self._wire()
        app = build(self.remediator)
        door: Door = app.state.door
        if self.conversing is not None:
            self.desk = mount(app, self.conversing.threader)
        if self.copy is not None:
            threading.Thread(target=self.copy.catch_up, name="copy", daemon=True).start()
        await self._start_engine()
        self.tail.start(self.head.state.last_id)
        if self.conversing is not None:
            await self.conversing.start()
        await self._probe()
        await asyncio.to_thread(self._resume_metrics)
        server = QuietServer(server_config(_alert_first(app, self.remediator, door)))
        serving = asyncio.create_task(server.serve(sockets=[listening]), name="http")
        chores = [
            asyncio.create_task(self._witness(), name="witness"),
            asyncio.create_task(self._chores(door), name="chores"),
            asyncio.create_task(self._probing(), name="probing"),
        ]
        if self.settings.retention is not None:
            chores.append(asyncio.create_task(self._retain(self.settings.retention), name="retention"))
        self._signals()
        self._say_hello()
        stop = asyncio.create_task(self.stop_asked.wait(), name="stop")
        await asyncio.wait({stop, serving}, return_when=asyncio.FIRST_COMPLETED)
        await self._shut_down(server, serving, chores)

    async def _start_engine(self) -> None:
        """A database that goes away while we start is waited for, as one that is not there yet."""
        loop = asyncio.get_running_loop()

        def start() -> None:
            asyncio.run_coroutine_threadsafe(self.engine.start(), loop).result()

        if self.ground.shared:
            await asyncio.to_thread(patiently, start)
        else:
            await self.engine.start()

    async def _shut_down(
        self, server: uvicorn.Server, serving: asyncio.Task[None], chores: Sequence[asyncio.Task[None]]
    ) -> None:
        """Ready red, streams closed, what runs drained, then the end; each part bounded."""
        log.info("stopping", drain_seconds=self.settings.drain)
        self.remediator.stopping = True
        self.tail.close()
        for task in chores:
            task.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        await self.prober.stop()
        if self.conversing is not None:
            self.conversing.threader.stopping = True
            await self.desk.finish()
        await self.engine.stop()
        server.should_exit = True
        done, _ = await asyncio.wait({serving}, timeout=5)
        if not done:
            server.force_exit = True
            await asyncio.wait({serving}, timeout=2)
        if self.conversing is not None:
            await self.conversing.stop()
        for client in (self.alertmanagers, self.probes, self.prometheus):
            if client is not None:
                await client.aclose()
        if self.bell is not None:
            self.bell.close()
        log.info("stopped", last_id=self.head.state.last_id, hash=self.head.hash)

    def close(self) -> None:
        if self.copy is not None:
            self.copy.close()
        if self.conversing is not None:
            self.conversing.close()
        self.ground.close()

    def _signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop_asked.set)
        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, self._reload_by_signal)

    def _reload_by_signal(self) -> None:
        task = asyncio.create_task(self.reload("SIGHUP"), name="reload")
        self._reloading = task

        def ended(finished: asyncio.Task[dict[str, Any]]) -> None:
            if not finished.cancelled() and isinstance(finished.exception(), StoreUnavailable):
                log.error("policy_not_loaded", error=str(finished.exception()))

        task.add_done_callback(ended)

    def _follow(self, events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        """A policy that any process loaded brings its probes, and its names for the metrics."""
        if any(event["kind"] == "policy_loaded" for event in events):
            self.metrics.expect(self.head.policy)
            self._loop.call_soon_threadsafe(self._policy_came.set)

    async def _probing(self) -> None:
        """One process asks the policy's probes; while it is this one, they are as the policy in force has them."""
        while True:
            changed = True
            try:
                await asyncio.wait_for(self._policy_came.wait(), PROBING / 3)
            except TimeoutError:
                changed = False
            self._policy_came.clear()
            try:
                await self._probe(changed)
            except StoreUnavailable as error:
                log.debug("probing_not_claimed", error=str(error))

    async def _probe(self, changed: bool = True) -> None:
        before, self._probes_are_ours = (
            self._probes_are_ours,
            self.claims.alone or bool(await asyncio.to_thread(self.claims.take, ["prober"], PROBING)),
        )
        if self._probes_are_ours and not before:
            self._resume_probes()
        elif self._probes_are_ours and changed:
            self.prober.configure(self.head.policy.probes)
        elif before and not self._probes_are_ours:
            await self.prober.stop()

    def _resume_probes(self) -> None:
        with self.head.reading() as (state, policy):
            firing = {r.fingerprint: r.starts_at for r in state.remediations.values() if r.origin == "prober"}
            firing |= {d.fingerprint: d.starts_at for d in state.deferred.values() if d.origin == "prober"}
            probes = policy.probes
        self.prober.resume(firing)
        self.prober.configure(probes)

    def _resume_metrics(self) -> None:
        """The time of the last webhook outlives a restart, or its absence would be told after each one."""
        for line in self.reader.query(1, kind="webhook_received").lines:
            self.remediator.metrics.webhook.set(orjson.loads(line)["ts"])

    def _say_hello(self) -> None:
        settings, mode = self.settings, self.head.state.mode
        said = "live" if mode.acts else "off" if mode.off else "dry run"
        url, ledger = f"http://{settings.host}:{settings.port}", self.ground.place
        log.info("listening", url=url, mode=said, rules=len(self.policy.rules), ledger=ledger)
        if self.remediator.access.open:
            log.warning("open", note="protected routes ask for nothing: no AUTOHEAL_ADMIN_TOKEN is configured")
        warn_of_short_tokens(settings)

    async def _witness(self) -> None:
        while True:
            await asyncio.sleep(WITNESS_EVERY)
            log.info("witness", last_id=self.head.state.last_id, hash=self.head.hash)

    async def _chores(self, door: Door) -> None:
        """Every few seconds: refusals that were added up, a copy that fell behind."""
        while True:
            await asyncio.sleep(5)
            await door.flush()
            if self.copy is not None and self.copy.behind:
                await asyncio.to_thread(self.copy.catch_up)

    async def _retain(self, seconds: float) -> None:
        """Once an hour: what is older than it must be kept is let go of, by one of the processes."""
        while True:
            try:
                if await asyncio.to_thread(self.claims.take, ["retention"], RETAIN_EVERY - 60):
                    copied = None if self.copy is None else self.copy.next_id
                    before = self.clock.now() - seconds
                    gone = await asyncio.to_thread(prune, self.ground.url, before, below=copied)
                    if gone.events:
                        log.info("pruned", events=gone.events, first=gone.first)
            except (StoreUnavailable, Permanent) as error:
                log.warning("not_pruned", error=str(error))
            await asyncio.sleep(RETAIN_EVERY)


class _Ops:
    """What an admin asks for by Slack."""

    def __init__(self, engine: Engine, env: str) -> None:
        self._engine, self._env = engine, env

    async def cooldown(self, rule: str, seconds: float | None, actor: str) -> dict[str, Any]:
        answer: dict[str, Any] = await self._engine.head.play(SetCooldown(rule, seconds, actor))
        return answer

    async def mode(self, enabled: bool, dry_run: bool, actor: str) -> dict[str, Any]:
        return await self._engine.switch(SetMode(enabled, dry_run, actor, source="slack", env=self._env))

    def status(self) -> dict[str, Any]:
        return standing(self._engine.head)


class _Intake:
    """Where our own sources hand in what they raise."""

    def __init__(self, head: HeadThread) -> None:
        self._head = head

    async def alerts(self, alerts: Sequence[Alert], source: str) -> None:
        await self._head.play(AlertsArrived(list(alerts), source=source, origin=source), weight=len(alerts))


def _state_of(lines: Iterator[str]) -> tuple[Sequence[Fact], Sequence[RemediationRow]]:
    """The facts and remediations that a restored trail comes to."""
    state = State()
    rows: dict[str, RemediationRow] = {}
    for line in lines:
        event = orjson.loads(line)
        fold(state, event)
        late_mark = event["kind"] == "marked" and event["remediation_id"] not in state.remediations
        if len(state.ended) > 1000 or late_mark:
            rows.update({row.id: row for row in changes(state)[1]})
        if late_mark and event["remediation_id"] in rows:
            row = rows[event["remediation_id"]]
            marked = orjson.loads(row.data) | {"marked": event["mark"]}
            rows[row.id] = row._replace(data=orjson.dumps(marked).decode())
    touched = list(state.snapshot())
    facts, last = changes(state)
    rows.update({row.id: row for row in last})
    known = {(fact.space, fact.key) for fact in facts}
    facts += [
        Fact(space, key, orjson.dumps(data).decode(), data.get("until") if isinstance(data, dict) else None)
        for space, key, data in touched
        if (space, key) not in known
    ]
    return facts, list(rows.values())


def _copying(copy: AuditCopy) -> Listener:
    """On a ledger that others write, too, the copy follows all of it."""

    def follow(events: Sequence[Event], lines: Sequence[str], took: float) -> None:
        copy.write(events[0]["id"], lines)

    return follow


def _text(secret: Secret | None) -> str | None:
    return secret.reveal() if secret is not None else None


def _alert_first(app: ASGIApp, service: Remediator, door: Door) -> ASGIApp:
    """The one busy route is asked before the framework's router."""

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/alert" and scope["method"] == "POST":
            response = await receive_alerts(Request(scope, receive), service, door)
            await response(scope, receive, send)
            return
        await app(scope, receive, send)

    return dispatch


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; 0 after an orderly end. Raises Permanent for what the person must change."""
    logs.configure(settings.log_level, settings.log_format)
    _refuse_what_cannot_be(settings)

    async def life() -> None:
        listening = listen(settings.host, settings.port)
        service = Service(settings, environment())
        try:
            await service.run(listening)
        finally:
            service.close()

    run_forever(life)
    return 0


def warn_of_short_tokens(settings: Settings) -> None:
    for name in settings.short_tokens():
        log.warning("short_token", variable=name, note=f"could be guessed: fewer than {MIN_TOKEN} characters")


def _refuse_what_cannot_be(settings: Settings) -> None:
    if settings.audit_path.exists() and not settings.audit_path.is_file():
        raise Permanent(f"AUTOHEAL_AUDIT_PATH: {settings.audit_path} is not a regular file")
    refused = settings.not_yet() + settings.exposed()
    if refused:
        raise Permanent("\n".join(refused))
