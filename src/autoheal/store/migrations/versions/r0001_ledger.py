"""The ledger and the engine's state: head, events, clock steps, facts, remediations.

On PostgreSQL the events are partitioned by id from here on: nothing could be written to one before revision 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_GENESIS = "0" * 64


def upgrade() -> None:
    _ledger()
    _state()


def _ledger() -> None:
    head = op.create_table(
        "head",
        sa.Column("one", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("id", _BIG, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("ts", sa.Double(), nullable=False),
    )
    op.bulk_insert(head, [{"one": 1, "id": 0, "hash": _GENESIS, "ts": 0.0}])
    op.create_table(
        "events",
        sa.Column("id", _BIG, primary_key=True, autoincrement=False),
        sa.Column("ts", sa.Double(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("alertname", sa.Text()),
        sa.Column("rule", sa.Text()),
        sa.Column("remediation_id", sa.Text()),
        sa.Column("line", sa.Text(), nullable=False),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("events_kind", "events", ["kind", "id"])
    for name in ("alertname", "rule", "remediation_id"):
        _partial_index(f"events_{name}", "events", [name, "id"], name)
    op.create_table(
        "clock_steps",
        sa.Column("id", _BIG, primary_key=True, autoincrement=False),
        sa.Column("ts", sa.Double(), nullable=False),
        sa.Column("before", sa.Double(), nullable=False),
    )


def _state() -> None:
    op.create_table(
        "facts",
        sa.Column("space", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("due", sa.Double()),
    )
    _partial_index("facts_due", "facts", ["due"], "due")
    op.create_table(
        "remediations",
        sa.Column("number", _BIG, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("alertname", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double()),
        sa.Column("data", sa.Text(), nullable=False),
    )
    for name in ("state", "rule", "alertname"):
        op.create_index(f"remediations_{name}", "remediations", [name, "number"])


def _partial_index(name: str, table: str, columns: list[str], present: str) -> None:
    where = sa.text(f"{present} IS NOT NULL")
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for table in ("remediations", "facts", "clock_steps", "events", "head"):
        op.drop_table(table)
