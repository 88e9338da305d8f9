"""The main job on real input: a real Alertmanager sends, Autoheal decides, acts, verifies, records; once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Victim
from tests.acceptance.service import Autoheal, policy, rule
from tests.servers import alertmanager, alertmanager_pair, wait_until

DOWN = "TcpEndpointDownFast"
OFTEN: dict[str, Any] = {"group_interval": "1s", "repeat_interval": "2s"}
CHAIN = ["decision_act", "action_started", "action_ok", "verify_ok"]


def of(service: Autoheal, kind: str) -> list[dict[str, object]]:
    return service.events(kind=kind)


def heard(service: Autoheal) -> int:
    return len(of(service, "webhook_received"))


@pytest.mark.timeout(150)
def test_one_alert_is_healed_once_over_repeats_and_an_orderly_restart(tmp_path: Path, victim: Victim) -> None:
    with Autoheal(tmp_path / "autoheal", policy(rule("restart", DOWN, victim.step()))) as service:
        with alertmanager(tmp_path / "am", f"{service.url}/alert", **OFTEN) as one:
            service.env["ALERTMANAGER_URL"] = one.url
            service.start()
            old = victim.pid
            victim.die()
            one.fire(alertname=DOWN, service="crm-api")
            service.await_event("action_ok")
            assert service.stop() == 0
            service.start()
            healed = service.await_event("verify_ok", 60)
            assert victim.healthy() and victim.pid != old
            before = heard(service)
            wait_until(lambda: heard(service) >= before + 2, 30, "two repeats")
            one.resolve(alertname=DOWN, service="crm-api")
            service.await_event("decision_skip", reason="resolved")
            assert victim.runs == 1
            own = service.kinds(remediation_id=healed["remediation_id"])
            assert own == CHAIN
            assert service.kinds()[:5].count("webhook_received") >= 1
            [remediation] = service.remediations()
            assert (remediation["state"], remediation["effect"]) == ("healed", "healed")
            service.stop()
        service.assert_whole()


@pytest.mark.timeout(150)
def test_killed_while_the_command_runs_it_is_healed_by_probe_and_not_run_again(tmp_path: Path, victim: Victim) -> None:
    with Autoheal(tmp_path / "autoheal", policy(rule("restart", DOWN, victim.step(seconds=2)))) as service:
        with alertmanager(tmp_path / "am", f"{service.url}/alert", **OFTEN) as one:
            service.env["ALERTMANAGER_URL"] = one.url
            service.start()
            victim.die()
            one.fire(alertname=DOWN, service="crm-api")
            wait_until(lambda: victim.runs == 1, 30, "the run")
            service.kill()
            service.start()
            healed = service.await_event("verify_ok", 60)
            assert healed["reason"] == "probe"
            assert victim.healthy()
            before = heard(service)
            wait_until(lambda: heard(service) >= before + 2, 30, "two repeats")
            assert victim.runs == 1
            assert service.kinds(remediation_id=healed["remediation_id"]) == [
                "decision_act",
                "action_started",
                "verify_ok",
            ]
            service.stop()
        service.assert_whole()


@pytest.mark.timeout(150)
def test_killed_while_the_command_runs_and_still_sick_it_is_unknown_and_a_person_is_told(
    tmp_path: Path, victim: Victim
) -> None:
    """The command hangs and heals nothing: the probe finds it sick, the key is blocked, Alertmanager has it."""
    sick = victim.step(seconds=600, within="10s")
    with Autoheal(tmp_path / "autoheal", policy(rule("restart", DOWN, sick))) as service:
        with alertmanager(tmp_path / "am", f"{service.url}/alert", **OFTEN) as one:
            service.env["ALERTMANAGER_URL"] = one.url
            service.start()
            victim.die()
            one.fire(alertname=DOWN, service="crm-api")
            wait_until(lambda: victim.runs == 1, 30, "the run")
            service.kill()
            service.start()
            unknown = service.await_event("action_unknown", 60)
            assert unknown["reason"] == "interrupted"
            service.await_event("decision_skip", reason="unsettled")
            told = wait_until(lambda: one.get("alerts", filter='alertname="AutohealEscalation"'), 30, "the escalation")
            assert told[0]["labels"]["remediation_id"] == unknown["remediation_id"]
            assert victim.runs == 1
            answer = service.post(f"/remediations/{unknown['remediation_id']}/settle", {"outcome": "failed"})
            assert answer.json() == {"ok": True, "state": "failed"}
            wait_until(lambda: not one.get("alerts", filter='alertname="AutohealEscalation"'), 30, "its end")
            service.stop()
        service.assert_whole()


@pytest.mark.soak
@pytest.mark.timeout(150)
def test_a_pair_of_alertmanagers_that_both_send_leads_to_one_action(tmp_path: Path, victim: Victim) -> None:
    """Without gossip between them, as in a split: each sends everything itself."""
    with Autoheal(tmp_path / "autoheal", policy(rule("restart", DOWN, victim.step()))) as service:
        target = f"{service.url}/alert"
        with alertmanager(tmp_path / "am-1", target, **OFTEN) as one, alertmanager(tmp_path / "am-2", target) as two:
            service.env["ALERTMANAGER_URL"] = f"{one.url},{two.url}"
            service.start()
            victim.die()
            for member in (one, two):
                member.fire(alertname=DOWN, service="crm-api")
            service.await_event("verify_ok", 60)
            origins = {event["origin"] for event in of(service, "webhook_received")}
            assert origins == {one.url, two.url}
            assert victim.runs == 1
            service.stop()
        service.assert_whole()


@pytest.mark.timeout(150)
def test_a_clustered_pair_leads_to_one_action(tmp_path: Path, victim: Victim) -> None:
    with Autoheal(tmp_path / "autoheal", policy(rule("restart", DOWN, victim.step()))) as service:
        with alertmanager_pair(tmp_path, f"{service.url}/alert", peer_timeout="0s", **OFTEN) as pair:
            service.env["ALERTMANAGER_URL"] = ",".join(one.url for one in pair)
            service.start()
            victim.die()
            for one in pair:
                one.fire(alertname=DOWN, service="crm-api")
            service.await_event("verify_ok", 60)
            for one in pair:
                one.resolve(alertname=DOWN, service="crm-api")
            service.await_event("decision_skip", reason="resolved")
            assert victim.runs == 1
            service.stop()
        service.assert_whole()


@pytest.mark.soak
@pytest.mark.timeout(200)
def test_two_instances_under_one_name_are_both_healed_the_second_when_the_cooldown_ends(
    tmp_path: Path, make_victim: Callable[[str], Victim]
) -> None:
    victims = {name: make_victim(name) for name in ("one", "two")}
    rules = [
        rule(f"restart-{name}", DOWN, found.step(), cooldown="30s") | {"name": "restart"}
        for name, found in victims.items()
    ]
    step = rules[0]["steps"][0]
    script = step["action"]["command"]
    script[3] = f"{tmp_path}/{{labels.instance}}"
    script[4] = "{labels.port}"
    step["verify"]["http"] = "http://127.0.0.1:{labels.port}/"
    with Autoheal(tmp_path / "autoheal", policy(rules[0])) as service:
        with alertmanager(tmp_path / "am", f"{service.url}/alert") as one:
            service.env["ALERTMANAGER_URL"] = one.url
            service.start()
            for name, found in victims.items():
                found.die()
                one.fire(alertname=DOWN, instance=name, port=str(found.port))
            wait_until(lambda: len(of(service, "verify_ok")) == 2, 90, "both healed")
            assert [found.runs for found in victims.values()] == [1, 1]
            first, second = [event["ts"] for event in of(service, "action_started")]
            assert isinstance(first, float) and isinstance(second, float)
            assert second - first >= 30
            assert service.await_event("decision_skip", reason="cooldown")
            service.stop()
        service.assert_whole()
