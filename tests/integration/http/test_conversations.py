"""With conversations in the same process: what becomes of alerts whose conversations cannot be written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from autoheal.engine.clock import SystemClock
from autoheal.store import connection as connections
from autoheal.testing.slack import FakeSlack
from autoheal.threader import intake as intakes
from tests.integration.http.live import Server, alert, is_problem, server
from tests.servers import wait_until


@pytest.fixture
def healing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(intakes, "PATIENCE", 0.5)
    monkeypatch.setattr(connections, "BUSY_SECONDS", 0.1)
    with FakeSlack(SystemClock().now) as slack:
        env = {
            "AUTOHEAL_ENABLED": "true",
            "AUTOHEAL_DRY_RUN": "false",
            "SLACK_BOT_TOKEN": slack.token,
            "SLACK_SIGNING_SECRET": slack.signing_secret,
            "SLACK_API_URL": slack.api_url,
        }
        with server(tmp_path, env) as found:
            yield found


def done(live: Server) -> list[str]:
    return [event["kind"] for event in live.events() if event["kind"].startswith("action_")]


def is_decided(live: Server) -> None:
    """The answer is a 503 that asks to be sent again, the remediation runs, and we are ready all the while."""
    answer = live.alert(alert("Restart", instance="a"))
    said = is_problem(answer, 503)
    assert said["detail"].startswith("decided; the conversations could not be written, send it again")
    assert answer.headers["retry-after"] == "5"
    wait_until(lambda: "action_ok" in done(live), what="the remediation")
    assert live.get("/readyz").status_code == 200


def test_while_the_conversations_are_locked_alerts_are_decided_once_and_asked_for_again(healing: Server) -> None:
    path = healing.service.settings.data_dir / "threads.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        is_decided(healing)
        assert healing.alert(alert("Restart", instance="a")).status_code == 503
        other.execute("ROLLBACK")
    assert healing.alert(alert("Restart", instance="a")).status_code == 200
    assert done(healing).count("action_ok") == 1
    assert healing.service.conversing is not None
    [stored] = healing.service.conversing.threads.list(True, 10)
    assert "Restart" in stored.data


def test_without_the_tables_of_the_conversations_alerts_are_decided(healing: Server) -> None:
    path = healing.service.settings.data_dir / "threads.db"
    with closing(sqlite3.connect(path, timeout=20)) as other:
        other.execute("DROP TABLE threads")
    is_decided(healing)


def test_an_error_of_our_own_making_does_not_keep_alerts_from_being_decided(healing: Server) -> None:
    async def broken(delivery: object) -> None:
        raise KeyError("secret")

    healing.service.remediator.heard = broken
    answer = healing.alert(alert("Restart", instance="a"))
    assert is_problem(answer, 500)["detail"].startswith("decided; the conversations could not be written")
    assert "secret" not in answer.text
    wait_until(lambda: "action_ok" in done(healing), what="the remediation")


def test_where_nothing_is_decided_the_answer_says_so(healing: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*given: object, **more: object) -> None:
        raise intakes.StoreUnavailable("the ledger cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr(healing.service.head, "play", away)
        said = is_problem(healing.alert(alert("Restart", instance="b")), 503)
    assert said["detail"].startswith("nothing was done")
