"""Alerts per second, in batches of 1 and 100: ours, the floor, and adnanh/webhook (which remembers none)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.rig import Load, autoheal, console, free_port, have, server, table, wrk

POLICY = """
version: 1
rules:
  - name: bench
    match: ['alertname="BenchDown"']
    opt_in: false
    cooldown: 10m
    cooldown_by: [alertname, instance]
    steps: [{action: {command: ["/bin/true"]}}]
"""
INSTANCES = 2000


def payload(number: int) -> dict[str, Any]:
    """An alert as Alertmanager sends it; three of four have a rule, a quarter have none."""
    return {
        "status": "firing",
        "labels": {
            "alertname": "BenchDown" if number % 4 else "NobodyCares",
            "instance": f"10.0.{number // 250}.{number % 250}:9100",
            "job": "node",
            "severity": "critical",
            "cluster": "bench",
        },
        "annotations": {"summary": f"instance {number} is down", "runbook_url": "https://example.invalid/runbook"},
        "startsAt": "2026-11-21T03:06:04.119Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
        "fingerprint": f"{number:016x}",
    }


def bodies(size: int) -> list[bytes]:
    """All alerts, `size` of them in each delivery."""
    alerts = [payload(number) for number in range(INSTANCES)]
    head = {"version": "4", "receiver": "autoheal", "status": "firing", "groupKey": "{}:{}", "externalURL": "http://am"}
    groups = [alerts[at : at + size] for at in range(0, INSTANCES, size)]
    return [json.dumps({**head, "alerts": group}).encode() for group in groups]


def main(folder: Path, seconds: int) -> None:
    if not have("wrk"):
        return
    rows: dict[str, dict[int, Load]] = {}
    with autoheal(folder / "ours", POLICY) as ours:
        rows["autoheal"] = {
            size: wrk(f"{ours.url}/alert", bodies(size), connections, seconds, folder)
            for size, connections in ((1, 16), (100, 8))
        }
        memory = ours.resident_mb()
    port = free_port()
    argv = [sys.executable, "-m", "bench.floor", str(port), str(folder / "floor.db")]
    with server(argv, port, "/") as floor:
        rows["floor"] = {
            size: wrk(f"{floor.url}/alert", bodies(size), connections, seconds, folder)
            for size, connections in ((1, 16), (100, 8))
        }
    if have("webhook"):
        rows["webhook 2.8"] = {1: _webhook(folder, seconds)}
    shown = table(
        "Intake: decided and durable (floor: parse, serialise, one group commit; same server)",
        "",
        "POST/s ×1",
        "p50 ms",
        "p99 ms",
        "alerts/s ×100",
        "p99 ms",
        "ratio floor/ours ×100",
    )
    best = rows["floor"][100].rate
    for name, loads in rows.items():
        one, many = loads[1], loads.get(100)
        shown.add_row(
            name,
            f"{one.rate:,.0f}",
            f"{one.p50:.2f}",
            f"{one.p99:.2f}",
            f"{many.rate * 100:,.0f}" if many else "-",
            f"{many.p99:.1f}" if many else "-",
            f"{best / many.rate:.2f}" if many else "-",
        )
    console.print(shown)
    bad = sum(load.bad for load in rows["autoheal"].values())
    console.print(f"ours: {bad} answers that were not 2xx; resident afterwards {memory:.0f} MB\n")


def _webhook(folder: Path, seconds: int) -> Load:
    port = free_port()
    hooks = [{"id": "alert", "execute-command": "/bin/true"}]
    (folder / "hooks.json").write_text(json.dumps(hooks))
    argv = ["webhook", "-hooks", str(folder / "hooks.json"), "-ip", "127.0.0.1", "-port", str(port)]
    with server(argv, port, "/") as peer:
        return wrk(f"{peer.url}/hooks/alert", bodies(1), 16, seconds, folder)
