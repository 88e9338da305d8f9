"""`autoheal worker` with a real PostgreSQL and a real Redis; the test is the remediator beside it."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from autoheal.core.moves.intake import AlertsArrived
from autoheal.core.moves.people import SetMode
from autoheal.core.moves.service import PolicyLoaded
from autoheal.core.policy import Policy
from tests.databases import Redis, redis
from tests.needs import needs_module
from tests.servers import Process, free_port, wait_until
from tests.unit.core.make import alert

needs_module("celery", "scale")
needs_module("psycopg", "scale")

from autoheal import actions  # noqa: E402
from autoheal.app.assembly import Ground, lay  # noqa: E402
from autoheal.clients.broker import CeleryBell  # noqa: E402
from autoheal.config.policy_file import parse_policy  # noqa: E402
from autoheal.config.rules import Defaults  # noqa: E402
from autoheal.config.settings import Settings  # noqa: E402
from autoheal.engine.dispatch import Dispatcher  # noqa: E402

POLICY = """
version: 1
limits: {concurrent: 4}
rules:
  - name: here
    match: ['alertname="A"']
    opt_in: false
    cooldown_by: [instance]
    steps: [{action: {command: [touch, "FOLDER/{labels.instance}"]}}]
  - name: there
    match: ['alertname="B"']
    opt_in: false
    queue: "site-{labels.site}"
    steps:
      - action: {command: ["false"]}
      - action: {command: [touch, "FOLDER/{labels.instance}"]}
  - name: slow
    match: ['alertname="S"']
    opt_in: false
    cooldown_by: [instance]
    steps: [{action: {command: [sleep, "30"]}}]
"""


class Site:
    """A remediator's head and dispatcher in this process, workers in theirs."""

    def __init__(self, ground: Ground, server: Redis, folder: Path, env: dict[str, str], stack: ExitStack) -> None:
        self.ground, self.server, self.folder, self.env, self.stack = ground, server, folder, env, stack
        text = POLICY.replace("FOLDER", str(folder)).encode()
        policy = parse_policy(text, "policy.yaml", {}, actions.KINDS, Defaults())
        self.head = ground.head(Policy())
        self.bell = CeleryBell(server.url)
        self.dispatcher = Dispatcher(self.head, self.bell, ground.claims, ground.clock)
        self.head.start()
        stack.callback(self.head.stop)
        stack.callback(self.bell.close)
        self.head.listeners.append(self.dispatcher.listen)
        self.dispatcher.start()
        stack.callback(self.dispatcher.stop)
        self.play(PolicyLoaded(policy, "test"))
        self.play(SetMode(True, False, "test", "api", ""))

    def play(self, move: Any) -> Any:
        return self.head.submit(move).result(10)

    def fire(self, name: str, instance: str, **labels: str) -> None:
        [answer] = self.play(AlertsArrived([alert(name, instance, **labels)]))
        assert answer["result"] == "accepted", answer

    def worker(self, *words: str, ready: bool = True, **env: str) -> Worker:
        port = free_port()
        argv = [sys.executable, "-m", "autoheal", "worker", *words]
        log = self.folder / f"worker-{port}.log"
        process = Process(argv, log, {**self.env, "AUTOHEAL_WORKER_PORT": str(port), **env})
        found = Worker(self.stack.enter_context(process), f"http://127.0.0.1:{port}")
        if ready:
            process.until(lambda: found.get("/readyz").status_code == 200, 20, "the worker")
        return found

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = [line for _, line in self.ground.reader.lines_after(0, 10_000)]
        return [event for event in map(orjson.loads, lines) if event["kind"] == kind]

    def until(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        def enough() -> list[dict[str, Any]]:
            self.dispatcher.sweep()
            found = self.events(kind)
            return found if len(found) >= count else []

        return wait_until(enough, 20, f"{count} × {kind}")


class Worker:
    def __init__(self, process: Process, url: str) -> None:
        self.process, self.url = process, url

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=5)

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").text, re.MULTILINE)
        assert found is not None, name
        return float(found[1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    with redis(tmp_path / "redis") as found:
        yield found


@pytest.fixture
def site_env(server: Redis, postgres_url: str) -> dict[str, str]:
    return {"DATABASE_URL": postgres_url, "REDIS_URL": server.url, "AUTOHEAL_DRAIN_SEC": "10"}


@pytest.fixture
def site(tmp_path: Path, site_env: dict[str, str], server: Redis) -> Iterator[Site]:
    with ExitStack() as stack:
        ground = lay(Settings.from_env(site_env))
        stack.callback(ground.close)
        yield Site(ground, server, tmp_path, site_env, stack)


def test_a_worker_acts_in_its_queue_and_goes_in_order(site: Site) -> None:
    worker = site.worker()
    site.fire("A", "one")
    [started] = site.until("action_started")
    site.until("action_ok")
    assert (site.folder / "one").exists()
    assert started["instance"] in [p.instance for p in site.ground.claims.processes()]
    assert worker.metric('autoheal_actions_total{alertname="A",result="executed"}') == 1
    assert worker.metric("autoheal_queue_wait_seconds_count") == 1
    assert worker.metric("autoheal_queue_up") == 1
    wait_until(lambda: worker.metric('autoheal_workers{queue="autoheal"}') == 1, 15, "the first sweep's look")
    assert worker.get("/healthz").status_code == 200 and worker.get("/nothing").status_code == 404
    assert worker.process.terminate() == 0
    [stopped] = site.events("stopped")
    assert stopped["instance"] == started["instance"] and stopped["running"] == 0
    assert site.ground.claims.processes() == []


def test_the_next_step_is_rung_for_in_the_same_queue_by_whoever_saw_the_first_fail(site: Site) -> None:
    site.worker()
    site.worker("--queue", "site-eu", "--queue", "site-us", "--concurrency", "1")
    site.fire("B", "two", site="eu")
    site.until("action_ok")
    assert (site.folder / "two").exists()
    assert site.dispatcher.rung == 1  # the second bell was the worker's
    assert len({event["instance"] for event in site.events("action_started")}) == 1


def test_lost_bells_are_rung_again(site: Site) -> None:
    site.fire("A", "three")
    wait_until(lambda: site.dispatcher.rung == 1, what="the bell")
    site.server.flush()
    site.worker()
    site.until("action_ok")
    assert site.dispatcher.rung_again <= 1  # the worker's own sweep may have been first


def test_a_broker_that_dies_and_comes_back(site: Site) -> None:
    worker = site.worker()
    site.server.kill()
    wait_until(lambda: worker.get("/readyz").status_code == 503, what="not ready")
    assert "broker" in worker.get("/readyz").text and worker.get("/healthz").status_code == 200
    site.fire("A", "four")
    wait_until(lambda: not site.dispatcher.healthy, what="the outage")
    site.server.again()
    site.until("action_ok")
    wait_until(lambda: worker.get("/readyz").status_code == 200, what="ready again")


def test_what_waits_for_its_turn_goes_back_when_the_worker_stops(site: Site) -> None:
    worker = site.worker("--concurrency", "6")
    for number in range(6):
        site.fire("S", f"s{number}")
    site.until("action_started", 4)
    worker.process.send(signal.SIGTERM)
    wait_until(lambda: worker.get("/readyz").text, what="an answer")
    assert worker.process.wait(20) == 0
    [stopped] = site.events("stopped")
    assert stopped["running"] == 4 and len(site.events("action_started")) == 4
    with site.head.reading() as (state, _):
        assert len(state.reserved) == 2  # another worker is rung for


def test_the_service_and_a_worker_find_each_other(site_env: dict[str, str], tmp_path: Path) -> None:
    """Nothing but what a user starts: the policy reaches the worker over the ledger, whoever came first."""
    (tmp_path / "policy.yaml").write_text(POLICY.replace("FOLDER", str(tmp_path)))
    url = f"http://127.0.0.1:{free_port()}"
    live = {
        "AUTOHEAL_ENABLED": "true",
        "AUTOHEAL_DRY_RUN": "false",
        "AUTOHEAL_POLICY_FILE": str(tmp_path / "policy.yaml"),
    }
    here = {"AUTOHEAL_PORT": url.rpartition(":")[2], "AUTOHEAL_DATA_DIR": str(tmp_path / "data")}
    autoheal = [sys.executable, "-m", "autoheal"]
    worker_url = f"http://127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        env = {**site_env, "AUTOHEAL_WORKER_PORT": worker_url.rpartition(":")[2]}
        worker = stack.enter_context(Process([*autoheal, "worker"], tmp_path / "worker.log", env))
        worker.until(lambda: httpx.get(f"{worker_url}/readyz").status_code == 200)
        service = stack.enter_context(
            Process([*autoheal, "serve"], tmp_path / "serve.log", {**site_env, **live, **here})
        )
        service.until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        fired = {"alerts": [{"status": "firing", "labels": {"alertname": "A", "instance": "whole"}, "annotations": {}}]}
        answer = httpx.post(f"{url}/alert", json=fired)
        assert answer.json()["results"][0]["result"] == "accepted", answer.text
        wait_until(lambda: (tmp_path / "whole").exists(), 15, "the action")
        shown = httpx.get(f"{url}/metrics").text
        assert 'autoheal_doorbells_total{result="rung"} 1.0' in shown and "autoheal_queue_up 1.0" in shown
        assert 'autoheal_actions_total{alertname="A",result="executed"} 1.0' in httpx.get(f"{worker_url}/metrics").text
        place = site_env["DATABASE_URL"].rpartition("@")[2]
        for process, word in ((service, "listening"), (worker, "working")):
            (line,) = [line for line in process.text().splitlines() if word in line]
            assert f"postgresql://{place}" in line, "it says which ledger it is on, and not as whom"
        assert service.terminate() == worker.terminate() == 0


@pytest.mark.parametrize("missing", ["DATABASE_URL", "REDIS_URL"])
def test_what_a_worker_needs_is_said(tmp_path: Path, missing: str) -> None:
    env = {"DATABASE_URL": "postgresql://u@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1/0"} | {missing: ""}
    with Process([sys.executable, "-m", "autoheal", "worker"], tmp_path / "log", env) as process:
        assert process.wait() in (1, 2)
        assert missing in process.text()
