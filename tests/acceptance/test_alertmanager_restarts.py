"""Alertmanager restarts and has lost its alerts: nothing counts as resolved before they had time to come again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.acceptance.service import QUICK, Autoheal, policy, rule
from tests.servers import Alertmanager, alertmanager, wait_until

DOWN = "TcpEndpointDownFast"
RESOLVED = {"within": "6s", "every": "200ms", "resolved": True}
SOON = (
    "--set=autoheal.engine.acks:GONE_FOR=1",
    "--set=autoheal.engine.acks:EVERY=0.2",
    "--set=autoheal.engine.verifier:LATER=0.2",
)
NEVER = "--set=autoheal.clients.alertmanager:SETTLED=3600"
LATELY = "--set=autoheal.clients.alertmanager:SETTLED=1"


@contextmanager
def town(tmp_path: Path, rules: dict[str, Any], settled: str) -> Iterator[tuple[Autoheal, Alertmanager]]:
    with Autoheal(tmp_path / "autoheal", rules, options=(*QUICK, *SOON, settled)) as service:
        with alertmanager(tmp_path / "am", f"{service.url}/alert") as one:
            service.env["ALERTMANAGER_URL"] = one.url
            service.start()
            yield service, one
            service.stop()
        service.assert_whole()


def restart(one: Alertmanager) -> None:
    """In an orderly way, so that it keeps its silences."""
    one.process.terminate()
    one.again()
    assert one.alerts() == []


def verified() -> dict[str, Any]:
    return policy(rule("note", DOWN, {"action": {"command": ["true"]}, "verify": RESOLVED}))


def test_nothing_is_verified_by_an_empty_memory(tmp_path: Path) -> None:
    with town(tmp_path, verified(), NEVER) as (service, one):
        one.fire(alertname=DOWN)
        ran = service.await_event("action_ok")
        restart(one)
        told = service.await_event("verify_inconclusive", remediation_id=ran["remediation_id"])
        assert told["detail"] == "Alertmanager restarted lately"
        assert "verify_ok" not in service.kinds()
        one.fire(alertname=DOWN)
        failed = service.await_event("verify_fail")
        assert failed["detail"] == "still firing"


def test_what_stays_away_after_that_time_is_resolved(tmp_path: Path) -> None:
    with town(tmp_path, verified(), LATELY) as (service, one):
        one.fire(alertname=DOWN)
        service.await_event("action_ok")
        restart(one)
        service.await_event("verify_ok")


def test_neither_a_resolve_is_told_nor_a_silence_ended_by_an_empty_memory(tmp_path: Path) -> None:
    """Another silence, whose end is told, shows that the watch has looked since."""
    with town(tmp_path, policy(), NEVER) as (service, one):
        one.fire(alertname=DOWN)
        service.await_event("webhook_received")
        silence_id = ack(service, DOWN, "2h")
        wait_until(lambda: one.alerts()[0]["status"]["silencedBy"] == [silence_id], 20, "the silence at work")
        first = ack(service, "First", "2s")
        service.await_event("ack_ended", silence_id=first)
        restart(one)
        second = ack(service, "Second", "3s")
        service.await_event("ack_ended", silence_id=second)
        assert [e["silence_id"] for e in service.events(kind="ack_ended")] == [first, second]
        told = [one["status"] for e in service.events(kind="webhook_received") for one in e.get("seen", ())]
        assert told == ["firing"], "what the silence hides, and no resolve"
        assert {s["id"]: s["status"]["state"] for s in one.silences()}[silence_id] == "active"


def ack(service: Autoheal, alertname: str, duration: str) -> str:
    answer = service.post("/ack", {"labels": {"alertname": alertname}, "duration": duration})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["silence_id"])
