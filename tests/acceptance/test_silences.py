"""Safety rule 7: a silence never hides a resolve. Against a real Alertmanager; five minutes are two seconds here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.service import QUICK, Autoheal, policy, rule
from tests.servers import Alertmanager, alertmanager, wait_until

HIDDEN = "TcpEndpointDownFast"
SOON = (
    "--set=autoheal.engine.acks:GONE_FOR=2",
    "--set=autoheal.engine.acks:EVERY=0.5",
    "--set=autoheal.clients.alertmanager:SETTLED=0",
)


@contextmanager
def acknowledged(tmp_path: Path, *rules: dict[str, Any]) -> Iterator[tuple[Autoheal, Alertmanager, str]]:
    """An alert that fires behind a silence of ours, which the watch has seen; the silence's id."""
    with Autoheal(tmp_path / "autoheal", policy(*rules), options=(*QUICK, *SOON)) as service:
        with alertmanager(tmp_path / "am", f"{service.url}/alert") as one:
            service.env["ALERTMANAGER_URL"] = one.url
            service.start()
            one.fire(alertname=HIDDEN, service="crm-api")
            service.await_event("webhook_received")
            silence_id = ack(service, HIDDEN)
            wait_until(lambda: one.alerts()[0]["status"]["silencedBy"] == [silence_id], 20, "the silence at work")
            nobody = ack(service, "Nobody", "3s")
            service.await_event("ack_ended", 30, silence_id=nobody)  # by now the watch has looked several times
            assert [e["silence_id"] for e in service.events(kind="ack_ended")] == [nobody]
            yield service, one, silence_id
            service.stop()
        service.assert_whole()


def ack(service: Autoheal, alertname: str, duration: str = "2h") -> str:
    answer = service.post("/ack", {"labels": {"alertname": alertname}, "duration": duration})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["silence_id"])


def assert_told_and_ended(service: Autoheal, one: Alertmanager, silence_id: str) -> None:
    told = service.await_event("decision_skip", 30, reason="resolved")
    received = [e for e in service.events(kind="webhook_received") if e["id"] < told["id"]][-1]
    assert received["source"] == "silence_watch"
    ended = service.await_event("ack_ended", 30, silence_id=silence_id)
    assert ended["reason"] == "resolved"
    assert {s["id"]: s["status"]["state"] for s in one.silences()}[silence_id] == "expired"


NOTE = rule("note", HIDDEN, {"action": {"command": ["true"]}})
RULES = [pytest.param((), marks=pytest.mark.soak), (NOTE,)]


@pytest.mark.parametrize("rules", RULES, ids=["no rule", "a rule"])
def test_a_resolve_behind_our_silence_is_told_and_the_silence_ends(tmp_path: Path, rules: Any) -> None:
    with acknowledged(tmp_path, *rules) as (service, one, silence_id):
        one.resolve(alertname=HIDDEN, service="crm-api")
        assert_told_and_ended(service, one, silence_id)


@pytest.mark.parametrize("rules", RULES, ids=["no rule", "a rule"])
def test_a_resolve_behind_our_silence_while_autoheal_is_away_is_told_afterwards(tmp_path: Path, rules: Any) -> None:
    with acknowledged(tmp_path, *rules) as (service, one, silence_id):
        service.kill()
        one.resolve(alertname=HIDDEN, service="crm-api")
        wait_until(lambda: not one.alerts(), 20, "the resolve in Alertmanager")
        service.start()
        assert_told_and_ended(service, one, silence_id)


def test_a_silence_whose_record_a_crash_took_is_found_again(tmp_path: Path) -> None:
    with Autoheal(tmp_path / "autoheal", policy(), options=(*QUICK, *SOON)) as service:
        with alertmanager(tmp_path / "am", f"{service.url}/alert") as one:
            service.env["ALERTMANAGER_URL"] = one.url
            service.start("--crash=before_commit:4")  # the first three are the start's own
            with pytest.raises(Exception, match="disconnected|reset|closed"):
                ack(service, HIDDEN)
            service.process.wait()
            [silence] = one.silences()
            service.start()
            adopted = service.await_event("ack")
            assert (adopted["silence_id"], adopted["labels"]) == (silence["id"], {"alertname": HIDDEN})
            assert adopted["reason"] == "adopted"
            assert len(one.silences()) == 1
            service.stop()
        service.assert_whole()


def test_a_silence_whose_alert_fires_stays_and_its_alert_is_not_acted_on(tmp_path: Path) -> None:
    """Silenced before a start: cancelled with that reason, nothing runs; lifted: it is decided again and runs."""
    run = tmp_path / "ran"
    rules = policy(rule("touch", HIDDEN, {"action": {"command": ["touch", str(run)]}}))
    with Autoheal(tmp_path / "autoheal", rules, options=(*QUICK, *SOON)) as service:
        with alertmanager(tmp_path / "am", f"{service.url}/alert") as one:
            service.env["ALERTMANAGER_URL"] = one.url
            service.start()
            ack(service, HIDDEN, "5s")
            one.fire(alertname=HIDDEN)
            wait_until(lambda: one.alerts() and one.alerts()[0]["status"]["silencedBy"], 20, "the silence at work")
            found = one.alerts()[0]
            body = {k: found[k] for k in ("labels", "annotations", "startsAt", "fingerprint")} | {"status": "firing"}
            answer = service.post("/alert", {"version": "4", "externalURL": one.url, "alerts": [body]})
            assert answer.json()["results"][0]["result"] == "accepted"
            cancelled = service.await_event("cancelled", 20)
            assert cancelled["reason"] == "silenced"
            assert not run.exists()
            service.await_event("ack_ended", 30, reason="expired")
            service.await_event("action_ok", 30)
            assert run.exists()
            service.stop()
        service.assert_whole()
