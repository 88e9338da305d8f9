"""Out of one process: PostgreSQL, several replicas, workers; and a ledger of ten million events, flat."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from autoheal.engine.ports import StoreUnavailable
from autoheal.store.query import Reader
from autoheal.store.sqlite import database_url
from bench import growth
from bench.acting import POLICY as ACTING
from bench.acting import alert
from bench.intake import POLICY, bodies
from bench.rig import Load, Server, autoheal, console, free_port, have, server, table, wait_for, wrk
from tests.databases import Postgres, postgres, redis

CONCURRENT = 64
"""What the policy lets act at once over all processes: more than the hands of any number of workers here."""
HANDS = 16
"""Of each worker."""
BYTES_PER_EVENT = 2000
"""On disk, both ledgers and PostgreSQL's log together."""


@contextlib.contextmanager
def worker(folder: Path, url: str, broker: str) -> Iterator[Server]:
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    env = {
        "DATABASE_URL": url,
        "REDIS_URL": broker,
        "AUTOHEAL_DATA_DIR": str(folder),
        "AUTOHEAL_WORKER_PORT": str(port),
        "AUTOHEAL_WORKER_CONCURRENCY": str(HANDS),
        "LOG_LEVEL": "ERROR",
    }
    with server([sys.executable, "-m", "autoheal", "worker"], port, "/readyz", env) as one:
        yield one


# ---- intake ---------------------------------------------------------------------------------------------------------


def load(targets: Sequence[Server], size: int, connections: int, seconds: int, folder: Path) -> Load:
    """All targets at once, the connections shared among them: the sum of the rates, the worst percentiles."""
    each = connections // len(targets)
    with ThreadPoolExecutor(len(targets)) as pool:
        parts = [
            pool.submit(wrk, f"{one.url}/alert", bodies(size), each, seconds, folder / f"wrk{number}")
            for number, one in enumerate(targets)
        ]
        found = [part.result() for part in parts]
    return Load(
        sum(part.rate for part in found),
        max(part.p50 for part in found),
        max(part.p99 for part in found),
        sum(part.bad for part in found),
    )


def intake(folder: Path, database: Postgres, seconds: int) -> None:
    """Singles over 16 connections and batches of 100 over 8, after a second that is not counted."""
    found: dict[str, dict[int, Load]] = {}
    for name, count in (("embedded (SQLite)", 0), ("1 replica, PostgreSQL", 1), ("2 replicas, PostgreSQL", 2)):
        more = {"DATABASE_URL": database.create_database()} if count else None
        with contextlib.ExitStack() as stack:
            targets = [
                stack.enter_context(autoheal(folder / f"intake{count}{number}", POLICY, more=more))
                for number in range(max(count, 1))
            ]
            load(targets, 100, 8, 1, folder)
            found[name] = {
                size: load(targets, size, connections, seconds, folder) for size, connections in ((1, 16), (100, 8))
            }
    for size in (1, 100):
        what = "one by one, 16 connections" if size == 1 else f"in batches of {size}, 8 connections"
        heads = ("alerts/s", "p50 ms", "p99 ms", "not 2xx", "to embedded")
        shown = table(f"Intake {what}: decided and durable", "", *heads)
        floor = found["embedded (SQLite)"][size].rate
        for name, loads in found.items():
            one = loads[size]
            rate = f"{one.rate * size:,.0f}"
            shown.add_row(name, rate, f"{one.p50:.2f}", f"{one.p99:.1f}", str(one.bad), f"{one.rate / floor:.2f}")
        console.print(shown)


# ---- acting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    """`lines`: what the commands wrote, each the instance that it ran for; `took` until the last outcome was on
    record."""

    count: int
    lines: Sequence[str]
    recorded: int
    took: float

    @property
    def lost(self) -> int:
        return self.count - len(set(self.lines))

    @property
    def double(self) -> int:
        return len(self.lines) - len(set(self.lines))


def acting(folder: Path, database: Postgres, count: int) -> None:
    """Every alert asks for a command that appends a line: from the first POST to the last outcome on record."""
    found: dict[str, Ran] = {"embedded, in process": _executed(folder / "acting", "", "", 0, count)}
    found["1 replica, in process"] = _executed(folder / "acting-pg", database.create_database(), "", 0, count)
    with redis(folder / "redis") as broker:
        for workers in (1, 2, 4):
            broker.flush()
            root = folder / f"acting{workers}"
            name = f"1 replica, {workers} worker{'s' if workers > 1 else ''}"
            found[name] = _executed(root, database.create_database(), broker.url, workers, count)
    title = f"Commands executed and on record ({CONCURRENT} at once by policy, {HANDS} hands for each worker)"
    shown = table(title, "", "accepted", "on record", "lost", "double", "per second", "to embedded")
    floor = next(iter(found.values())).took
    for name, ran in found.items():
        rate, ratio = f"{ran.count / ran.took:,.0f}", f"{floor / ran.took:.2f}"
        shown.add_row(name, f"{ran.count:,}", f"{ran.recorded:,}", f"{ran.lost:,}", f"{ran.double:,}", rate, ratio)
    console.print(shown)


def _executed(root: Path, url: str, broker: str, workers: int, count: int) -> Ran:
    root.mkdir(parents=True, exist_ok=True)
    runs, script = root / "runs", root / "append"
    script.write_text(f'#!/bin/sh\necho "$1" >> {runs}\n')
    script.chmod(0o755)
    policy = ACTING % (CONCURRENT, json.dumps([str(script), "{labels.instance}"]))
    more: Mapping[str, str] = {"DATABASE_URL": url, "REDIS_URL": broker} if url else {}
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(autoheal(root / "replica", policy, True, {k: v for k, v in more.items() if v}))
        for number in range(workers):
            stack.enter_context(worker(root / f"worker{number}", url, broker))
        outcomes = Outcomes(url or database_url(root / "replica" / "data"))
        stack.callback(outcomes.close)
        began = time.monotonic()
        for at in range(0, count, 100):
            one.post("/alert", {"alerts": [alert(n) for n in range(at, min(at + 100, count))]})
        with contextlib.suppress(TimeoutError):  # what is lacking is told
            wait_for(lambda: outcomes.count() >= count, 60 + count / 20)
        took = time.monotonic() - began
        return Ran(count, runs.read_text().split() if runs.exists() else (), outcomes.found, took)


class Outcomes:
    """Counts the ends of actions on a ledger as they come."""

    def __init__(self, url: str) -> None:
        self._reader = Reader(url)
        self._last = 0
        self.found = 0
        self.close = self._reader.close

    def count(self) -> int:
        time.sleep(0.02)
        with contextlib.suppress(StoreUnavailable):
            while rows := self._reader.lines_after(self._last, 1000):
                self._last = rows[-1][0]
                self.found += sum('"kind":"action_ok"' in line for _, line in rows)
        return self.found


# ---- all of it ------------------------------------------------------------------------------------------------------


def main(folder: Path, seconds: int, count: int, sizes: Sequence[int], rounds: int) -> None:
    if not have("wrk", "redis-server"):
        return
    free = shutil.disk_usage(folder).free
    fitting = [size for size in sizes if size * BYTES_PER_EVENT < free * 0.9]
    for size in sizes[len(fitting) :]:
        console.print(f"left out: {size:,} events need {size * BYTES_PER_EVENT / 1e9:.0f} GB (see --dir)")
    console.print(f"{os.cpu_count()} cores for everything: PostgreSQL (fsync on), Redis, Autoheal and the load")
    with postgres(folder / "postgres", durable=True, shared_buffers="1GB", max_wal_size="4GB") as database:
        intake(folder, database, seconds)
        acting(folder, database, count)
        growth.main(folder, database, fitting, rounds)
    console.print()
