"""A busy Autoheal for the dashboards: one on its own and one with a worker, and everything that can happen to them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.service import QUICK, ROOT, Autoheal, alert, policy, rule
from tests.databases import redis
from tests.servers import Alertmanager, Process, Prometheus, alertmanager, free_port, prometheus, wait_until

BY = ["alertname", "instance"]
LOOKS = "--set=autoheal.engine.dispatch:LOOK=0.5"
"""For the launcher: who works is seen at once."""


def rules(url: str) -> dict[str, Any]:
    """One rule for each way that a remediation can go. `url` is one that answers 200."""
    verified = {"verify": {"within": "20s", "every": "200ms", "http": url}}
    sick = {"verify": {"within": "1s", "every": "200ms", "tcp": "127.0.0.1:1"}}
    return policy(
        rule("heals", "Heals", _run("true") | verified, cooldown_by=BY),
        rule("stays-sick", "StaysSick", _run("true") | sick, cooldown_by=BY, on_exhausted={"escalate": "critical"}),
        rule("fails", "Fails", _run("false"), cooldown_by=BY),
        rule("errs", "Errs", _run("/no/such/program"), cooldown_by=BY),
        rule("breaks", "Breaks", _run("sleep", "4") | {"timeout": "5s"}, cooldown_by=BY),
        rule("asks", "Asks", _run("true"), cooldown_by=BY, approval={"timeout": "15m"}),
        limits={"concurrent": 8, "blast_radius": {"actions": 1000, "per": "10m"}},
    )


def _run(*words: str) -> dict[str, Any]:
    return {"action": {"command": list(words)}}


@dataclass
class Site:
    """What runs."""

    alone: Autoheal
    shared: Autoheal
    worker: str
    """Where its metrics are."""
    alertmanager: Alertmanager
    prometheus: Prometheus

    def scraped(self, promql: str) -> bool:
        return bool(self.prometheus.query(promql))


@contextmanager
def site(folder: Path, rule_files: list[Path], database: str) -> Iterator[Site]:
    """Everything started and scraped at least once, and nothing has happened yet. `database`: a PostgreSQL with the
    ledger's schema."""
    with ExitStack() as stack:
        alone = stack.enter_context(_autoheal(folder / "alone", {"AUTOHEAL_HEARTBEAT_SEC": "0.1"}))
        neighbour = stack.enter_context(alertmanager(folder / "alertmanager", f"{alone.url}/alert"))
        alone.env["ALERTMANAGER_URL"] = neighbour.url
        alone.launch()
        broker = stack.enter_context(redis(folder / "redis"))
        env = {"DATABASE_URL": database, "REDIS_URL": broker.url, "AUTOHEAL_HEARTBEAT_SEC": "0.5"}
        shared = stack.enter_context(_autoheal(folder / "shared", env))
        shared.launch()
        worker = f"127.0.0.1:{free_port()}"
        stack.enter_context(_working(folder, env, worker))
        targets = {"autoheal": [f"127.0.0.1:{alone.port}", f"127.0.0.1:{shared.port}"], "autoheal-worker": [worker]}
        watcher = stack.enter_context(prometheus(folder / "prometheus", _scrapes(targets, rule_files)))
        found = Site(alone, shared, f"http://{worker}", neighbour, watcher)
        wait_until(lambda: found.scraped("count(up == 1) == 3"), 30, "three targets that answer")
        yield found


def _autoheal(folder: Path, env: Mapping[str, str]) -> Autoheal:
    one = Autoheal(folder, policy(), env=env, options=(*QUICK, LOOKS))
    one.write_policy(rules(f"{one.url}/healthz"))
    return one


def _working(folder: Path, env: Mapping[str, str], address: str) -> Process:
    argv = [sys.executable, "-m", "tests.crash.launcher", *QUICK, LOOKS, "--worker"]
    more = {"AUTOHEAL_WORKER_PORT": address.rpartition(":")[2], "PYTHONPATH": str(ROOT / "src")}
    return Process(argv, folder / "worker.log", {**env, **more}, ROOT)


def _scrapes(targets: Mapping[str, list[str]], rule_files: list[Path]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(file) for file in rule_files],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": addresses}]} for job, addresses in targets.items()
        ],
    }


# ---- what happens ---------------------------------------------------------------------------------------------------


def happen(on: Site) -> None:
    """Everything, each at least once."""
    _break_in_the_middle(on)
    _at_the_worker(on.shared)
    _live(on.alone)
    _by_people(on)
    _at_the_door(on.alone)


def _break_in_the_middle(on: Site) -> None:
    beats = 'autoheal_event_total{kind="heartbeat", instance="127.0.0.1:%d"} > 15'
    wait_until(lambda: on.scraped(beats % on.alone.port), 15, "some heartbeats")
    on.alone.send(alert("Breaks", instance="a"))
    on.alone.await_event("action_started", alertname="Breaks")
    on.alone.kill()
    on.alone.start()
    on.alone.await_event("action_unknown", alertname="Breaks")


def _at_the_worker(service: Autoheal) -> None:
    service.send(alert("Heals", instance="far"), alert("Fails", instance="far"))


def _live(service: Autoheal) -> None:
    """Succeeding, failing, in error, without effect; too soon; nobody's."""
    names = ("Heals", "StaysSick", "Fails", "Errs")
    service.send(*(alert(name, instance="a") for name in names), alert("Nobodys"))
    for kind, name in (("verify_ok", "Heals"), ("verify_fail", "StaysSick")):
        service.await_event(kind, alertname=name)
    service.send(alert("Heals", instance="a"))
    service.await_event("decision_skip", alertname="Heals", reason="cooldown")


def _by_people(on: Site) -> None:
    """Held and resolved, held and waiting; a dry run; a mark; a silence."""
    service = on.alone
    waiting = [alert("Asks", instance=name) for name in "ab"]
    service.send(*waiting)
    service.send(waiting[0] | {"status": "resolved"})
    _post(service, "/mode", {"enabled": True, "dry_run": True})
    service.send(alert("Heals", instance="dry"))
    _post(service, "/mode", {"enabled": True, "dry_run": False})
    healed = service.await_event("verify_ok", alertname="Heals")["remediation_id"]
    _post(service, f"/remediations/{healed}/mark", {"note": "it was fine"})
    _post(service, "/ack", {"labels": {"alertname": "Heals"}, "duration": "30m", "comment": "seen"})
    _post(service, "/policy/reload", None)


def _at_the_door(service: Autoheal) -> None:
    assert service.post("/alert", {"alerts": "none"}).status_code == 400
    service.await_event("webhook_rejected", 10)


def _post(service: Autoheal, path: str, body: Any) -> None:
    answer = service.post(path, body)
    assert answer.status_code == 200, f"{path}: {answer.text}"


@contextmanager
def reader(service: Autoheal) -> Iterator[None]:
    """Somebody reads the live stream."""
    over = threading.Event()

    def read() -> None:
        with httpx.stream("GET", f"{service.url}/events", timeout=30) as answer:
            for _ in answer.iter_lines():
                if over.is_set():
                    return

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(5)
