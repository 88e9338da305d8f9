"""PostgreSQL or Redis gone: what is refused, what goes on, and that all of it comes back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.service import alert
from tests.crash.storm import healthy_target
from tests.databases import Postgres, Redis, postgres, redis
from tests.scale.cluster import LEASE, Cluster, Senders, seed
from tests.scale.proof import Proof, scale_policy, settled
from tests.servers import wait_until


@contextmanager
def stage(folder: Path, **options: Any) -> Iterator[tuple[Cluster, Senders, Postgres, Redis]]:
    with ExitStack() as stack:
        healthy = stack.enter_context(healthy_target())
        database = stack.enter_context(postgres(folder / "postgres"))
        broker = stack.enter_context(redis(folder / "redis"))
        cluster = stack.enter_context(Cluster(folder, database, broker, scale_policy(folder, healthy), **options))
        senders = Senders(cluster)
        stack.callback(senders.close)
        yield cluster, senders, database, broker
        settled(cluster, senders)
        cluster.stop()
        cluster.assert_whole()
        Proof(cluster, senders, folder / "runs").check()


def runs(folder: Path) -> int:
    file = folder / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.parametrize("orderly", [pytest.param(True, marks=pytest.mark.soak), False], ids=["stopped", "killed"])
def test_the_database_is_gone(tmp_path: Path, orderly: bool) -> None:
    chance = seed(11)
    with stage(tmp_path) as (cluster, senders, database, _):
        assert senders.directly([alert("Plain", instance="before")], chance)
        cluster.await_event("action_ok", alertname="Plain")
        body = {"version": "4", "alerts": [alert("Plain", instance="meanwhile")]}
        database.stop() if orderly else database.kill()
        for one in cluster.remediators:
            for _ in range(2):
                answer = one.post("/alert", body)
                assert answer.status_code == 503, answer.text
                assert answer.headers["Retry-After"]
                assert answer.headers["Content-Type"].startswith("application/problem+json")
            wait_until(lambda one=one: one.get("/readyz").status_code == 503, 10, "ready red")
            assert one.get("/healthz").status_code == 200
        assert runs(tmp_path) == 1
        database.again()
        for one in cluster.remediators:
            wait_until(one.ready, 30, "ready by itself")
        assert senders.directly(body["alerts"], chance)
        cluster.await_event("action_ok", fingerprint=next(reversed(senders.causes)))
        assert all(member.process.alive for member in cluster.members)


@pytest.mark.soak
def test_the_database_is_gone_for_longer_than_a_lease_while_an_action_runs(tmp_path: Path) -> None:
    """Who lives and was cut off together with all others is not given up: its word is waited for."""
    chance = seed(12)
    with stage(tmp_path) as (cluster, senders, database, _):
        assert senders.directly([alert("Waiting", instance="a")], chance)
        cluster.await_event("action_started", alertname="Waiting")
        wait_until(lambda: runs(tmp_path) == 1, what="it runs")
        database.kill()
        senders.over.wait(LEASE + 1)
        database.again()
        for one in cluster.remediators:
            wait_until(one.ready, 30, "ready by itself")
        senders.over.wait(2 * LEASE)
        (tmp_path / "gate").touch()
        cluster.await_event("action_ok", alertname="Waiting")
    assert [e for e in cluster.trail() if e["kind"] in ("action_unknown", "escalated")] == []


def test_the_broker_is_gone_and_actions_wait(tmp_path: Path) -> None:
    chance = seed(13)
    with stage(tmp_path, env={"AUTOHEAL_BROKER_DOWN": "wait"}) as (cluster, senders, _, broker):
        broker.kill()
        for number in range(20):
            assert senders.directly([alert("Plain", instance=f"i{number}")], chance)
        assert senders.refused == senders.unanswered == 0
        assert all(one.ready() for one in cluster.remediators)
        assert {result["result"] for result in senders.promised} == {"accepted"}
        assert runs(tmp_path) == 0
        broker.again()
        wait_until(lambda: runs(tmp_path) == 20, 60, "all of them run")
    workers = {worker.process.pid for worker in cluster.workers}
    assert {int(e["instance"].split(":")[1]) for e in cluster.trail() if e["kind"] == "action_started"} <= workers


@pytest.mark.soak
def test_the_broker_is_gone_and_remediators_act_themselves(tmp_path: Path) -> None:
    chance = seed(14)
    with stage(tmp_path, workers=1, env={"AUTOHEAL_BROKER_DOWN": "run"}) as (_, senders, _, broker):
        broker.kill()
        for number in range(20):
            assert senders.directly([alert("Plain", instance=f"i{number}")], chance)
        assert senders.refused == senders.unanswered == 0
        wait_until(lambda: runs(tmp_path) == 20, 60, "all of them run")
        broker.again()


def test_messages_are_lost_and_found(tmp_path: Path) -> None:
    """The queue is emptied while no worker takes from it: what was reserved is rung for again."""
    chance = seed(15)
    with stage(tmp_path, workers=1) as (cluster, senders, _, broker):
        [worker] = cluster.workers
        worker.freeze()
        assert senders.directly([alert("Plain", instance=f"i{number}") for number in range(5)], chance)
        broker.flush()
        worker.thaw()
        wait_until(lambda: runs(tmp_path) == 5, 60, "all of them run")
