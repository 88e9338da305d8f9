"""The tables: the ledger's events and head, the engine's facts and remediations."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, Table, Text

VERSION = "0002"
"""The Alembic revision that this code reads and writes."""

metadata = MetaData()

_BIG = BigInteger().with_variant(Integer, "sqlite")

head = Table(
    "head",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("id", _BIG, nullable=False),
    Column("hash", Text, nullable=False),
    Column("ts", Double, nullable=False),
)
"""One row (`one` = 1): the last event's id, hash and time."""

events = Table(
    "events",
    metadata,
    Column("id", _BIG, primary_key=True, autoincrement=False),
    Column("ts", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("alertname", Text),
    Column("rule", Text),
    Column("remediation_id", Text),
    Column("line", Text, nullable=False),
    postgresql_partition_by="RANGE (id)",
)
"""On PostgreSQL in partitions by id (`store.partitions`)."""
Index("events_kind", events.c.kind, events.c.id)
for _name in ("alertname", "rule", "remediation_id"):
    _where = events.c[_name].is_not(None)
    Index(f"events_{_name}", events.c[_name], events.c.id, sqlite_where=_where, postgresql_where=_where)

clock_steps = Table(
    "clock_steps",
    metadata,
    Column("id", _BIG, primary_key=True, autoincrement=False),
    Column("ts", Double, nullable=False),
    Column("before", Double, nullable=False),
)
"""Events whose `ts` is smaller than that of the event `before` them: between two steps time never goes back, so
that a range of time is found by halving ids, without an index on `ts`."""

facts = Table(
    "facts",
    metadata,
    Column("space", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("data", Text, nullable=False),
    Column("due", Double),
)

ANCHOR = ("ledger", "anchor")
"""The fact that says what the first event follows where that is not event 1: `[id, hash or null]`."""

remediations = Table(
    "remediations",
    metadata,
    Column("number", _BIG, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("alertname", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("data", Text, nullable=False),
)
"""`number` is the one in the id ("r123"): the order in which they were decided, whatever the clock did."""
Index("remediations_state", remediations.c.state, remediations.c.number)
Index("remediations_rule", remediations.c.rule, remediations.c.number)
Index("remediations_alertname", remediations.c.alertname, remediations.c.number)
Index("facts_due", facts.c.due, sqlite_where=facts.c.due.is_not(None), postgresql_where=facts.c.due.is_not(None))

claims = Table(
    "claims",
    metadata,
    Column("space", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("until", Double, nullable=False),
    Column("data", Text),
)
"""Leases of the processes on one ledger (`store.claims`): who has what until when, by the database's clock. Empty on
SQLite."""


def number(remediation_id: str) -> int:
    """The number in a remediation's id; ValueError where it has none."""
    if not remediation_id[1:].isdecimal() or not remediation_id.isascii():
        raise ValueError(f"remediation id {remediation_id!r} is not a letter and a number, such as r123")
    return int(remediation_id[1:])
