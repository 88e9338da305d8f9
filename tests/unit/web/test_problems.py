"""What is answered while the ledger is away: what cannot be done, and never what the database said of itself."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from autoheal.engine.ports import StoreUnavailable
from autoheal.remediator import api
from autoheal.web import problems

SAID = 'connection to server at "db.internal", port 5432 failed: FATAL: database "heal" of user "u" is gone'


@pytest.fixture(autouse=True)
def first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "_unavailable", problems._Sparing())


def ask(app: FastAPI, method: str, path: str) -> httpx.Response:
    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.request(method, path)

    return asyncio.run(asked())


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    problems.install(app)

    @app.get("/audit")
    def read() -> None:
        raise StoreUnavailable(f"the ledger cannot be read: {SAID}")

    @app.post("/mode")
    def write() -> None:
        raise StoreUnavailable(f"the ledger cannot be written: {SAID}")

    return app


def test_a_read_says_that_it_cannot_be_read_and_a_change_that_nothing_was_done(app: FastAPI) -> None:
    with capture_logs() as logs:
        read, write = ask(app, "GET", "/audit"), ask(app, "POST", "/mode")
    assert [answer.status_code for answer in (read, write)] == [503, 503] and read.headers["Retry-After"]
    assert read.json()["detail"] == "the ledger cannot be read"
    assert write.json()["detail"] == "nothing was done: the ledger cannot be written"
    assert [entry["error"] for entry in logs] == [f"the ledger cannot be read: {SAID}"]  # once, however many ask


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (f"the ledger cannot be written: {SAID}", "the ledger cannot be written"),
        (f"the ledger cannot be opened: {SAID}", "the ledger cannot be written"),
        ("the policy in force (ab) cannot be read here, run one version: x", "the policy in force (ab) cannot be"),
    ],
)
def test_ready_tells_anybody_that_it_is_not_and_no_more(error: str, told: str) -> None:
    app = FastAPI()
    problems.install(app)
    service: Any = SimpleNamespace(stopping=False, head=SimpleNamespace(healthy=False, error=error))
    api._public(app, service)
    answer = ask(app, "GET", "/readyz")
    assert answer.status_code == 503 and answer.json()["detail"].startswith(told)
    assert "db.internal" not in answer.text and "heal" not in answer.text
