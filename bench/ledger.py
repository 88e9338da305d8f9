"""A large ledger: query percentiles by every column, start time, resident memory; beside a plain scan in SQL."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from autoheal.store.sqlite import database_path, database_url
from bench.fill import fill
from bench.intake import POLICY
from bench.questions import asked, show
from bench.rig import autoheal, console
from bench.trail import BEGAN


def main(folder: Path, sizes: tuple[int, ...]) -> None:
    for count in sizes:
        root = folder / f"ledger{count}"
        fill(database_url(root / "data"), count)
        (root / "data" / "audit.jsonl").touch()
        show(f"Queries on {count:,} events (100 newest that match)", {"SQLite": asked(database_url(root / "data"), 60)})
        plain = _plain_scan(root / "data")
        console.print(f"peer: 100 events by a range of ts in plain SQL, without an index: {plain:.0f} ms")
        _start(root, count)


def _plain_scan(directory: Path) -> float:
    link = sqlite3.connect(database_path(directory))
    began = time.perf_counter()
    link.execute("SELECT line FROM events WHERE ts < ? ORDER BY id DESC LIMIT 100", (BEGAN + 500,)).fetchall()
    link.close()
    return (time.perf_counter() - began) * 1000


def _start(root: Path, count: int) -> None:
    """Two starts: the first also writes the missing copy, the second is what a restart costs."""
    with autoheal(root, POLICY) as first:
        first.get("/readyz")
    began = time.monotonic()
    with autoheal(root, POLICY) as ours:
        took, memory = time.monotonic() - began, ours.resident_mb()
    console.print(f"start on {count:,} events: {took:.2f} s from exec to ready, {memory:.0f} MB resident\n")
