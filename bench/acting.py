"""From receipt to process start, commands per second, and what became of every alert that was accepted."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from bench.rig import Server, autoheal, console, free_port, have, percentile, server, table, wait_for, wrk

POLICY = """
version: 1
limits: {concurrent: %d}
rules:
  - name: bench
    match: ['alertname="BenchDown"']
    opt_in: false
    cooldown_by: [instance]
    steps: [{action: {command: %s}}]
"""


def alert(number: int, **labels: str) -> dict[str, object]:
    return {"status": "firing", "labels": {"alertname": "BenchDown", "instance": f"i{number}", **labels}}


def latency(folder: Path, per_second: int, seconds: int) -> None:
    """`date` prints when it runs; the alert carries when it was sent."""
    with autoheal(folder / f"latency{per_second}", POLICY % (8, '["date", "+%s.%N"]'), live=True) as ours:
        began, count = time.monotonic(), per_second * seconds
        for number in range(count):
            ahead = began + number / per_second - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            ours.post("/alert", {"alerts": [alert(number, sent=f"{time.time():.6f}")]})
        wait_for(lambda: _count(ours, "executed") >= count, 120)
        waits = _waits(ours, count)
    p50, p99 = percentile(waits, 0.5) * 1000, percentile(waits, 0.99) * 1000
    rate = count / max(time.monotonic() - began, seconds)
    console.print(
        f"receipt to process start, {per_second}/s asked ({rate:,.0f}/s sent by one blocking client): "
        f"{len(waits)} of {count}, p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    )


def _waits(ours: Server, count: int) -> list[float]:
    sent: dict[str, float] = {}
    waits: list[float] = []
    for kind in ("decision_act", "action_ok"):
        before = ""
        while True:
            events = json.loads(ours.get(f"/audit?kind={kind}&n=10000{before}"))["events"]
            for event in events:
                if kind == "decision_act":
                    sent[event["remediation_id"]] = float(event["labels"]["sent"])
                else:
                    waits.append(float(event["output"]) - sent[event["remediation_id"]])
            if len(events) < 10000:
                break
            before = f"&before={events[0]['id']}"
    return waits[:count]


def _count(ours: Server, result: str) -> int:
    for line in ours.get("/metrics").decode().splitlines():
        if line.startswith(f'autoheal_actions_total{{alertname="BenchDown",result="{result}"}}'):
            return int(float(line.rpartition(" ")[2]))
    return 0


def executed(folder: Path, count: int) -> None:
    """Every alert asks for one command that appends a line: how many lines are there, and when?"""
    runs = folder / "runs"
    script = folder / "append"
    script.write_text(f"#!/bin/sh\necho x >> {runs}\n")
    script.chmod(0o755)
    shown = table("Commands: accepted, and what became of them", "", "accepted", "ran", "lost", "per second")
    with autoheal(folder / "ran", POLICY % (16, json.dumps([str(script)])), live=True) as ours:
        began = time.monotonic()
        for at in range(0, count, 100):
            ours.post("/alert", {"alerts": [alert(n) for n in range(at, at + 100)]})
        wait_for(lambda: _lines(runs) >= count, 300)
        took = time.monotonic() - began
        wait_for(lambda: _count(ours, "executed") >= count, 60)
        ran = _lines(runs)
    shown.add_row("autoheal", f"{count:,}", f"{ran:,}", f"{count - ran:,}", f"{ran / took:,.0f}")
    if have("webhook", "wrk"):
        shown.add_row("webhook 2.8", *_webhook(folder, script, runs))
    console.print(shown)


def _webhook(folder: Path, script: Path, runs: Path, seconds: int = 10) -> list[str]:
    runs.unlink(missing_ok=True)
    port = free_port()
    (folder / "run-hooks.json").write_text(json.dumps([{"id": "alert", "execute-command": str(script)}]))
    argv = ["webhook", "-hooks", str(folder / "run-hooks.json"), "-ip", "127.0.0.1", "-port", str(port)]
    with server(["sh", "-c", 'ulimit -n 1024; exec "$@"', "sh", *argv], port, "/") as peer:
        began = time.monotonic()
        load = wrk(f"{peer.url}/hooks/alert", [json.dumps({"alerts": [alert(1)]}).encode()], 16, seconds, folder)
        accepted = int(load.rate * seconds) - load.bad
        before = -1
        while before != _lines(runs):
            before = _lines(runs)
            time.sleep(2)
        ran, took = _lines(runs), time.monotonic() - began
    return [f"{accepted:,}", f"{ran:,}", f"{accepted - ran:,}", f"{ran / took:,.0f}"]


def _lines(path: Path) -> int:
    if not path.exists():
        return 0
    return int(subprocess.run(["wc", "-l", str(path)], capture_output=True, text=True, check=True).stdout.split()[0])


def main(folder: Path, seconds: int) -> None:
    latency(folder, 50, seconds)
    latency(folder, 1000, seconds)
    executed(folder, 2000 * seconds)
    console.print()
