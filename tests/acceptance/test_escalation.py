"""What could not be healed is told: in every Alertmanager, until it is settled."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tests.acceptance.service import QUICK, Autoheal, alert, policy, rule
from tests.servers import Alertmanager, alertmanager_pair, wait_until


def escalations(one: Alertmanager) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = one.get("alerts", filter='alertname="AutohealEscalation"')
    return found


def settled(one: Alertmanager) -> bool:
    return not escalations(one)


def test_an_exhausted_ladder_stands_in_both_alertmanagers_until_it_is_settled(tmp_path: Path) -> None:
    steps = [{"action": {"command": ["false"]}}, {"action": {"command": ["sh", "-c", "echo no; exit 3"]}}]
    rules = policy(rule("ladder", "Down", *steps, on_exhausted={"escalate": "critical"}))
    with Autoheal(tmp_path / "autoheal", rules, options=QUICK) as service:
        with alertmanager_pair(tmp_path, f"{service.url}/alert") as pair:
            service.env["ALERTMANAGER_URL"] = ",".join(one.url for one in pair)
            service.start()
            [result] = service.send(alert("Down", instance="a"))
            service.await_event("escalated")
            name = str(result["remediation_id"])
            for one in pair:
                [told] = wait_until(partial(escalations, one), 20, "the escalation")
                assert told["labels"]["severity"] == "critical"
                assert told["labels"]["reason"] == "exhausted"
                assert told["labels"]["remediation_id"] == name
                assert told["annotations"]["autoheal_url"] == f"{service.url}/console?view=remediation&id={name}"
            failures = service.events(kind="action_fail")
            assert [(e["rc"], e.get("output")) for e in failures] == [(1, None), (3, "no\n")]
            heard = service.await_event("decision_skip", 20, alertname="AutohealEscalation")
            assert heard["reason"] == "not_allowlisted"
            service.stop()
            service.start()
            assert escalations(pair[0])
            answer = service.post(f"/remediations/{name}/settle", {"outcome": "failed", "note": "disk replaced"})
            assert answer.status_code == 200, answer.text
            for one in pair:
                wait_until(partial(settled, one), 20, "its end")
            service.stop()
        service.assert_whole()


def test_an_alertmanager_that_was_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    rules = policy(rule("ladder", "Down", {"action": {"command": ["false"]}}))
    soon = "--set=autoheal.engine.outbox:RETRY=0.5"
    service = Autoheal(tmp_path / "autoheal", rules, options=(*QUICK, soon))
    with service, alertmanager_pair(tmp_path, f"{service.url}/alert") as (here, away):
        service.env["ALERTMANAGER_URL"] = f"{away.url},{here.url}"
        service.start()
        away.process.kill()
        service.send(alert("Down", instance="a"))
        wait_until(lambda: escalations(here), 20, "the escalation on the one")
        away.again()
        wait_until(lambda: escalations(away), 20, "the escalation on the other")
        service.stop()
