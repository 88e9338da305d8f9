"""What a worker shows over HTTP, and the metrics of its queues."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from autoheal.app.watch import Watch
from autoheal.core.errors import Permanent, Temporary
from autoheal.core.policy import Policy
from autoheal.engine.claims import LocalClaims
from autoheal.engine.dispatch import Dispatcher
from autoheal.engine.head import HeadThread
from autoheal.engine.ports import Presence
from autoheal.remediator.queues import QueueMetrics
from autoheal.testing.clock import ManualClock
from autoheal.testing.memory_ledger import MemoryLedger


class Bell:
    gone = False

    def ring(self, queue: str, remediation_id: str) -> None:
        raise AssertionError("nothing is reserved")

    def depths(self, queues: Sequence[str]) -> dict[str, int]:
        if self.gone:
            raise Temporary("gone")
        return dict.fromkeys(queues, 2)


class Claims(LocalClaims):
    def processes(self) -> list[Presence]:
        worker = {"role": "worker", "queues": ["eu", "autoheal"]}
        return [
            Presence("one", 12.0, worker),
            Presence("two", -3.0, worker),
            Presence("three", 9.0, {"role": "remediator"}),
        ]


def test_it_shows_metrics_and_health_and_nothing_else() -> None:
    registry, why = CollectorRegistry(), [""]
    Counter("seen", "Something", registry=registry).inc()
    with Watch("127.0.0.1", free_port(), registry, lambda: why[0]) as watch:
        assert "seen_total 1.0" in httpx.get(f"{watch.url}/metrics").text
        asked = httpx.get(f"{watch.url}/metrics", headers={"Accept": "application/openmetrics-text"})
        assert asked.headers["content-type"].startswith("application/openmetrics-text")
        assert httpx.get(f"{watch.url}/readyz").json() == {"status": "ready"}
        why[0] = "the broker cannot be reached"
        answer = httpx.get(f"{watch.url}/readyz")
        assert (answer.status_code, answer.json()["detail"]) == (503, "the broker cannot be reached")
        assert httpx.get(f"{watch.url}/healthz").status_code == 200
        assert httpx.get(f"{watch.url}/secret").status_code == 404
        assert httpx.post(f"{watch.url}/metrics").status_code == 501
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{watch.url}/healthz")


def test_port_0_is_none_and_a_taken_one_is_told() -> None:
    with Watch("127.0.0.1", 0, CollectorRegistry(), str) as watch:
        assert watch.url == ""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Permanent, match="AUTOHEAL_WORKER_PORT"):
            Watch("127.0.0.1", taken.getsockname()[1], CollectorRegistry(), str)


def test_queue_metrics() -> None:
    clock, bell = ManualClock(), Bell()
    claims = Claims("me", clock)
    head = HeadThread(MemoryLedger(), clock, Policy())
    dispatcher = Dispatcher(head, bell, claims, clock)
    registry = CollectorRegistry()
    registry.register(QueueMetrics(dispatcher, claims))
    dispatcher.sweep()
    dispatcher.rung, dispatcher.rung_again = 7, 1
    shown = generate_latest(registry).decode().splitlines()
    for line in (
        "autoheal_queue_up 1.0",
        'autoheal_queue_depth{queue="eu"} 2.0',
        'autoheal_doorbells_total{result="rung"} 7.0',
        'autoheal_doorbells_total{result="again"} 1.0',
        'autoheal_workers{queue="eu"} 1.0',
        'autoheal_worker_lease_seconds{instance="one"} 12.0',
    ):
        assert line in shown
    assert not any('"two"' in line or '"three"' in line for line in shown)
    bell.gone = True
    clock.advance(10)
    dispatcher.sweep()
    shown = generate_latest(registry).decode().splitlines()
    assert "autoheal_queue_up 0.0" in shown
    assert not any(line.startswith("autoheal_queue_depth{") for line in shown)  # not known is not zero


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
