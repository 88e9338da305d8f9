"""Several Autoheals on one PostgreSQL and one Redis: remediators and workers, each a process that may die alone."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx
import orjson
import psutil
import psycopg

from autoheal.core.alert import fingerprint
from autoheal.engine.ports import StoreUnavailable
from autoheal.store.claims import PostgresClaims
from autoheal.store.query import Reader
from autoheal.store.replay import verify_state
from autoheal.store.verify import verify_database
from tests.acceptance.service import QUICK, ROOT, Autoheal
from tests.databases import Postgres, Redis
from tests.servers import Alertmanager, Process, alertmanager_pair, wait_until

LEASE = 2.0
START_WINDOW = 1.5
"""Within the lease, as in a running service."""
OPTIONS = (
    *QUICK,
    f"--set=autoheal.engine.presence:LEASE={LEASE}",
    "--set=autoheal.engine.presence:RENEW=0.5",
    f"--set=autoheal.core.moves.acting:START_WINDOW={START_WINDOW}",
)
"""For the launcher of each process: the loss of one is noticed within seconds. What follows stays as it is."""


class Remediator(Autoheal):
    """`autoheal serve` of a cluster."""

    def freeze(self) -> None:
        """SIGSTOP: it lives and does nothing; what it has started goes on."""
        self.process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send(signal.SIGCONT)

    def frozen(self) -> bool:
        """Whether it stands still, by a signal or at a point that it was launched with (`--freeze`)."""
        assert self.process.alive, self.process.text()
        return bool(psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED)


class Worker(Remediator):
    """`autoheal worker` of a cluster; of what it inherits only its life is of use."""

    def _process(self, *more: str) -> Process:
        command = ["-m", "tests.crash.launcher", *(self.options or ()), *more, "--worker"]
        env = {name: value for name, value in self.env.items() if value}
        return Process([sys.executable, *command], self.folder / "autoheal.log", env, ROOT)


class Cluster:
    """Starts, kills, freezes and asks; `with` starts all of it and ends all of it."""

    def __init__(
        self,
        folder: Path,
        postgres: Postgres,
        redis: Redis | None,
        policy: Mapping[str, Any],
        *,
        remediators: int = 2,
        workers: int = 2,
        skew: Sequence[float] = (0, 300),
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = OPTIONS,
    ) -> None:
        """`skew`: by how many seconds the clocks are wrong, process by process, each kind from the first again."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.postgres, self.redis = folder, postgres, redis
        self.url = postgres.create_database()
        self.harmed: set[int] = set()
        """Processes that were killed or frozen: what they ran may have been interrupted."""
        shared = {"DATABASE_URL": self.url, "REDIS_URL": redis.url if redis else "", "AUTOHEAL_HEARTBEAT_SEC": "5"}

        def make(kind: type[Any], name: str, number: int) -> Any:
            given = [*options, f"--skew={skew[number % len(skew)]}"] if skew else options
            port = {"AUTOHEAL_WORKER_PORT": ""} if kind is Remediator else {}
            return kind(folder / f"{name}-{number + 1}", policy, env={**shared, **port, **(env or {})}, options=given)

        self.remediators: list[Remediator] = [make(Remediator, "remediator", number) for number in range(remediators)]
        self.workers: list[Worker] = [make(Worker, "worker", number) for number in range(workers)]
        for worker in self.workers:
            worker.env["AUTOHEAL_WORKER_PORT"] = str(worker.port)
        self._reader, self._claims = Reader(self.url), PostgresClaims(self.url, "test:0:0")
        self._trail: list[dict[str, Any]] = []
        self._lock, self._over = threading.Lock(), False

    @property
    def members(self) -> list[Remediator]:
        return [*self.remediators, *self.workers]

    # ---- life ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.remediators[0].start()  # it brings the tables
            for member in self.members[1:]:
                member.launch()
            for member in self.members[1:]:
                member.process.until(member.ready, 30, "ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        for member in self.members:
            member.__exit__()
        self._reader.close()
        self._claims.close()

    def stop(self) -> None:
        """SIGTERM to all; each ends in order."""
        for member in self.members:
            if member.process.alive:
                member.process.send(signal.SIGTERM)
        codes = [member.process.wait(60) for member in self.members]
        assert codes == [0] * len(codes), codes

    def kill(self, member: Remediator) -> None:
        """SIGKILL, at once."""
        self.harmed.add(member.process.pid)
        member.kill()

    def dies(self, member: Remediator, point: str, after: int, timeout: float = 60.0) -> None:
        """The member, which does not run, is started so that it dies at a point; and it does."""
        member.launch(f"--crash={point}:{after}")
        self.harmed.add(member.process.pid)
        wait_until(lambda: not member.process.alive, timeout, f"the death of {member.folder.name} at {point}")
        assert member.process.popen.returncode == -signal.SIGKILL, member.process.text()

    def freeze(self, member: Remediator) -> None:
        """SIGSTOP, and wait until its lease is over."""
        self.harmed.add(member.process.pid)
        member.freeze()
        wait_until(lambda: self.lease_over(member), 30, f"the end of the lease of {member.folder.name}")

    def living(self) -> Remediator:
        """A remediator that answers."""
        for one in self.remediators:
            if one.process.alive:
                with suppress(httpx.TransportError):
                    if one.ready():
                        return one
        raise AssertionError("no remediator answers")

    def events(self, **filters: Any) -> list[dict[str, Any]]:
        """The newest 10,000 events as a remediator tells them, oldest first."""
        return self.living().events(**filters)

    # ---- the trail, as the database has it ---------------------------------------------------------------------

    def trail(self) -> list[dict[str, Any]]:
        """Every event so far, heartbeats too; what was read before is not read again, nor anything after the end."""
        with self._lock:
            while not self._over:
                fresh = self._reader.lines_after(self._trail[-1]["id"] if self._trail else 0, 5000)
                if not fresh:
                    break
                self._trail += [orjson.loads(line) for _, line in fresh]
            return self._trail

    def seen(self) -> list[dict[str, Any]]:
        """The trail, or as much as was read before while the database is away."""
        with suppress(StoreUnavailable, psycopg.Error):
            return self.trail()
        return self._trail

    def await_event(self, kind: str, timeout: float = 30.0, after: int = 0, **fields: Any) -> dict[str, Any]:
        """The first event of a kind with these fields and an id above `after`, once it is there."""

        def found() -> dict[str, Any] | None:
            for event in self.seen():
                if event["id"] > after and event["kind"] == kind and fields.items() <= event.items():
                    return event
            return None

        event = wait_until(found, timeout, f"{kind} {fields}", 0.1)
        assert event is not None
        return event

    def lease_over(self, member: Remediator) -> bool:
        """Whether the others must take a member for gone."""
        try:
            there = [one.instance for one in self._claims.processes() if one.alive]
        except StoreUnavailable:
            return False
        return member.process.pid not in map(pid_of, there)

    def owner(self, event: Mapping[str, Any]) -> Remediator:
        """The living member that an event names as its instance."""
        return next(m for m in self.members if m.process.alive and pid_of(event["instance"]) == m.process.pid)

    def assert_whole(self) -> None:
        """The chain holds, the ids are dense, and the state is what the events add up to."""
        report = verify_database(self.url)
        assert report.ok and report.done, report.problems
        trail = self.trail()
        assert [event["id"] for event in trail] == list(range(1, len(trail) + 1))
        state = verify_state(self.url)
        assert state.done and state.ok, state.problems


def pid_of(instance: str) -> int:
    """The process behind an instance's name, host:pid:…"""
    return int(instance.split(":")[1])


def identity(alert: Mapping[str, Any]) -> str:
    return fingerprint(alert["labels"])


# ---- alerts that are sent until they are taken ---------------------------------------------------------------------


@contextmanager
def pair_for(folder: Path, cluster: Cluster) -> Iterator[tuple[Alertmanager, Alertmanager]]:
    """Two Alertmanagers that each send everything to every remediator: a cause is heard up to four times."""
    hooks = [{"url": f"{one.url}/alert", "send_resolved": True} for one in cluster.remediators]
    route = {"receiver": "autoheal", "group_by": ["instance"], "group_wait": "20ms", "group_interval": "1s"}
    config = {
        "route": {**route, "repeat_interval": "1h"},
        "receivers": [{"name": "autoheal", "webhook_configs": hooks}],
    }
    with alertmanager_pair(folder, "", config=config, peer_timeout="1ms") as pair:
        yield pair


class Senders:
    """Threads that deliver causes, each until it is taken; `promised` is what the answers said."""

    def __init__(self, cluster: Cluster, pair: Sequence[Alertmanager] = ()) -> None:
        self._cluster, self._pair = cluster, pair
        self.causes: dict[str, dict[str, Any]] = {}
        self.promised: list[dict[str, Any]] = []
        self.unanswered = 0
        self.refused = 0
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._web = httpx.Client(timeout=10)

    def by_alertmanager(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """To both of the pair, as Prometheus does; they last as long as the test."""
        self._note(alerts)
        posted = [{**alert, "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2036-01-01T00:00:00Z"} for alert in alerts]
        for one in self._pair:
            one.post(*posted)

    def directly(self, alerts: Sequence[Mapping[str, Any]], chance: random.Random) -> bool:
        """One delivery, to a remediator and again to any of them until one answers 200; False: the test was over."""
        self._note(alerts)
        body = {"version": "4", "alerts": list(alerts)}
        while not self.over.is_set():
            url = chance.choice(self._cluster.remediators).url
            try:
                answer = self._web.post(f"{url}/alert", json=body)
            except httpx.TransportError:
                self.unanswered += 1
                self.over.wait(0.05)
                continue
            if answer.status_code == 200:
                with self._lock:
                    self.promised += answer.json()["results"]
                return True
            assert answer.status_code == 503, answer.text
            self.refused += 1
            self.over.wait(0.05)
        return False

    def _note(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        with self._lock:
            self.causes.update({identity(alert): dict(alert) for alert in alerts})

    def close(self) -> None:
        self.over.set()
        self._web.close()


def seed(usual: int) -> random.Random:
    """A test's chances; SEED in the environment takes the place of its usual seed."""
    return random.Random(int(os.environ.get("SEED", usual)))
