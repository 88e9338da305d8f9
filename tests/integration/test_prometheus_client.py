"""Looks: a query to Prometheus (fake and real), an HTTP target, a TCP target."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoheal.clients.probe import Prober
from autoheal.clients.prometheus import PrometheusClient
from autoheal.engine.ports import Look
from autoheal.testing.http_fake import Answer, FakeServer, Fault, Request, as_json
from autoheal.testing.prometheus import FakePrometheus
from tests.servers import prometheus


def look(kind: str, target: str, prometheus_url: str | None = None, timeout: float = 5.0) -> Look:
    async def inner() -> Look:
        client = PrometheusClient(prometheus_url) if prometheus_url else None
        prober = Prober(client)
        try:
            return await prober.look(kind, target, timeout)
        finally:
            await prober.aclose()
            if client is not None:
                await client.aclose()

    return asyncio.run(inner())


@pytest.fixture
def fake() -> Iterator[FakePrometheus]:
    with FakePrometheus() as server:
        yield server


# ---- promql ---------------------------------------------------------------------------------------------------------

UP = {"__name__": "up", "job": "crm"}


@pytest.mark.parametrize(
    ("samples", "answer", "detail"),
    [
        ([], "none", "no data"),
        ([(UP, "1")], "good", 'up{job="crm"} is 1'),
        ([(UP, "0")], "bad", 'up{job="crm"} is 0'),
        ([(UP, "1"), ({}, "0.5")], "good", 'up{job="crm"} is 1, and 1 more'),
        ([(UP, "1"), ({}, "0")], "bad", "the value is 0"),
        ([({}, "NaN")], "bad", "the value is NaN"),
        ([({}, "+Inf")], "good", "the value is +Inf"),
        ([({}, "-1")], "good", "the value is -1"),
        ([({}, "x")], "none", "Prometheus answered with something unexpected"),
    ],
)
def test_samples(fake: FakePrometheus, samples: list[tuple[dict[str, str], str]], answer: str, detail: str) -> None:
    fake.answers["q"] = samples
    found = look("promql", "q", fake.url)
    assert found.answer == answer and found.detail.startswith(detail)


@pytest.mark.parametrize("kind", ["refuse", "drop", "lose", "hang"])
def test_a_prometheus_that_fails_is_no_answer(fake: FakePrometheus, kind: str) -> None:
    fake.answers["q"] = [(UP, "1")]
    fake.faults.append(Fault(kind))  # type: ignore[arg-type]
    assert look("promql", "q", fake.url, timeout=0.4).answer == "none"


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b'{"status":"success"}', b'{"status":"success","data":{"resultType":"vector","result":[{}]}}'],
)
def test_nonsense_is_no_answer(fake: FakePrometheus, body: bytes) -> None:
    fake.faults.append(Fault("refuse", answer=Answer(200, body)))
    assert look("promql", "q", fake.url).answer == "none"


def test_no_prometheus() -> None:
    assert look("promql", "q").detail == "no Prometheus is configured (PROMETHEUS_URL)"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert look("promql", "q", f"http://127.0.0.1:{taken.getsockname()[1]}").answer == "none"


def test_a_password_is_sent_and_not_shown(fake: FakePrometheus) -> None:
    fake.faults.append(Fault("refuse", answer=as_json(500, {"status": "error", "error": "broken"})))
    found = look("promql", "q", fake.url.replace("://", "://ann:pw@"))
    assert found == Look("none", "Prometheus: broken")
    assert fake.requests[0].headers["Authorization"] == "Basic YW5uOnB3"


def test_the_real_one_agrees(tmp_path: Path) -> None:
    with prometheus(tmp_path, {}) as real:
        for query, answer in (
            ("vector(1)", "good"),
            ("vector(0)", "bad"),
            ("scalar(vector(2))", "good"),
            ("0 / 0", "bad"),
            ("up == 7", "none"),
            ("vector(1) or label_replace(vector(0), 'a', 'b', '', '')", "bad"),
            ("up[5m]", "none"),
            ("'text'", "none"),
            ("sum(", "none"),
        ):
            assert look("promql", query, real.url).answer == answer, query
        assert "parse error" in look("promql", "sum(", real.url).detail


# ---- http and tcp ---------------------------------------------------------------------------------------------------


class Target(FakeServer):
    status = 200

    def handle(self, request: Request) -> Answer:
        return Answer(self.status, b"x" * 100_000, {"Location": "/elsewhere"})


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as server:
        yield server


@pytest.mark.parametrize(
    ("status", "answer"), [(200, "good"), (204, "good"), (302, "good"), (400, "bad"), (404, "bad"), (503, "bad")]
)
def test_the_status_is_the_answer(target: Target, status: int, answer: str) -> None:
    target.status = status
    assert look("http", f"{target.url}/health") == Look(answer, f"answered {status}")  # type: ignore[arg-type]
    assert len(target.requests) == 1, "a redirect is not followed"


@pytest.mark.parametrize("kind", ["drop", "hang"])
def test_a_target_that_hangs_or_hangs_up_is_bad(target: Target, kind: str) -> None:
    target.faults.append(Fault(kind))  # type: ignore[arg-type]
    assert look("http", target.url, timeout=0.4).answer == "bad"


def test_nobody_listens_and_nobody_has_the_name() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert look("http", f"http://127.0.0.1:{port}/").answer == "bad"
        assert look("tcp", f"127.0.0.1:{port}").answer == "bad"
    assert look("http", "http://no-such-host.invalid/").answer == "bad"
    assert look("tcp", "no-such-host.invalid:80").answer == "bad"


@pytest.mark.parametrize(
    ("kind", "text"),
    [("http", "nonsense"), ("http", "ftp://x/"), ("http", "http://[::1"), ("tcp", "x"), ("tcp", ":80"), ("tcp", "x:0")],
)
def test_a_target_that_cannot_be_read_is_no_answer(kind: str, text: str) -> None:
    assert look(kind, text).answer == "none"


def test_a_connection_is_good(target: Target) -> None:
    assert look("tcp", target.url.removeprefix("http://")) == Look("good", "connected")


def test_a_listener_that_never_accepts_is_bad() -> None:
    """A full backlog: the kernel drops what comes."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fill = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(server.getsockname())
            fill.append(one)
        found = look("tcp", f"127.0.0.1:{server.getsockname()[1]}", timeout=0.4)
        for one in fill:
            one.close()
    assert found == Look("bad", "no connection within 0.4s")


def test_there_is_no_such_probe() -> None:
    assert look("icmp", "x") == Look("none", "there is no probe 'icmp'")
