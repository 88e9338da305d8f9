"""The re-fire hole: an alert resolves behind our silence and fires again, and Alertmanager says nothing for hours.

Against a real Alertmanager; five minutes are two seconds here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.service import QUICK, Autoheal, policy, rule
from tests.acceptance.test_silences import SOON, ack
from tests.servers import Alertmanager, alertmanager, receiver_config, wait_until

NAME = "TcpEndpointDownFast"
NOTE = rule("note", NAME, {"action": {"command": ["true"]}}, cooldown="30s")


@contextmanager
def after_a_silence(tmp_path: Path, receiver: str) -> Iterator[tuple[Autoheal, Alertmanager]]:
    """An alert that was told, acknowledged, has resolved behind the silence, and the silence has ended."""
    with Autoheal(tmp_path / "autoheal", policy(NOTE), options=(*QUICK, *SOON)) as service:
        config = receiver_config(f"{service.url}/alert")
        config["route"]["receiver"] = config["receivers"][0]["name"] = receiver
        with alertmanager(tmp_path / "am", "", config=config) as one:
            service.env["ALERTMANAGER_URL"] = one.url
            service.start()
            one.fire(alertname=NAME, service="crm-api")
            service.await_event("action_ok")
            silence_id = ack(service, NAME)
            wait_until(lambda: one.alerts()[0]["status"]["silencedBy"] == [silence_id], 20, "the silence at work")
            hidden = service.await_event("webhook_received", source="silence_watch")
            assert [(a["status"], a["behind"]) for a in hidden["seen"]] == [("firing", silence_id)]
            one.resolve(alertname=NAME, service="crm-api")
            assert service.await_event("ack_ended", silence_id=silence_id)["reason"] == "resolved"
            yield service, one
            service.stop()
        service.assert_whole()


def tellings(service: Autoheal) -> list[dict[str, Any]]:
    """Each alert that was told to fire though no silence hides it."""
    told = [event for event in service.events(kind="webhook_received") if event["source"] == "silence_watch"]
    return [a for event in told for a in event["seen"] if a["status"] == "firing" and "behind" not in a]


def looked(service: Autoheal) -> None:
    """The watch has looked since: the end of a silence for nobody, which it saw, shows that."""
    nobody = ack(service, "Nobody", "2s")
    service.await_event("ack_ended", 30, silence_id=nobody)


def test_what_fires_again_is_told_and_decided_once_though_alertmanager_says_nothing(tmp_path: Path) -> None:
    with after_a_silence(tmp_path, "auto.heal+1") as (service, one):  # in a webhook it is `auto\\.heal\\+1`
        sent = [e["id"] for e in service.events(kind="webhook_received") if e["source"] == "alertmanager"]
        one.fire(alertname=NAME, service="crm-api")
        wait_until(lambda: tellings(service), 30, "the telling", 0.1)
        [alert] = one.alerts()
        [told] = tellings(service)
        assert told["fingerprint"] == alert["fingerprint"] and told["annotations"] == {"autoheal": "true"}
        decided = service.await_event("decision_skip", reason="cooldown")
        assert decided["rule"] == "note", "the remediator has heard of it, too"
        looked(service)
        assert len(tellings(service)) == 1
        now = [e["id"] for e in service.events(kind="webhook_received") if e["source"] == "alertmanager"]
        assert now == sent, "Alertmanager has indeed said nothing of it"


@pytest.mark.soak
def test_one_that_fires_while_autoheal_is_dead_is_told_when_it_is_back_and_only_then(tmp_path: Path) -> None:
    with after_a_silence(tmp_path, "autoheal") as (service, one):
        service.kill()
        one.fire(alertname=NAME, service="crm-api")
        service.start()
        wait_until(lambda: tellings(service), 30, "the telling", 0.1)
        service.kill()
        service.start()
        looked(service)
        assert len(tellings(service)) == 1
        assert len(service.events(kind="decision_skip", rule="note")) >= 1


@pytest.mark.soak
@pytest.mark.parametrize("point", ["before_commit", pytest.param("after_commit", marks=pytest.mark.soak)])
def test_a_crash_at_the_telling_neither_loses_nor_repeats_it(tmp_path: Path, point: str) -> None:
    with after_a_silence(tmp_path, "autoheal") as (service, one):
        service.kill()
        one.fire(alertname=NAME, service="crm-api")
        service.launch(f"--crash={point}:5")  # the first four are the start's own
        service.process.wait(30)
        service.start()
        wait_until(lambda: tellings(service), 30, "the telling", 0.1)
        looked(service)
        assert len(tellings(service)) == 1
        [told] = [e for e in service.events(kind="webhook_received") if e.get("origin") == one.url and "seen" in e]
        before_the_restart = told["id"] < service.events(kind="started")[-1]["id"]
        assert before_the_restart == (point == "after_commit"), "it was the telling at which it crashed"
