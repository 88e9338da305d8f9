"""A service that dies and comes back, alerts that are sent until they are answered, and what must be true after all."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.service import QUICK, Autoheal, alert, policy, rule

RUN = """#!/bin/sh
# Counts the run: who, which step, and when this process began (clock ticks since the machine's start).
read -r stat < /proc/$$/stat
set -- "$1" "$2" ${stat##*) }
echo "$1 $2 $(($#)) ${22}" >> "$RUNS"
"""
"""`set --` puts field 3 of /proc/PID/stat behind the two arguments, so field 22 becomes argument 22."""

BY = ["alertname", "instance"]
NAMES = ("Plain", "Checked", "Sick")


@contextmanager
def healthy_target() -> Iterator[str]:
    """A URL that answers 200 while the test lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join(5)


def storm_policy(folder: Path, healthy: str) -> dict[str, Any]:
    """Three rules: nothing to verify; verified and healthy; verified and sick, with two steps."""
    script = folder / "run.sh"
    script.write_text(RUN)

    def step(number: int, **verify: Any) -> dict[str, Any]:
        command = {"run": ["sh", str(script), "{fingerprint}", str(number)], "env": {"RUNS": str(folder / "runs")}}
        check = {"verify": {"within": "1s", "every": "100ms", **verify}} if verify else {}
        return {"action": {"command": command}, **check}

    more = {"cooldown_by": BY, "on_exhausted": {"escalate": "warning"}}
    return policy(
        rule("plain", "Plain", step(1), **more),
        rule("checked", "Checked", step(1, http=healthy), **more),
        rule("sick", "Sick", step(1, tcp="127.0.0.1:1"), step(2, tcp="127.0.0.1:1"), **more),
        defaults={"timeout": "15s"},  # so long what was interrupted keeps its place among the four
        limits={"concurrent": 4},
    )


class Storm:
    """Sends alerts as Alertmanager does: again and again until one answer is 200; and keeps what was promised."""

    def __init__(self, folder: Path, healthy: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.service = Autoheal(folder, storm_policy(folder, healthy), options=QUICK)
        self.promised: list[dict[str, Any]] = []
        self.unanswered = 0
        self._lock = threading.Lock()
        self._runs = folder / "runs"

    def deliver(self, *alerts: dict[str, Any], stop: threading.Event) -> bool:
        """One delivery, tried until it is answered 200; False when the test stopped before."""
        body = {"version": "4", "alerts": list(alerts)}
        while not stop.is_set():
            try:
                answer = httpx.post(f"{self.service.url}/alert", json=body, timeout=10)
            except httpx.TransportError:
                self.unanswered += 1
                stop.wait(0.05)
                continue
            if answer.status_code == 200:
                with self._lock:
                    self.promised += answer.json()["results"]
                return True
            assert answer.status_code == 503, answer.text
            stop.wait(0.05)
        return False

    def runs(self) -> list[list[str]]:
        """[fingerprint, step, …] of every run, in order."""
        return [line.split() for line in self._runs.read_text().splitlines()] if self._runs.exists() else []

    # ---- what must be true ---------------------------------------------------------------------------------------

    def assert_true(self) -> Counter[str]:
        """Check the stopped service's trail against promises and runs; counts of what was found."""
        self.service.assert_whole()
        trail = self.service.trail()
        self._nothing_promised_is_missing(trail)
        self._nothing_ran_twice_or_unrecorded(trail)
        return self._every_interrupted_one_ended_as_designed(trail)

    def _nothing_promised_is_missing(self, trail: list[dict[str, Any]]) -> None:
        decided = {e["fingerprint"] for e in trail if e["kind"].startswith("decision_")}
        acts = {e["remediation_id"] for e in trail if e["kind"] == "decision_act"}
        for result in self.promised:
            assert result["fingerprint"] in decided, result
            assert result["result"] in ("accepted", "skip"), result
            if result["result"] == "accepted":
                assert result["remediation_id"] in acts, result

    def _nothing_ran_twice_or_unrecorded(self, trail: list[dict[str, Any]]) -> None:
        started = Counter((e["fingerprint"], str(e["step"] + 1)) for e in trail if e["kind"] == "action_started")
        ran = Counter((run[0], run[1]) for run in self.runs())
        assert [what for what, times in ran.items() if times > 1] == []
        assert [what for what, times in started.items() if times > 1] == []
        assert set(ran) <= set(started)
        outcomes = {(e["fingerprint"], str(e["step"] + 1)) for e in trail if e["kind"] == "action_ok"}
        assert outcomes <= set(ran)

    def _every_interrupted_one_ended_as_designed(self, trail: list[dict[str, Any]]) -> Counter[str]:
        found: Counter[str] = Counter()
        open_ones: dict[str, str] = {}
        ends: dict[str, list[dict[str, Any]]] = {}
        for event in trail:
            ends.setdefault(event.get("remediation_id") or "", []).append(event)
        for event in trail:
            if event["kind"] == "started":
                found["starts"] += 1
                for name, state in open_ones.items():
                    found[f"interrupted {state}"] += 1
                    self._ended(name, state, [e for e in ends[name] if e["id"] > event["id"]])
                open_ones = {name: state for name, state in open_ones.items() if state != "running"}
            elif event.get("state") and event.get("remediation_id"):
                name, state = event["remediation_id"], event["state"]
                open_ones[name] = state
                if state not in ("reserved", "running", "verifying"):
                    del open_ones[name]
        assert open_ones == {}
        found["runs"] = len(self.runs())
        found["promised"] = len(self.promised)
        found["unanswered"] = self.unanswered
        return found

    def _ended(self, name: str, state: str, after: list[dict[str, Any]]) -> None:
        """What DESIGN says of an interrupted remediation, from the events after the next start."""
        kinds = [event["kind"] for event in after]
        assert after, (name, state)
        if state == "reserved":
            assert kinds[0] in ("action_started", "cancelled", "decision_hold"), (name, kinds)
        elif state == "verifying":
            assert kinds[0] in ("verify_ok", "verify_fail", "verify_inconclusive"), (name, kinds)
        elif after[0]["rule"] == "checked":
            assert (kinds, after[0].get("reason")) == (["verify_ok"], "probe"), (name, after)
        else:
            assert kinds == ["action_unknown", "escalated"], (name, kinds)
            assert after[0]["reason"] == "interrupted"


def batch(number: int) -> list[dict[str, Any]]:
    """One alert of each kind, never seen before."""
    return [alert(name, instance=f"i{number}") for name in NAMES]
