"""The threader's own port: what Alertmanager is told, `/health`, `/metrics`, and that all of it is as described."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from autoheal.engine.ports import StoreUnavailable
from autoheal.threader import health, http, metrics
from autoheal.threader.metrics import ThreaderMetrics
from autoheal.web import problems
from autoheal.web.access import Access
from autoheal.web.protocol import BoundedProtocol
from tests.integration.threader.front import PUBLIC, Front, down, webhook
from tests.integration.threader.front import front as made
from tests.servers import wait_until

pytestmark = pytest.mark.anyio
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
TOKEN = "the-webhook-token"


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    async with made(tmp_path) as found:
        yield found


def away(*given: object) -> None:
    raise StoreUnavailable("the database cannot be reached: admin@db.internal")


# ---- alerts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/alert", "/webhook"])
async def test_what_is_answered_is_on_disk(front: Front, path: str) -> None:
    body = webhook(front.clock.now(), "firing", [down("web-1"), down("web-2")], {"alertname": "Down"})
    answer = await front.web.post(path, json=body)
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "received": 2, "conversations": 1})
    [stored] = front.threads.list(None, 10)
    assert stored.open


async def test_a_bad_alert_among_good_ones_is_counted_and_the_others_taken(front: Front) -> None:
    body = webhook(front.clock.now(), "firing", [down()], {"alertname": "Down"})
    body["alerts"].append({"status": "burning", "labels": {"a": "b"}})
    answer = await front.web.post("/alert", json=body)
    assert answer.json() == {"ok": True, "received": 1, "conversations": 1, "rejected": 1}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b"{}", "alerts"),
        (b'{"alerts":[]}', "alerts"),
        (b'{"version":"3","alerts":[{"labels":{"a":"b"}}]}', "version"),
        (b'{"alerts":[{"status":"burning","labels":{"a":"b"}}]}', "alerts[0].status"),
        (b"\xff", "body"),
    ],
)
async def test_what_is_unreadable_is_a_400_that_names_the_field(front: Front, body: bytes, field: str) -> None:
    answer = await front.web.post("/alert", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_nothing_is_taken_while_the_store_is_away_and_it_is_never_a_429(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = webhook(front.clock.now(), "firing", [down()], {"alertname": "Down"})
    with monkeypatch.context() as patch:
        patch.setattr(front.threads, "transaction", away)
        answer = await front.web.post("/alert", json=body)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "db.internal" not in answer.text
    front.threader.stopping = True
    assert (await front.web.post("/alert", json=body)).status_code == 503
    assert front.threads.list(None, 10) == []


async def test_who_has_gone_before_the_answer_is_not_written(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first holds the store; the second goes while it waits behind it."""
    begun, go, transaction = threading.Event(), threading.Event(), front.threads.transaction

    def slow() -> Any:
        begun.set()
        go.wait(20)
        return transaction()

    monkeypatch.setattr(front.threads, "transaction", slow)
    body = webhook(front.clock.now(), "firing", [down("web-1")], {"alertname": "Down"})
    first = asyncio.ensure_future(front.web.post("/alert", json=body))
    await asyncio.to_thread(begun.wait, 20)
    other = webhook(front.clock.now(), "firing", [down("web-2")], {"alertname": "Other"})
    said: list[Any] = [
        {"type": "http.request", "body": json.dumps(other).encode(), "more_body": False},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/alert",
        "query_string": b"",
        "headers": [(b"host", b"localhost:9009")],
    }

    async def receive() -> Any:
        return said.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await front.app(scope, receive, send)
    assert sent[0]["status"] == 400
    go.set()
    assert (await first).status_code == 200
    assert len(front.threads.list(None, 10)) == 1


async def test_metrics_do_not_wait_for_a_store_that_hangs(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PATIENCE", 0.05)
    go, asked = threading.Event(), []

    def slow() -> Any:
        asked.append(1)
        go.wait(20)
        raise KeyError

    front.metrics = ThreaderMetrics(CollectorRegistry(), slow, lambda: True, front.clock)
    front.threader.metrics = front.metrics
    app = http.build(front.threader, front.access)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as web:
        answers = await asyncio.gather(*(web.get("/metrics") for _ in range(5)))
        assert {answer.status_code for answer in answers} == {200}
        assert "threader_health_status 0.0" in answers[0].text and "threader_queue_depth" not in answers[0].text
        front.clock.advance(metrics.EVERY)
        assert (await web.get("/metrics")).status_code == 200
    assert len(asked) == 1
    go.set()


async def test_an_error_of_our_own_making_is_a_500_that_alertmanager_sends_again(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(delivery: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(front.intake, "hear", broken)
    body = webhook(front.clock.now(), "firing", [down()], {"alertname": "Down"})
    answer = await front.web.post("/alert", json=body)
    assert answer.status_code == 500 and "secret" not in answer.text


async def test_other_media_and_large_bodies_are_refused(front: Front) -> None:
    answer = await front.web.post("/alert", content=b"x", headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["field"]) == (415, "content-type")
    answer = await front.web.post("/alert", content=b"x" * (10 * 1024 * 1024 + 1))
    assert answer.status_code == 413


async def test_where_a_token_is_configured_only_who_has_it_is_heard(front: Front) -> None:
    access = Access(webhook_token=TOKEN, admin_token=None, loopback=False, insecure=False, public_url=PUBLIC)
    app = http.build(front.threader, access)
    body = webhook(front.clock.now(), "firing", [down()], {"alertname": "Down"})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as web:
        assert (await web.post("/alert", json=body)).status_code == 401
        assert (await web.post("/alert", json=body, headers={"authorization": "Bearer x"})).status_code == 401
        assert (await web.post("/alert", json=body, auth=("autoheal", TOKEN))).status_code == 200
        assert (await web.post("/webhook", json=body, headers={"authorization": f"Bearer {TOKEN}"})).status_code == 200
        assert (await web.get("/health")).status_code == 200


# ---- health ---------------------------------------------------------------------------------------------------------


async def test_health_tells_of_the_store_of_slack_and_of_what_waits(front: Front) -> None:
    await front.fire(down())
    front.clock.advance(30)
    front.state.since, front.state.notes = 1_600_000_000.0, {"#db": "archived"}
    answer = await front.web.get("/health")
    assert answer.json()["status"] == "degraded" and answer.json()["slack"]["state"] == "limited"
    assert answer.json()["slack"]["notes"] == {"#db": "archived"}
    front.state.notes = {}
    answer = await front.web.get("/health")
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "status": "ok",
        "version": "1.2.3",
        "slack": {
            "state": "ok", "detail": "", "since": 1_600_000_000.0, "team": "autoheal", "notes": {},
        },
        "queue": {"depth": 1, "posts": 1, "edits": 0, "oldest_seconds": 30.0, "unsaid": 0},
        "conversations": 1,
        "dropped": 0,
    }  # fmt: skip


@pytest.mark.parametrize("state", ["limited", "down"])
async def test_slack_away_is_degraded_and_ready_all_the_same(front: Front, state: str) -> None:
    front.state.state, front.state.detail = state, "Slack refuses our token: token_revoked"
    answer = await front.web.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["slack"]["detail"] == "Slack refuses our token: token_revoked"
    assert (await front.web.get("/health/ready")).json() == {"status": "ready"}
    assert (await front.fire(down())) and (await front.web.get("/health/live")).status_code == 200


async def test_the_store_away_is_unready_and_alive(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(front.threads, "figures", away)
        answer = await front.web.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "unready")
        ready = await front.web.get("/health/ready")
        assert (ready.status_code, ready.headers["retry-after"]) == (503, "5")
        assert "db.internal" not in answer.text + ready.text
        assert (await front.web.get("/health/live")).status_code == 200
    front.clock.advance(health.EVERY)
    assert (await front.web.get("/health/ready")).status_code == 200


async def test_a_store_that_can_only_be_read_is_unready(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(front.threads, "transaction", away)
        assert (await front.web.get("/health/ready")).status_code == 503
    front.clock.advance(health.EVERY)
    assert (await front.web.get("/health/ready")).status_code == 200


async def test_a_store_that_hangs_is_unready_in_bounded_time(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.05)
    figures, go, asked = front.threads.figures, threading.Event(), []

    def slow() -> object:
        asked.append(1)
        go.wait(20)
        return figures()

    with monkeypatch.context() as patch:
        patch.setattr(front.threads, "figures", slow)
        answers = await asyncio.gather(*(front.web.get("/health/ready") for _ in range(20)))
        assert {answer.status_code for answer in answers} == {503}
        assert (await front.web.get("/health/ready")).status_code == 503
        assert len(asked) == 1  # however many ask
        go.set()
        front.clock.advance(health.EVERY)
        monkeypatch.setattr(health, "PATIENCE", 20.0)
        assert (await front.web.get("/health/ready")).status_code == 200


async def test_stopping_is_unready(front: Front) -> None:
    front.threader.stopping = True
    assert (await front.web.get("/health/ready")).json()["detail"] == "stopping"
    assert (await front.web.get("/health")).status_code == 503
    assert (await front.web.get("/health/live")).status_code == 200


# ---- the rest -------------------------------------------------------------------------------------------------------


async def test_the_root_says_what_runs_here(front: Front) -> None:
    assert (await front.web.get("/")).json() == {
        "status": "ok", "service": "threader", "slack": "ok", "public_base_url": PUBLIC, "version": "1.2.3",
    }  # fmt: skip


async def test_requests_are_measured_by_route_and_nothing_that_is_asked_for_becomes_a_label(front: Front) -> None:
    await front.fire(down())
    await front.web.get("/health/live")
    for path in ("/secret-path", "/slack/ack?t=secret-token", "/health/x"):
        await front.web.get(path)
    await front.web.request("BREW", "/health")
    await front.web.post("/slack/interactive", content=b"x")
    text = (await front.web.get("/metrics")).text
    assert "secret" not in text and "BREW" not in text
    found = {
        (s.labels["method"], s.labels["route"], s.labels["status"]): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
        if s.name == "http_requests_total"
    }
    assert found == {
        ("POST", "/alert", "200"): 1,
        ("GET", "/health/live", "200"): 1,
        ("GET", "other", "404"): 2,
        ("GET", "/slack/ack", "403"): 1,
        ("other", "/health", "405"): 1,
        ("POST", "/slack/interactive", "401"): 1,
    }
    for name in ("threader_health_status 1.0", 'threader_queue_depth{kind="post"} 1.0', "threader_dropped_total 0.0",
                 "threader_conversations_open 1.0", "http_request_duration_seconds_count"):  # fmt: skip
        assert name in text


async def test_metrics_speak_openmetrics_too(front: Front) -> None:
    answer = await front.web.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_head_says_the_same_without_a_body(front: Front) -> None:
    for path in ("/", "/health", "/health/live", "/health/ready", "/metrics", "/slack/ack"):
        seen, shown = await front.web.head(path), await front.web.get(path)
        assert (seen.status_code, seen.content) == (shown.status_code, b""), path
        assert seen.headers["content-type"] == shown.headers["content-type"]


async def test_it_can_be_mounted_beside_other_routes(front: Front) -> None:
    app = FastAPI()
    problems.install(app)
    desk = http.mount(app, front.threader)
    key = await front.fire(down())
    click = front.slack.click(await front.message(key), "ack:2h")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as web:
        assert (await web.get("/health")).status_code == 200
        assert (await web.get(await front.link(key))).status_code == 200
        answer = await web.post("/slack/interactive", content=click.body, headers=click.headers)
        assert answer.status_code == 200
        await desk.finish()
        assert (await web.post("/alert", json={})).status_code == 404
    assert len(await front.silences()) == 1


@pytest.fixture
def live(tmp_path: Path) -> Iterator[str]:
    """The application on a port, as it is served."""
    opened, close, found = threading.Event(), threading.Event(), []

    async def life() -> None:
        async with made(tmp_path) as front:
            listening = socket.create_server(("127.0.0.1", 0))
            found.append(f"http://127.0.0.1:{listening.getsockname()[1]}")
            config = uvicorn.Config(front.app, http=BoundedProtocol, lifespan="off", log_config=None, ws="none")
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            opened.set()
            await asyncio.to_thread(close.wait)
            server.should_exit = True
            await serving

    thread = threading.Thread(target=lambda: asyncio.run(life()))
    thread.start()
    try:
        assert opened.wait(20)
        wait_until(lambda: httpx.get(f"{found[0]}/health/live").status_code == 200)
        yield found[0]
    finally:
        close.set()
        thread.join(20)


def test_every_answer_is_as_described(live: str) -> None:
    api: Any = schemathesis.openapi.from_url(f"{live}/openapi.json")
    answered: dict[tuple[str, str], set[int]] = {}
    for result in api.get_all_operations():
        operation = result.ok()

        @settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        def ask(case: schemathesis.Case) -> None:
            answer = case.call_and_validate(checks=CHECKS, timeout=30)
            answered.setdefault((case.operation.method.upper(), case.path), set()).add(answer.status_code)

        try:
            ask()
        except Unsatisfiable:
            pass
    assert {("POST", "/alert"), ("POST", "/slack/interactive"), ("GET", "/slack/ack"), ("GET", "/health")} <= set(
        answered
    )
    assert {401} == answered[("POST", "/slack/interactive")]
    assert {403} == answered[("GET", "/slack/ack")]
