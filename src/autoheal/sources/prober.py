"""Our own prober: asks HTTP and TCP targets again and again, and raises and resolves alerts like Alertmanager's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import structlog

from autoheal.core.alert import FIRING, RESOLVED, Alert, fingerprint
from autoheal.core.backoff import delay
from autoheal.core.errors import AutohealError
from autoheal.core.hysteresis import Hysteresis
from autoheal.core.policy import Probe
from autoheal.engine.ports import Clock, Intake, Look, Probes, StoreUnavailable

log = structlog.get_logger("prober")

SOURCE = "prober"
JOB = "autoheal-probe"
RESEND = 60.0
"""Seconds between two sendings of an alert that stands, so that it stays fresh."""
MAX_JITTER = 10.0
"""Seconds over which the first looks are spread, at most."""
_RETRY = (1.0, 30.0)
"""Base and cap, in seconds, of the wait before a resolve that was not taken is handed in again."""

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class _Watched:
    """One target: what was seen of it, and what must still be told. `since`: the first bad answer of this row."""

    spec: Probe
    labels: Mapping[str, str]
    fingerprint: str
    seen: Hysteresis
    since: float = 0.0
    detail: str = ""
    told_at: float = float("-inf")
    owed: list[Alert] = field(default_factory=list)


class ProbeSource:
    """One task for each probe of the policy. `random01` and `sleep` are handed in by tests."""

    def __init__(
        self,
        probes: Probes,
        intake: Intake,
        clock: Clock,
        random01: Callable[[], float] = random.random,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._probes = probes
        self._intake = intake
        self._clock = clock
        self._random01 = random01
        self._sleep = sleep
        self._watched: dict[str, _Watched] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._farewells: set[asyncio.Task[None]] = set()
        self._resumed: dict[str, float] = {}

    def resume(self, firing: Mapping[str, float]) -> None:
        """What was firing when the last process ended, as fingerprint → start; call it before `configure`.

        A target among these counts as down, so its alert goes on, and is resolved when it answers again.
        """
        self._resumed = dict(firing)

    @property
    def down(self) -> list[str]:
        """Names of the probes whose target is down."""
        return sorted(name for name, one in self._watched.items() if one.seen.down)

    def configure(self, specs: Iterable[Probe]) -> None:
        """Take the probes of a policy, in the event loop: what stays the same goes on undisturbed.

        The alert of a probe that is gone, or whose labels changed, is resolved.
        """
        wanted = {spec.name: spec for spec in specs}
        for name, old in list(self._watched.items()):
            if wanted.get(name) != old.spec:
                self._tasks.pop(name).cancel()
                del self._watched[name]
                self._replace(old, wanted.get(name))
        for name, spec in wanted.items():
            if name not in self._watched:
                self._begin(self._new(spec))
        self._resumed = {}

    async def stop(self) -> None:
        """End all tasks. Nothing is resolved by that: a target that is down still is."""
        tasks = [*self._tasks.values(), *self._farewells]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._watched.clear()

    # ---- one target more or less -------------------------------------------------------------------------------

    def _new(self, spec: Probe) -> _Watched:
        labels = labels_of(spec)
        name = fingerprint(labels)
        since = self._resumed.get(name)
        seen = Hysteresis(spec.down_after, spec.up_after, down=since is not None)
        return _Watched(spec, labels, name, seen, since or 0.0)

    def _begin(self, one: _Watched) -> None:
        name = one.spec.name
        self._watched[name] = one
        self._tasks[name] = asyncio.get_running_loop().create_task(self._watch(one), name=f"probe-{name}")

    def _replace(self, old: _Watched, spec: Probe | None) -> None:
        new = None if spec is None else self._new(spec)
        if new is not None and new.fingerprint == old.fingerprint:
            new.seen.down, new.since, new.owed = old.seen.down, old.since, old.owed
            self._begin(new)
            return
        last = [*old.owed, *([self._resolved(old)] if old.seen.down else [])]
        if last:
            task = asyncio.get_running_loop().create_task(self._say_farewell(last))
            self._farewells.add(task)
            task.add_done_callback(self._farewells.discard)
        if new is not None:
            self._begin(new)

    async def _say_farewell(self, alerts: list[Alert]) -> None:
        attempt = 0
        while not await self._hand_in(alerts):
            attempt += 1
            await self._sleep(delay(attempt, *_RETRY, self._random01(), "equal"))

    # ---- looking ---------------------------------------------------------------------------------------------

    async def _watch(self, one: _Watched) -> None:
        every = one.spec.every
        await self._sleep(self._random01() * min(every, MAX_JITTER))
        due = self._clock.monotonic()
        while True:
            asked_at = self._clock.now()
            look = await self._look(one.spec)
            self._judge(one, look, asked_at)
            await self._tell(one)
            now = self._clock.monotonic()
            due = due + every if due + every > now else now + every
            await self._sleep(due - now)

    async def _look(self, spec: Probe) -> Look:
        try:
            return await self._probes.look(spec.kind, spec.target, spec.timeout)
        except Exception as error:
            log.exception("probe_failed", probe=spec.name)
            return Look("none", f"{type(error).__name__}: {error}")

    def _judge(self, one: _Watched, look: Look, asked_at: float) -> None:
        """Count an answer; where there is none, nothing is known and nothing is counted."""
        if look.answer == "none":
            log.warning("probe_without_answer", probe=one.spec.name, detail=look.detail)
            return
        good = look.answer == "good"
        if not good:
            one.detail = look.detail
            if not one.seen.down and not one.seen.wavering:
                one.since = round(asked_at, 3)
        change = one.seen.feed(good)
        if change == "down":
            one.told_at = float("-inf")
            log.warning("target_down", probe=one.spec.name, target=one.spec.target, detail=look.detail)
        elif change == "up":
            one.owed.append(self._resolved(one))
            log.info("target_up", probe=one.spec.name, target=one.spec.target)

    # ---- telling ---------------------------------------------------------------------------------------------

    async def _tell(self, one: _Watched) -> None:
        now = self._clock.monotonic()
        standing = one.seen.down and now - one.told_at >= RESEND
        alerts = [*one.owed, *([self._firing(one)] if standing else [])]
        if not alerts or not await self._hand_in(alerts):
            return
        one.owed.clear()
        if standing:
            one.told_at = now

    async def _hand_in(self, alerts: list[Alert]) -> bool:
        try:
            await self._intake.alerts(alerts, SOURCE)
        except (StoreUnavailable, AutohealError) as error:
            log.warning("alerts_not_taken", count=len(alerts), error=str(error))
            return False
        return True

    def _firing(self, one: _Watched) -> Alert:
        summary = f"{one.spec.target} does not answer as it should: {one.detail}" if one.detail else one.spec.target
        notes = {"summary": summary, **one.spec.annotations}
        return Alert(FIRING, one.labels, notes, one.since, one.fingerprint)

    def _resolved(self, one: _Watched) -> Alert:
        ends_at = round(self._clock.now(), 3)
        return Alert(RESOLVED, one.labels, dict(one.spec.annotations), one.since, one.fingerprint, ends_at)


def labels_of(spec: Probe) -> dict[str, str]:
    """The alert's identity: the probe's own labels win over `instance` and `job`, never over its name."""
    labels = {"instance": _instance(spec), "job": JOB, **spec.labels, "alertname": spec.alertname, "probe": spec.name}
    return {name: value for name, value in labels.items() if value}


def _instance(spec: Probe) -> str:
    """``host:port`` of the target."""
    if spec.kind == "tcp":
        return spec.target
    try:
        parts = urlsplit(spec.target)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return spec.name
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
