"""The events' partitions on PostgreSQL: ranges of ids, and so of time, so that retention can drop one as a whole."""

from __future__ import annotations

from typing import Any, NamedTuple

SIZE = 1_000_000
"""Ids in one partition. Number n holds the ids n·SIZE to (n+1)·SIZE - 1; changing this needs a migration."""

AHEAD = SIZE // 2
"""The next one is made when the head comes this near to the end of the last."""

_BOUND = "pg_get_expr(c.relpartbound, c.oid)"
_LIST = (
    f"SELECT c.relname, {_BOUND} FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "  # noqa: S608 - no input
    "WHERE i.inhparent = 'events'::regclass"
)


class Partition(NamedTuple):
    """One partition: it holds the ids `low` ≤ id < `high`."""

    name: str
    low: int
    high: int


def partitions(cursor: Any) -> list[Partition]:
    """Those that there are, oldest first."""
    cursor.execute(_LIST)
    found = []
    for name, bound in cursor.fetchall():
        low, high = (part.partition("(")[2].partition(")")[0].strip("'") for part in bound.split(" TO "))
        found.append(Partition(name, int(low), int(high)))
    return sorted(found, key=lambda partition: partition.low)


def make_room(cursor: Any, first: int, last: int) -> int:
    """Make what is lacking for the ids `first` to `last` and `AHEAD` more; the id where the room now ends.

    Within the caller's transaction, which holds the head, so that nobody makes the same. Readers and writers go on:
    a table that is attached locks them less than one that is made as a partition.
    """
    there = {partition.low for partition in partitions(cursor)}
    numbers = range(first // SIZE, (last + AHEAD) // SIZE + 1)
    for low in (number * SIZE for number in numbers):
        if low in there:
            continue
        name = f"events_{low // SIZE:06d}"
        cursor.execute(f"CREATE TABLE {name} (LIKE events INCLUDING ALL)")
        cursor.execute(f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({low + SIZE})")
    return (numbers[-1] + 1) * SIZE
