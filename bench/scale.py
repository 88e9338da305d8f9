"""Out of one process: PostgreSQL, several replicas, workers; and a ledger of ten million rows, flat."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import psycopg

from autoheal.core.events import GENESIS, seal
from autoheal.store import migrate, partitions
from autoheal.store.query import Reader
from bench.acting import POLICY as ACTING
from bench.acting import _lines, alert
from bench.intake import POLICY, bodies
from bench.rig import Load, Server, autoheal, console, free_port, have, percentile, server, table, wait_for, wrk
from tests.servers import Postgres, postgres, redis

KINDS = (
    ("decision_skip",) * 12 + ("webhook_received",) * 6 + ("action_dry_run", "action_ok", "action_fail", "escalated")
)
BEGAN = 1_760_000_000.0
COLUMNS = "id, ts, kind, alertname, rule, remediation_id, line"


@contextlib.contextmanager
def replica(folder: Path, url: str, policy: str, live: bool = False, broker: str = "") -> Iterator[Server]:
    """`autoheal serve` on PostgreSQL, with workers where there is a broker."""
    more = {"DATABASE_URL": url, **({"REDIS_URL": broker} if broker else {})}
    with autoheal(folder, policy, live, more) as one:
        yield one


@contextlib.contextmanager
def worker(folder: Path, url: str, broker: str) -> Iterator[Server]:
    """`autoheal worker` with four hands."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    env = {
        "DATABASE_URL": url,
        "REDIS_URL": broker,
        "AUTOHEAL_DATA_DIR": str(folder),
        "AUTOHEAL_WORKER_PORT": str(port),
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
    rows: dict[str, tuple[Load, Load]] = {}

    def measure(name: str, targets: Sequence[Server]) -> None:
        rows[name] = (load(targets, 1, 16, seconds, folder), load(targets, 100, 8, seconds, folder))

    with autoheal(folder / "embedded", POLICY) as one:
        measure("embedded (SQLite)", [one])
    url = database.create_database()
    with replica(folder / "single", url, POLICY) as one:
        measure("1 replica, PostgreSQL", [one])
    url = database.create_database()
    with replica(folder / "left", url, POLICY) as left, replica(folder / "right", url, POLICY) as right:
        measure("2 replicas, PostgreSQL", [left, right])
    shown = table(
        "Intake on one machine with PostgreSQL, wrk and all: decided and durable",
        "",
        "POST/s ×1",
        "p50 ms",
        "p99 ms",
        "alerts/s ×100",
        "p99 ms",
        "not 2xx",
    )
    for name, (one, many) in rows.items():
        shown.add_row(
            name,
            f"{one.rate:,.0f}",
            f"{one.p50:.2f}",
            f"{one.p99:.2f}",
            f"{many.rate * 100:,.0f}",
            f"{many.p99:.1f}",
            f"{one.bad + many.bad}",
        )
    console.print(shown)


# ---- acting ---------------------------------------------------------------------------------------------------------


def acting(folder: Path, database: Postgres, count: int) -> None:
    """Every alert asks for a command that appends a line; by the threads of a replica, and by 1, 2 and 4 workers."""
    shown = table("Commands over Redis and PostgreSQL", "", "accepted", "ran", "per second")
    with redis(folder / "redis") as broker:
        for workers in (0, 1, 2, 4):
            broker.flush()
            root = folder / f"acting{workers}"
            root.mkdir(parents=True, exist_ok=True)
            ran, took = _executed(root, database.create_database(), broker.url if workers else "", workers, count)
            name = f"{workers} workers" if workers else "in process"
            shown.add_row(name, f"{count:,}", f"{ran:,}", f"{ran / took:,.0f}")
    console.print(shown)


def _executed(folder: Path, url: str, broker: str, workers: int, count: int) -> tuple[int, float]:
    runs, script = folder / "runs", folder / "append"
    script.write_text(f"#!/bin/sh\necho x >> {runs}\n")
    script.chmod(0o755)
    policy = ACTING % (max(4 * workers, 4), json.dumps([str(script)]))
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(replica(folder / "replica", url, policy, True, broker))
        for number in range(workers):
            stack.enter_context(worker(folder / f"worker{number}", url, broker))
        began = time.monotonic()
        for at in range(0, count, 100):
            one.post("/alert", {"alerts": [alert(n) for n in range(at, at + 100)]})
        wait_for(lambda: _lines(runs) >= count, 600)
        return _lines(runs), time.monotonic() - began


# ---- a ledger that grows --------------------------------------------------------------------------------------------


def fill(url: str, count: int) -> None:
    """Bring the ledger to `count` events by COPY, each sealed as the head does."""
    draw, began = random.Random(7), time.monotonic()
    with psycopg.connect(url) as link, link.cursor() as cursor:
        last, digest, ts = cursor.execute("SELECT id, hash, ts FROM head").fetchone() or (0, GENESIS, BEGAN)
        partitions.make_room(cursor, last + 1, count)
        ts = max(ts, BEGAN)
        with cursor.copy(f"COPY events ({COLUMNS}) FROM STDIN") as copy:
            for number in range(last + 1, count + 1):
                ts += draw.random()
                kind, name = draw.choice(KINDS), f"Alert{draw.randrange(200)}"
                rule = f"rule{draw.randrange(20)}" if kind != "webhook_received" else None
                which = f"r{number - number % 10}" if kind.startswith("action") else None
                event = {"id": number, "ts": ts, "kind": kind, "alertname": name, "rule": rule, "remediation_id": which}
                event["labels"] = {"alertname": name, "instance": f"10.0.0.{number % 250}:9100", "job": "node"}
                event["reason"] = "cooldown"
                line, digest = seal(orjson.dumps({k: v for k, v in event.items() if v is not None}), digest)
                copy.write_row((number, ts, kind, name, rule, which, line))
        cursor.execute("UPDATE head SET id = %s, hash = %s, ts = %s", (count, digest, ts))
    with psycopg.connect(url, autocommit=True) as link:
        link.execute("ANALYZE")
        link.execute("CHECKPOINT")
    console.print(f"{count:,} events there after {time.monotonic() - began:.0f} s more")


def growth(folder: Path, database: Postgres, seconds: int, sizes: Sequence[int]) -> None:
    url = database.create_database()
    migrate.upgrade(url)
    shown = table("Cost of an alert as the ledger grows (batches of 100)", "events", "alerts/s", "µs each", "p99 ms")
    for size in sizes:
        fill(url, size)
        with replica(folder / f"grown{size}", url, POLICY) as one:
            found = load([one], 100, 8, seconds, folder)
        rate = found.rate * 100
        shown.add_row(f"{size:,}", f"{rate:,.0f}", f"{1e6 / rate:.1f}", f"{found.p99:.1f}")
    console.print(shown)
    queries(url)


# ---- questions ------------------------------------------------------------------------------------------------------


def queries(url: str) -> None:
    """The 100 newest that match, by every column; and whether any plan walks a whole table."""
    reader, draw = Reader(url), random.Random(11)
    count = reader.head().id
    span = (BEGAN, BEGAN + count / 2)

    def moment() -> float:
        return draw.uniform(*span)

    questions = {
        "newest 100": dict,
        "kind": lambda: {"kind": draw.choice(KINDS)},
        "alertname": lambda: {"alertname": f"Alert{draw.randrange(200)}"},
        "rule": lambda: {"rule": f"rule{draw.randrange(20)}"},
        "remediation_id": lambda: {"remediation_id": f"r{draw.randrange(1, count // 10) * 10}"},
        "kind, alertname": lambda: {"kind": "escalated", "alertname": f"Alert{draw.randrange(200)}"},
        "nothing has it": lambda: {"alertname": "NoSuchAlert"},
        "since, until": lambda: {"since": (at := moment()), "until": at + 3600},
        "until, kind": lambda: {"until": moment(), "kind": "escalated"},
        "before": lambda: {"before": draw.randrange(1, count)},
        "contains, found": lambda: {"contains": f"10.0.0.{draw.randrange(250)}:9100"},
        "contains, nowhere": lambda: {"contains": "no such text"},
    }
    title = f"Queries on {count:,} events on PostgreSQL (100 newest that match)"
    shown = table(title, "filter", "p50 ms", "p95 ms", "partial", "whole tables walked")
    for name, make in questions.items():
        times, partial = [], 0
        with walked(url) as walks:
            for _ in range(5 if "nowhere" in name else 60):
                wanted = make()
                began = time.perf_counter()
                page = reader.query(100, **wanted)
                times.append((time.perf_counter() - began) * 1000)
                partial += page.partial
        shown.add_row(
            name, f"{percentile(times, 0.5):.2f}", f"{percentile(times, 0.95):.2f}", str(partial), str(walks[0])
        )
    console.print(shown)
    reader.close()


@contextlib.contextmanager
def walked(url: str) -> Iterator[list[int]]:
    """How often a partition of the events was read from end to end meanwhile, by PostgreSQL's own count."""
    ask = "SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_user_tables WHERE relname LIKE 'events_%'"

    def count() -> int:
        with psycopg.connect(url, autocommit=True) as link:
            link.execute("SELECT pg_stat_clear_snapshot()")
            row = link.execute(ask).fetchone()
            return int(row[0]) if row else 0

    before, found = count(), [0]
    yield found
    time.sleep(1.2)  # a session tells of itself once a second at most
    found[0] = count() - before


def main(folder: Path, seconds: int, count: int, sizes: Sequence[int]) -> None:
    if not have("wrk", "redis-server"):
        return
    console.print(f"{os.cpu_count()} cores for everything: PostgreSQL, Redis, Autoheal and the load")
    with postgres(folder / "postgres", durable=True, shared_buffers="1GB", max_wal_size="8GB") as database:
        intake(folder, database, seconds)
        acting(folder, database, count)
        growth(folder, database, seconds, sizes)
    console.print()
