"""Processes that stand still at the worst moment, are given up, and wake: nothing runs twice, late word settles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.service import alert
from tests.crash.storm import healthy_target
from tests.databases import Postgres, Redis, postgres, redis
from tests.scale.cluster import LEASE, OPTIONS, Cluster, Senders, seed
from tests.scale.proof import Proof, scale_policy, settled
from tests.servers import wait_until


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, Redis]]:
    folder = tmp_path_factory.mktemp("servers")
    with postgres(folder) as database, redis(folder) as broker:
        yield database, broker


@contextmanager
def cluster_on(folder: Path, servers: tuple[Postgres, Redis], **options: Any) -> Iterator[tuple[Cluster, Senders]]:
    """Two remediators and two workers; on leaving, everything is proven."""
    database, broker = servers
    broker.flush()
    with ExitStack() as stack:
        healthy = stack.enter_context(healthy_target())
        cluster = stack.enter_context(Cluster(folder, database, broker, scale_policy(folder, healthy), **options))
        senders = Senders(cluster)
        stack.callback(senders.close)
        yield cluster, senders
        settled(cluster, senders)
        cluster.stop()
        cluster.assert_whole()
        Proof(cluster, senders, folder / "runs").check()


@pytest.mark.soak
def test_a_worker_is_stopped_in_the_middle_of_an_action_and_woken_after_it_was_given_up(
    tmp_path: Path, servers: tuple[Postgres, Redis]
) -> None:
    chance = seed(3)
    with cluster_on(tmp_path, servers) as (cluster, senders):
        assert senders.directly([alert("Waiting", instance="a"), alert("WaitingChecked", instance="b")], chance)
        plain = cluster.await_event("action_started", alertname="Waiting")
        checked = cluster.await_event("action_started", alertname="WaitingChecked")
        wait_until(lambda: len((tmp_path / "runs").read_text().splitlines()) == 2, what="both run")
        for worker in {cluster.owner(plain), cluster.owner(checked)}:
            cluster.freeze(worker)
        lost = cluster.await_event("action_unknown", remediation_id=plain["remediation_id"])
        assert (lost["reason"], lost["token"]) == ("interrupted", plain["token"])
        cluster.await_event("escalated", remediation_id=plain["remediation_id"])
        healed = cluster.await_event("verify_ok", remediation_id=checked["remediation_id"])
        assert healed["reason"] == "probe"
        (tmp_path / "gate").touch()
        for worker in cluster.workers:
            worker.thaw()
        late = cluster.await_event("action_ok", remediation_id=plain["remediation_id"])
        assert late["token"] == plain["token"]
        cluster.await_event("settled", remediation_id=plain["remediation_id"], reason="late_outcome")
    kinds = [e["kind"] for e in cluster.trail() if e.get("remediation_id") == checked["remediation_id"]]
    assert kinds == ["decision_act", "action_started", "verify_ok"]


@pytest.mark.soak
def test_a_worker_that_has_just_come_is_not_taken_for_gone(tmp_path: Path, servers: tuple[Postgres, Redis]) -> None:
    """It acts before anybody has heard of it."""
    chance, rare = seed(6), 1.9
    options = [option for option in OPTIONS if "RENEW" not in option]
    options.append(f"--set=autoheal.engine.presence:RENEW={rare}")
    with cluster_on(tmp_path, servers, workers=1, options=options) as (cluster, senders):
        [worker] = cluster.workers
        worker.stop()
        assert senders.directly([alert("Waiting", instance="a")], chance)
        senders.over.wait(LEASE)  # so that the remediators believe in what they see
        worker.start()
        cluster.await_event("action_started", alertname="Waiting")
        senders.over.wait(rare + LEASE)
        (tmp_path / "gate").touch()
        cluster.await_event("action_ok", alertname="Waiting")
    assert [e for e in cluster.trail() if e["kind"] in ("action_unknown", "escalated")] == []


@pytest.mark.parametrize("point", ["before_spawn", pytest.param("after_commit", marks=pytest.mark.soak)])
def test_a_worker_that_was_let_start_and_stood_still_too_long_does_not_begin(
    tmp_path: Path, servers: tuple[Postgres, Redis], point: str
) -> None:
    """It had leave, the window closed, it was given up as lost; woken it must not start, and the cause is not lost."""
    chance = seed(4)
    with cluster_on(tmp_path, servers, workers=1) as (cluster, senders):
        worker = cluster.workers[0]
        worker.stop()
        worker.launch(f"--freeze={point}:1" if point == "before_spawn" else f"--freeze={point}:2")
        cluster.harmed.add(worker.process.pid)
        assert senders.directly([alert("Plain", instance="a")], chance)
        wait_until(worker.frozen, 30, f"the worker stands at {point}")
        if point == "before_spawn":
            cluster.await_event("action_unknown", alertname="Plain")
            cluster.await_event("escalated", alertname="Plain")
            assert not (tmp_path / "runs").exists()
        worker.thaw()
        cluster.await_event("action_ok", alertname="Plain")
    if point == "before_spawn":
        trail = [event for event in cluster.trail() if event.get("remediation_id")]
        assert [event["kind"] for event in trail if event.get("not_started")] == ["cancelled"], trail


def test_who_holds_the_head_and_stands_still_is_thrown_out(tmp_path: Path, servers: tuple[Postgres, Redis]) -> None:
    """The others go on; woken, it has written nothing, reads anew and takes part again."""
    chance = seed(5)
    with cluster_on(tmp_path, servers) as (cluster, senders):
        frozen, other = cluster.remediators
        frozen.stop()
        frozen.launch("--freeze=before_commit:4")
        cluster.harmed.add(frozen.process.pid)
        wait_until(frozen.frozen, 30, "it stands while it holds the head")
        before = cluster.trail()[-1]["id"]
        results = wait_until(lambda: other.send(alert("Plain", instance="a")), 30, "the other decides")
        assert results[0]["result"] == "accepted"
        senders.causes[results[0]["fingerprint"]] = {}
        cluster.await_event("action_ok", after=before, alertname="Plain")
        frozen.thaw()
        wait_until(frozen.ready, 30, "it takes part again")
        wait_until(lambda: frozen.send(alert("Checked", instance="a")), 30)
        assert senders.directly([alert("Checked", instance="a")], chance)
