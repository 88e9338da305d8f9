"""Two remediators, two workers, PostgreSQL, Redis and a pair of Alertmanagers, all real; everything dies in turn."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.service import Background, alert
from tests.crash.storm import healthy_target
from tests.databases import Postgres, Redis, postgres, redis
from tests.scale.cluster import LEASE, Cluster, Remediator, Senders, pair_for, seed
from tests.scale.proof import Proof, counted, scale_policy, settled
from tests.servers import wait_until

KINDS = ("Plain",) * 5 + ("Checked",) * 4 + ("Sick",)
REMEDIATOR_POINTS = (("before_commit", 12), ("after_commit", 9), ("before_verdict", 2))
WORKER_POINTS = (
    ("before_commit", 7),
    ("after_commit", 5),
    ("before_spawn", 2),
    ("after_spawn", 2),
    ("before_outcome", 3),
)
"""Where each of a kind dies, and at which pass of that point."""


@dataclass
class Field:
    """All that takes part."""

    folder: Path
    cluster: Cluster
    senders: Senders
    postgres: Postgres
    redis: Redis
    chance: random.Random

    def prove(self) -> str:
        """Let it settle, end it in order, and check everything."""
        settled(self.cluster, self.senders, 120)
        self.cluster.stop()
        self.cluster.assert_whole()
        found = Proof(self.cluster, self.senders, self.folder / "runs").check(anybody=True)
        assert found["promised"] > 0 and found["runs"] > 0
        return counted(found)


@contextmanager
def field(folder: Path, chance: random.Random) -> Iterator[Field]:
    with ExitStack() as stack:
        healthy = stack.enter_context(healthy_target())
        database = stack.enter_context(postgres(folder / "postgres"))
        broker = stack.enter_context(redis(folder / "redis"))
        cluster = stack.enter_context(Cluster(folder, database, broker, scale_policy(folder, healthy)))
        pair = stack.enter_context(pair_for(folder, cluster))
        senders = Senders(cluster, pair)
        stack.callback(senders.close)
        yield Field(folder, cluster, senders, database, broker, chance)


def causes(chance: random.Random, numbers: Iterator[int], count: int) -> list[dict[str, Any]]:
    """So many alerts of one instance, never seen before."""
    instance = f"i{next(numbers)}"
    return [alert(name, instance=instance) for name in sorted({chance.choice(KINDS) for _ in range(count)})]


# ---- faults ---------------------------------------------------------------------------------------------------------


def each_is_killed(stage: Field) -> None:
    for member in stage.cluster.members:
        stage.cluster.kill(member)
        member.start()


def each_dies_at_its_points(stage: Field) -> None:
    """Remediators and workers at the same time, one of each kind after the other: another one always lives."""

    def one_by_one(members: Sequence[Remediator], points: Sequence[tuple[str, int]]) -> None:
        for (point, after), member in zip(points, itertools.cycle(members)):
            stage.cluster.kill(member)
            stage.cluster.dies(member, point, after)
            member.start()

    work = [
        lambda: one_by_one(stage.cluster.remediators, REMEDIATOR_POINTS),
        lambda: one_by_one(stage.cluster.workers, WORKER_POINTS),
    ]
    errors: list[BaseException] = []

    def run(part: Callable[[], None]) -> None:
        try:
            part()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(part,)) for part in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def the_database_is_killed(stage: Field) -> None:
    stage.postgres.kill()
    stage.postgres.again()
    wait_until(lambda: all(one.ready() for one in stage.cluster.remediators), 30, "ready again")


def the_broker_is_flushed_and_killed(stage: Field) -> None:
    stage.redis.flush()
    stage.redis.kill()
    before = len(stage.cluster.trail())
    stage.redis.again()
    stage.cluster.await_event("action_started", 90, after=before)


def each_is_frozen_beyond_its_lease(stage: Field) -> None:
    """SIGSTOP in the middle of whatever it does, until its lease is over and others have gone on."""
    for member in stage.cluster.members:
        stage.cluster.freeze(member)
        before = len(stage.cluster.trail())
        stage.cluster.await_event(
            "action_started", 90, after=before
        )  # all four places may be taken by what was cut off
        member.thaw()


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_everything_dies_in_turn_and_each_cause_is_acted_on_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = seed(20261121)
    with field(tmp_path, chance) as stage:
        senders, numbers = stage.senders, itertools.count(1)

        def load() -> None:
            alerts = causes(chance, numbers, 2)
            if chance.random() < 0.5:
                senders.by_alertmanager(alerts)
                return
            senders.directly(alerts, chance)
            if chance.random() < 0.3:
                senders.directly(alerts, chance)

        with Background(load, every=0.08):
            each_is_killed(stage)
            each_dies_at_its_points(stage)
            the_database_is_killed(stage)
            the_broker_is_flushed_and_killed(stage)
            each_is_frozen_beyond_its_lease(stage)
        found = stage.prove()
    with capsys.disabled():
        print(f"\n{found}")


# ---- ten thousand ---------------------------------------------------------------------------------------------------


def some_fault(stage: Field) -> str:
    """One fault at random; what it was."""
    chance, cluster = stage.chance, stage.cluster
    member = chance.choice(cluster.members)
    number = chance.random()
    if number < 0.35:
        cluster.kill(member)
        stage.senders.over.wait(chance.choice((0.0, LEASE + 1)))
        member.start()
        return f"{member.folder.name} killed"
    if number < 0.65:
        points = REMEDIATOR_POINTS if member in cluster.remediators else WORKER_POINTS
        point, after = chance.choice(points)
        cluster.kill(member)
        cluster.dies(member, point, after + chance.randrange(20), 180)
        member.start()
        return f"{member.folder.name} died at {point}"
    if number < 0.85:
        if chance.random() < 0.7:
            cluster.freeze(member)
        else:
            cluster.harmed.add(member.process.pid)
            member.freeze()
        stage.senders.over.wait(chance.uniform(0, LEASE))
        member.thaw()
        return f"{member.folder.name} frozen"
    if number < 0.93:
        stage.postgres.kill() if chance.random() < 0.7 else stage.postgres.stop()
        stage.senders.over.wait(chance.choice((0.0, LEASE + 1)))
        stage.postgres.again()
        return "PostgreSQL restarted"
    stage.redis.flush()
    if chance.random() < 0.7:
        stage.redis.kill()
        stage.senders.over.wait(chance.choice((0.0, LEASE + 1)))
        stage.redis.again()
    return "Redis flushed"


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_ten_thousand_alerts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2,000 through the pair of Alertmanagers, 8,000 delivered as one would; faults at random until all were sent."""
    chance = seed(20261122)
    total, ahead = 10_000, 400
    faults: list[str] = []
    with field(tmp_path, chance) as stage:
        senders, numbers, cluster = stage.senders, itertools.count(1), stage.cluster
        sent = threading.Event()

        def load() -> None:
            if len(senders.causes) >= total:
                sent.set()
                sent.wait()
                senders.over.wait(0.2)
                return
            begun = {e["fingerprint"] for e in cluster.seen() if e["kind"] == "action_started"}
            if len(senders.causes) - len(begun) > ahead:
                senders.over.wait(0.1)
                return
            for _ in range(20):
                alerts = causes(chance, numbers, 3)
                if chance.random() < 0.2:
                    senders.by_alertmanager(alerts)
                    continue
                senders.directly(alerts, chance)
                if chance.random() < 0.2:
                    senders.directly(alerts, chance)

        with Background(load):
            while not sent.is_set():
                faults.append(some_fault(stage))
                with capsys.disabled():
                    print(f"\n{len(senders.causes)} causes; {faults[-1]}", end="", flush=True)
        found = stage.prove()
    with capsys.disabled():
        print(f"\n{len(faults)} faults; {found}")
