"""Safety rule 7: a silence never hides a resolve. Against a real Alertmanager; five minutes are two seconds here."""

from __future__ import annotations

import time
from pathlib import Path

from tests.acceptance.service import QUICK, Autoheal, policy, rule
from tests.servers import alertmanager, wait_until

HIDDEN = "TcpEndpointDownFast"
SOON = ("--set=autoheal.engine.acks:GONE_FOR=2", "--set=autoheal.engine.acks:EVERY=0.5")


def test_a_resolve_behind_our_silence_is_told_and_the_silence_ends(tmp_path: Path) -> None:
    rules = policy(rule("note", HIDDEN, {"action": {"command": ["true"]}}))
    with Autoheal(tmp_path / "autoheal", rules, options=(*QUICK, *SOON)) as service:
        with alertmanager(tmp_path / "am", f"{service.url}/alert") as one:
            service.env["ALERTMANAGER_URL"] = one.url
            service.start()
            one.fire(alertname=HIDDEN, service="crm-api")
            service.await_event("action_ok")
            body = {"labels": {"alertname": HIDDEN}, "duration": "2h"}
            acked = service.post("/ack", body)
            assert acked.status_code == 200, acked.text
            silence_id = acked.json()["silence_id"]
            wait_until(lambda: one.alerts()[0]["status"]["silencedBy"] == [silence_id], 20, "the silence at work")
            time.sleep(1.5)  # the watch looks at least once while the alert is hidden, or it could not miss it
            one.resolve(alertname=HIDDEN, service="crm-api")
            told = service.await_event("decision_skip", 30, reason="resolved")
            received = [e for e in service.events(kind="webhook_received") if e["id"] < told["id"]][-1]
            assert received["source"] == "silence_watch"
            ended = service.await_event("ack_ended", 30, silence_id=silence_id)
            assert ended["reason"] == "resolved"
            assert ended["ts"] - told["ts"] >= 1.5
            assert [s["status"]["state"] for s in one.silences()] == ["expired"]
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
            acked = service.post("/ack", {"labels": {"alertname": HIDDEN}, "duration": "5s"})
            assert acked.status_code == 200, acked.text
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
