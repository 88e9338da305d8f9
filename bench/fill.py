"""Fills a ledger with a generated trail, on either store, so that its chain, head and clock steps hold."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg

from autoheal.engine.ports import Row
from autoheal.store import partitions, schema
from autoheal.store.connection import sqlite_path
from autoheal.store.postgres import PostgresLedger
from autoheal.store.schema import number
from autoheal.store.sqlite import SqliteLedger
from autoheal.store.verify import verify_database
from bench.rig import console
from bench.trail import Trail, remediations, steps_back


def open_ledger(url: str) -> SqliteLedger | PostgresLedger:
    """The ledger at a URL, with its schema."""
    path = sqlite_path(url)
    return PostgresLedger(url) if path is None else SqliteLedger(path.parent)


def fill(url: str, last: int) -> None:
    """Let the ledger grow to `last` events, as the head would have written them; what is there already stays."""
    began = time.monotonic()
    with closing(open_ledger(url)) as ledger, ledger.transaction() as transaction:
        head = transaction.head
    if head.id >= last:
        return
    trail = Trail(head)
    if sqlite_path(url):
        _insert(url, trail, last)
    else:
        _copy(url, trail, last)
    took = max(time.monotonic() - began, 1e-6)
    rate = (last - head.id) / took
    console.print(f"  {url.partition(':')[0]}: {last:,} events, filled at {rate:,.0f}/s in {took:.0f} s")


def check(url: str) -> None:
    """What was filled and what was measured on it make one chain."""
    began = time.monotonic()
    report = verify_database(url)
    took = time.monotonic() - began
    said = "holds" if report.ok and report.done else f"IS BROKEN: {report.problems[:3]}"
    console.print(f"  {url.partition(':')[0]}: the chain of {report.checked:,} events {said} (read in {took:.0f} s)")


def _insert(url: str, trail: Trail, last: int) -> None:
    with closing(open_ledger(url)) as ledger:
        while trail.head.id < last:
            first = trail.head.id + 1
            rows = trail.rows(last)
            with ledger.transaction() as transaction:
                transaction.append(rows, trail.head)
                transaction.save([], list(remediations(first, trail.head.id)))


def _copy(url: str, trail: Trail, last: int) -> None:
    first, before, steps = trail.head.id + 1, trail.head.ts, list[tuple[int, float, float]]()
    with psycopg.connect(url) as link, link.cursor() as cursor:
        partitions.make_room(cursor, first, last)
        with cursor.copy(f"COPY events ({', '.join(Row._fields)}) FROM STDIN") as copy:
            while trail.head.id < last:
                rows = trail.rows(last)
                for row in rows:
                    copy.write_row(row)
                steps += steps_back(rows, before)
                before = trail.head.ts
        with cursor.copy(f"COPY remediations ({', '.join(schema.remediations.c.keys())}) FROM STDIN") as copy:
            for one in remediations(first, last):
                copy.write_row((number(one.id), *one))
        cursor.executemany("INSERT INTO clock_steps VALUES (%s, %s, %s)", steps)
        cursor.execute("UPDATE head SET id = %s, hash = %s, ts = %s", (last, trail.head.hash, trail.head.ts))
    with psycopg.connect(url, autocommit=True) as link:
        link.execute("VACUUM ANALYZE")  # as autovacuum would have, in the weeks that this took
        link.execute("CHECKPOINT")
