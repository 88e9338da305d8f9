"""Stopping within bounds, and a policy that is changed while the service runs."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import httpx

from tests.acceptance.service import Autoheal, alert, policy, rule
from tests.servers import wait_until

NOTE = {"action": {"command": ["true"]}}
BAD = "version: 1\nrules:\n  - name: x\n    mach: ['alertname=\"New\"']\n"


def test_a_stop_waits_for_what_runs_and_records_it(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    slow = {"action": {"command": ["sh", "-c", 'touch "$1"; sleep 2', "-", str(begun)]}}
    with Autoheal(tmp_path / "autoheal", policy(rule("slow", "Slow", slow))) as service:
        service.start()
        service.send(alert("Slow"))
        wait_until(begun.exists, what="the action")
        began = time.monotonic()
        service.process.send(signal.SIGTERM)
        wait_until(lambda: refused(service), 5, "ready red")
        assert service.process.wait(30) == 0
        assert time.monotonic() - began < 15
        kinds = [event["kind"] for event in service.trail() if event["kind"] != "heartbeat"]
        assert kinds[-2:] == ["action_ok", "stopped"]
        service.assert_whole()


def test_a_stop_does_not_wait_for_ever_and_what_was_cut_off_is_found_at_the_next_start(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    slow = {"action": {"command": ["sh", "-c", 'touch "$1"; sleep 60', "-", str(begun)]}}
    env = {"AUTOHEAL_DRAIN_SEC": "1"}
    with Autoheal(tmp_path / "autoheal", policy(rule("slow", "Slow", slow)), env=env) as service:
        service.start()
        service.send(alert("Slow"))
        wait_until(begun.exists, what="the action")
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 10
        assert service.trail()[-1]["kind"] == "stopped"
        assert service.trail()[-1]["running"] == 1
        service.start()
        unknown = service.await_event("action_unknown")
        assert unknown["reason"] == "interrupted"
        service.stop()
        service.assert_whole()


def refused(service: Autoheal) -> bool:
    try:
        return service.get("/readyz").status_code == 503
    except httpx.TransportError:
        return True


def test_open_streams_are_closed_and_do_not_delay_the_stop(tmp_path: Path) -> None:
    with Autoheal(tmp_path / "autoheal", policy(rule("note", "Note", NOTE))) as service:
        service.start()
        seen, ended = threading.Event(), threading.Event()

        def follow() -> None:
            try:
                with httpx.stream("GET", f"{service.url}/events", timeout=30) as stream:
                    for line in stream.iter_lines():
                        if line == "event: webhook_received":
                            seen.set()
            except httpx.TransportError:
                pass  # cut off is an end, too
            ended.set()

        readers = [threading.Thread(target=follow, daemon=True) for _ in range(3)]
        for reader in readers:
            reader.start()
        sent = iter(range(1000))
        wait_until(lambda: service.send(alert("Note", n=str(next(sent)))) and seen.is_set(), 20, "a stream at work")
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 5
        assert ended.wait(5)


def test_a_policy_is_taken_by_signal_and_by_request_and_a_bad_one_is_refused(tmp_path: Path) -> None:
    with Autoheal(tmp_path / "autoheal", policy(rule("old", "Old", NOTE))) as service:
        service.start()
        service.write_policy(policy(rule("new", "New", NOTE)))
        service.process.send(signal.SIGHUP)
        loaded = service.await_event("policy_loaded", actor="SIGHUP")
        assert (loaded["rules"], loaded["changed"]) == (["new"], True)
        assert service.get("/").json()["actions"] == ["New"]

        service.write_policy(BAD)
        service.process.send(signal.SIGHUP)
        rejected = service.await_event("policy_rejected", actor="SIGHUP")
        assert "policy.yaml:4:" in rejected["error"] and "match" in rejected["error"]
        answer = service.post("/policy/reload")
        assert answer.status_code == 400
        assert "policy.yaml:4:" in answer.text
        assert len(service.events(kind="policy_rejected")) == 2
        assert service.get("/").json()["actions"] == ["New"]
        assert "autoheal_config_last_reload_successful 0.0" in service.get("/metrics").text
        [result] = service.send(alert("New"))
        assert result["result"] == "accepted"

        service.write_policy(policy(rule("newer", "Newer", NOTE)))
        answer = service.post("/-/reload")
        assert answer.status_code == 200, answer.text
        assert service.get("/").json()["actions"] == ["Newer"]
        assert "autoheal_config_last_reload_successful 1.0" in service.get("/metrics").text
        service.stop()
        service.assert_whole()


def test_a_rule_that_changed_ends_what_had_not_started(tmp_path: Path) -> None:
    """One runs, one waits behind it; the rule changes; the one that runs ends, the other is cancelled."""
    begun, go = tmp_path / "begun", tmp_path / "go"
    script = 'touch "$1"; while [ ! -e "$2" ]; do sleep 0.05; done'
    slow = {"action": {"command": ["sh", "-c", script, "-", str(begun), str(go)]}}
    by = {"cooldown_by": ["alertname", "instance"]}
    one_hand = {"limits": {"concurrent": 1}}
    with Autoheal(tmp_path / "autoheal", policy(rule("slow", "Slow", slow, **by), **one_hand)) as service:
        service.start()
        service.send(alert("Slow", instance="a"), alert("Slow", instance="b"))
        wait_until(begun.exists, what="the action")
        service.write_policy(policy(rule("slow", "Slow", slow, **by, cooldown="11m"), **one_hand))
        assert service.post("/policy/reload").status_code == 200
        go.touch()
        ended = service.await_event("cancelled")
        assert ended["reason"] == "rule_changed"
        assert [r["state"] for r in service.settled()] == ["cancelled", "healed"]
        service.stop()
