"""The tables: the ledger's events and head, the engine's facts and remediations, the threader's conversations."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, Table, Text

VERSION = "0003"
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

# ---- conversations (store.threads); empty in an SQLite ledger: there they have a file of their own -----------------

threads = Table(
    "threads",
    metadata,
    Column("key", Text, primary_key=True),
    Column("data", Text, nullable=False),
    Column("unsaid", Text, nullable=False),
    Column("lines", Integer, nullable=False),
    Column("place", Text, nullable=False),
    Column("open", Integer, nullable=False),
    Column("due", Double),
    Column("updated", Double, nullable=False),
)
"""Conversations. `unsaid` is what is still to be posted, `lines` how much that is; `place`: where it stands in Slack;
`due`: when the time alone changes something."""
Index("threads_updated", threads.c.updated, threads.c.key)
Index("threads_open", threads.c.key, sqlite_where=threads.c.open == 1, postgresql_where=threads.c.open == 1)
Index(
    "threads_due", threads.c.due, sqlite_where=threads.c.due.is_not(None), postgresql_where=threads.c.due.is_not(None)
)
Index("threads_lines", threads.c.lines, sqlite_where=threads.c.lines > 0, postgresql_where=threads.c.lines > 0)

thread_members = Table(
    "thread_members",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("alertname", Text, nullable=False),
)
"""Which alerts each conversation is about."""
Index("thread_members_key", thread_members.c.key)
Index("thread_members_alertname", thread_members.c.alertname)

thread_work = Table(
    "thread_work",
    metadata,
    Column("key", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("bucket", Text, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Column("owner", Text),
    Column("until", Double),
    Column("job", Text),
    Column("tries", Integer, nullable=False),
    Column("since", Double, nullable=False),
)
"""What is to be done in Slack: from `at` on, the smallest `rank` first, then whatever is wanted `since` longest.
`owner` has it until `until`; `job` is what it was about to send."""
Index("thread_work_order", thread_work.c.rank, thread_work.c.since, thread_work.c.key)

thread_buckets = Table(
    "thread_buckets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("tat", Double, nullable=False),
    Column("shut", Double, nullable=False),
)
"""Rates that all processes share: GCRA's theoretical arrival time, and until when nothing passes at all."""

thread_channels = Table(
    "thread_channels",
    metadata,
    Column("name", Text, primary_key=True),
    Column("id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("since", Double, nullable=False),
    Column("checked", Double, nullable=False),
)

thread_strays = Table(
    "thread_strays",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("id", _BIG, primary_key=True, autoincrement=False),
    Column("data", Text, nullable=False),
    Column("at", Double, nullable=False),
)
"""News of alerts that have no conversation yet."""

thread_cursor = Table(
    "thread_cursor",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("id", _BIG, nullable=False),
)
"""One row (`one` = 1): the last event of the ledger that the conversations know, -1 before the first."""

THREADS = (threads, thread_members, thread_work, thread_buckets, thread_channels, thread_strays, thread_cursor)


def number(remediation_id: str) -> int:
    """The number in a remediation's id; ValueError where it has none."""
    if not remediation_id[1:].isdecimal() or not remediation_id.isascii():
        raise ValueError(f"remediation id {remediation_id!r} is not a letter and a number, such as r123")
    return int(remediation_id[1:])
