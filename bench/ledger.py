"""A large ledger: query percentiles by every column, start time, resident memory; beside a plain scan in SQL."""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path

import orjson

from autoheal.core.events import GENESIS, seal
from autoheal.engine.ports import Head, Row
from autoheal.store.query import Reader
from autoheal.store.sqlite import SqliteLedger, database_url
from bench.intake import POLICY
from bench.rig import autoheal, console, percentile, table

KINDS = (
    ("decision_skip",) * 12 + ("webhook_received",) * 6 + ("action_dry_run", "action_ok", "action_fail", "escalated")
)
BATCH = 5000


def fill(directory: Path, count: int) -> None:
    """Write `count` events as the head would, sealed, in batches."""
    ledger, draw = SqliteLedger(directory), random.Random(7)
    digest, began, ts = GENESIS, time.monotonic(), 1_760_000_000.0
    for first in range(1, count + 1, BATCH):
        rows = []
        for number in range(first, min(first + BATCH, count + 1)):
            ts += draw.random()
            kind, name = draw.choice(KINDS), f"Alert{draw.randrange(200)}"
            rule = f"rule{draw.randrange(20)}" if kind != "webhook_received" else None
            which = f"r{number - number % 10}" if kind.startswith("action") else None
            event = {"id": number, "ts": ts, "kind": kind, "alertname": name, "rule": rule, "remediation_id": which}
            event["labels"] = {"alertname": name, "instance": f"10.0.0.{number % 250}:9100", "job": "node"}
            event["reason"] = "cooldown"
            line, digest = seal(orjson.dumps({k: v for k, v in event.items() if v is not None}), digest)
            rows.append(Row(number, ts, kind, name, rule, which, line))
        with ledger.transaction() as transaction:
            transaction.append(rows, Head(rows[-1].id, digest, ts))
    ledger.close()
    console.print(f"{count:,} events written in {time.monotonic() - began:.0f} s", highlight=False)


def ask(directory: Path, count: int) -> None:
    reader, draw = Reader(database_url(directory)), random.Random(11)
    span = (1_760_000_000.0, 1_760_000_000.0 + count / 2)

    def moment() -> float:
        return draw.uniform(*span)

    questions = {
        "newest 100": dict,
        "kind": lambda: {"kind": draw.choice(KINDS)},
        "alertname": lambda: {"alertname": f"Alert{draw.randrange(200)}"},
        "rule": lambda: {"rule": f"rule{draw.randrange(20)}"},
        "remediation_id": lambda: {"remediation_id": f"r{draw.randrange(1, count // 10) * 10}"},
        "since, until": lambda: {"since": (at := moment()), "until": at + 3600},
        "until, kind": lambda: {"until": moment(), "kind": "escalated"},
        "before": lambda: {"before": draw.randrange(1, count)},
        "contains, found": lambda: {"contains": f"10.0.0.{draw.randrange(250)}:9100"},
        "contains, nowhere": lambda: {"contains": "no such text"},
    }
    shown = table(f"Queries on {count:,} events (100 newest that match)", "filter", "p50 ms", "p95 ms", "partial")
    for name, make in questions.items():
        times, partial = [], 0
        for _ in range(5 if "nowhere" in name else 60):
            wanted = make()
            began = time.perf_counter()
            page = reader.query(100, **wanted)
            times.append((time.perf_counter() - began) * 1000)
            partial += page.partial
        shown.add_row(name, f"{percentile(times, 0.5):.2f}", f"{percentile(times, 0.95):.2f}", str(partial))
    plain = _plain_scan(directory)
    shown.add_row("peer: plain SQL over ts, no index", f"{plain:.0f}", "-", "-")
    console.print(shown)
    reader.close()


def _plain_scan(directory: Path) -> float:
    link = sqlite3.connect(directory / "ledger.db")
    began = time.perf_counter()
    link.execute("SELECT line FROM events WHERE ts < 1760000500 ORDER BY id DESC LIMIT 100").fetchall()
    link.close()
    return (time.perf_counter() - began) * 1000


def main(folder: Path, sizes: tuple[int, ...]) -> None:
    for count in sizes:
        root = folder / f"ledger{count}"
        fill(root / "data", count)
        (root / "data" / "audit.jsonl").touch()
        ask(root / "data", count)
        _start(root, count)


def _start(root: Path, count: int) -> None:
    """Two starts: the first also writes the missing copy, the second is what a restart costs."""
    with autoheal(root, POLICY) as first:
        first.get("/readyz")
    began = time.monotonic()
    with autoheal(root, POLICY) as ours:
        took, memory = time.monotonic() - began, ours.resident_mb()
    console.print(f"start on {count:,} events: {took:.2f} s from exec to ready, {memory:.0f} MB resident\n")
