"""The threader's conversations, and what is to be done for them in Slack.

On SQLite these tables stay empty: there `store.threads` keeps them in a file of its own.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _conversations()
    _work()
    op.create_table(
        "thread_strays",
        sa.Column("fingerprint", sa.Text(), primary_key=True),
        sa.Column("id", _BIG, primary_key=True, autoincrement=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
    )
    cursor = op.create_table(
        "thread_cursor",
        sa.Column("one", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("id", _BIG, nullable=False),
    )
    op.bulk_insert(cursor, [{"one": 1, "id": -1}])


def _conversations() -> None:
    op.create_table(
        "threads",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("unsaid", sa.Text(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("open", sa.Integer(), nullable=False),
        sa.Column("due", sa.Double()),
        sa.Column("updated", sa.Double(), nullable=False),
    )
    op.create_index("threads_updated", "threads", ["updated", "key"])
    _partial_index("threads_open", ["key"], "open = 1")
    _partial_index("threads_due", ["due"], "due IS NOT NULL")
    _partial_index("threads_lines", ["lines"], "lines > 0")
    op.create_table(
        "thread_members",
        sa.Column("fingerprint", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("alertname", sa.Text(), nullable=False),
    )
    op.create_index("thread_members_key", "thread_members", ["key"])
    op.create_index("thread_members_alertname", "thread_members", ["alertname"])


def _work() -> None:
    op.create_table(
        "thread_work",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("until", sa.Double()),
        sa.Column("job", sa.Text()),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
    )
    op.create_index("thread_work_order", "thread_work", ["rank", "since", "key"])
    op.create_table(
        "thread_buckets",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("tat", sa.Double(), nullable=False),
        sa.Column("shut", sa.Double(), nullable=False),
    )
    op.create_table(
        "thread_channels",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("checked", sa.Double(), nullable=False),
    )


def _partial_index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "threads", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


_TABLES = "cursor strays channels buckets work members"


def downgrade() -> None:
    for name in _TABLES.split():
        op.drop_table(f"thread_{name}")
    op.drop_table("threads")
