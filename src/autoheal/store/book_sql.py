"""The statements of a book (`store.book`) in the words of either database, and the connection that they go to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import orjson

UNREACHABLE = "the conversations cannot be reached"

STORED = "key, data, unsaid, lines, place, open, due, updated"
WORK = "key, kind, bucket, rank, at, owner, until, job, tries, since"
CHANNEL = "name, id, state, detail, since, checked"

_SQL = {
    "clock": "SELECT {now}",
    "lock": "SELECT {stored} FROM threads WHERE key {any} ORDER BY key{c} {lock}",
    "create": (
        "INSERT INTO threads (key, data, unsaid, lines, place, open, updated) VALUES (%s, '', '[]', 0, '', 0, {now}) "
        "ON CONFLICT (key) DO NOTHING"
    ),
    "save": (
        "UPDATE threads SET data = %s, unsaid = %s, lines = %s, place = %s, open = %s, due = %s, updated = %s "
        "WHERE key = %s"
    ),
    "leave": "DELETE FROM thread_members WHERE key = %s AND NOT fingerprint {any}",
    "join": (
        "INSERT INTO thread_members (fingerprint, key, alertname) SELECT key, %s, value FROM {pairs} WHERE true "
        "ON CONFLICT (fingerprint, key) DO UPDATE SET alertname = excluded.alertname "
        "WHERE thread_members.alertname <> excluded.alertname"
    ),
    "delete": "DELETE FROM threads WHERE key = %s",
    "leave_all": "DELETE FROM thread_members WHERE key = %s",
    "done_all": "DELETE FROM thread_work WHERE key = %s",
    "keys_of": (
        "SELECT m.fingerprint, m.key FROM thread_members m JOIN threads t ON t.key = m.key "
        "WHERE m.fingerprint {any} AND t.open = 1 ORDER BY m.fingerprint{c}, m.key{c}"
    ),
    "keys_named": (
        "SELECT DISTINCT m.key{c} AS key FROM thread_members m JOIN threads t ON t.key = m.key "
        "WHERE m.alertname = %s AND t.open = 1 ORDER BY 1 LIMIT %s"
    ),
    "keys_open": "SELECT key FROM threads WHERE open = 1 ORDER BY key{c} LIMIT %s",
    "due": "SELECT {stored} FROM threads WHERE due <= {moment} ORDER BY due LIMIT %s {skip}",
    "quiet": (
        "SELECT {stored} FROM threads WHERE updated < %s AND open = 0 AND due IS NULL ORDER BY updated LIMIT %s {skip}"
    ),
    "want": (
        "INSERT INTO thread_work (key, kind, bucket, rank, at, tries, since) VALUES (%s, %s, %s, %s, %s, 0, {now}) "
        "ON CONFLICT (key, kind) DO UPDATE SET bucket = excluded.bucket, "
        "rank = {least}(thread_work.rank, excluded.rank), "
        "at = CASE WHEN thread_work.tries > 0 OR thread_work.job IS NOT NULL THEN thread_work.at "
        "ELSE {least}(thread_work.at, excluded.at) END "
        "WHERE thread_work.until IS NULL OR thread_work.until <= {now}"
    ),
    "work": "SELECT {work} FROM thread_work WHERE key = %s AND kind = %s {lock}",
    "put": (
        "INSERT INTO thread_work ({work}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (key, kind) DO UPDATE SET bucket = excluded.bucket, rank = excluded.rank, at = excluded.at, "
        "owner = excluded.owner, until = excluded.until, job = excluded.job, tries = excluded.tries, "
        "since = excluded.since"
    ),
    "done": "DELETE FROM thread_work WHERE key = %s AND kind = %s",
    "ready": (
        "SELECT {work}, {now} FROM thread_work WHERE at <= {moment} AND (until IS NULL OR until <= {moment}) "
        "AND NOT bucket {any} ORDER BY rank, since, key{c} LIMIT %s {skip}"
    ),
    "waiting": "SELECT bucket, count(*) FROM thread_work WHERE kind = %s GROUP BY bucket",
    "bucket": "SELECT tat, shut, {now} FROM thread_buckets WHERE name = %s {skip}",
    "fill": (
        "INSERT INTO thread_buckets (name, tat, shut) VALUES (%s, %s, 0) "
        "ON CONFLICT (name) DO UPDATE SET tat = excluded.tat"
    ),
    "block": (
        "INSERT INTO thread_buckets (name, tat, shut) VALUES (%s, 0, %s) "
        "ON CONFLICT (name) DO UPDATE SET shut = {greatest}(thread_buckets.shut, excluded.shut)"
    ),
    "bear": (  # an insert that meets a row waits for who is changing it
        "INSERT INTO thread_buckets (name, tat, shut) SELECT CAST(%s AS TEXT), 0, 0 "
        "WHERE NOT EXISTS (SELECT 1 FROM thread_buckets WHERE name = %s) ON CONFLICT (name) DO NOTHING"
    ),
    "over": (
        "SELECT name FROM thread_buckets WHERE name LIKE %s AND tat <= {moment} AND shut <= {moment} LIMIT %s {skip}"
    ),
    "drop": "DELETE FROM thread_buckets WHERE name {any}",
    "channel": "SELECT {channel} FROM thread_channels WHERE name = %s",
    "channels": "SELECT {channel} FROM thread_channels ORDER BY name",
    "put_channel": (
        "INSERT INTO thread_channels ({channel}) VALUES (%s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (name) DO UPDATE SET id = excluded.id, state = excluded.state, detail = excluded.detail, "
        "since = excluded.since, checked = excluded.checked"
    ),
    "stray": (
        "INSERT INTO thread_strays (fingerprint, id, data, at) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (fingerprint, id) DO NOTHING"
    ),
    "strays": "SELECT fingerprint, id, data, at FROM thread_strays WHERE fingerprint {any} ORDER BY id {skip}",
    "old": "SELECT fingerprint, id FROM thread_strays WHERE at < %s {skip}",
    "unstray": "DELETE FROM thread_strays WHERE fingerprint = %s AND id = %s",
    "cursor": "SELECT id FROM thread_cursor WHERE one = 1 {skip}",
    "advance": "UPDATE thread_cursor SET id = %s WHERE one = 1",
    # for readers
    "get": "SELECT {stored} FROM threads WHERE key = %s",
    "list": "SELECT {stored} FROM threads WHERE (updated, key) < (%s, %s) ORDER BY updated DESC, key DESC LIMIT %s",
    "list_open": (
        "SELECT {stored} FROM threads WHERE (updated, key) < (%s, %s) AND open = %s "
        "ORDER BY updated DESC, key DESC LIMIT %s"
    ),
    "depth": "SELECT kind, count(*), min(since) FROM thread_work GROUP BY kind",
    "sums": (
        "SELECT (SELECT count(*) FROM threads WHERE open = 1), "
        "(SELECT coalesce(sum(lines), 0) FROM threads WHERE lines > 0)"
    ),
}
"""`{now}` is the time to the microsecond, `{moment}` when the statement began; `{any}`: one of a list; `{c}`: sorted as
Python does; `{lock}` and `{skip}` hold the rows and wait for who has them, or pass over those."""

_POSTGRES = {
    "now": "extract(epoch FROM clock_timestamp())::float8",
    "moment": "extract(epoch FROM statement_timestamp())::float8",
    "any": "= ANY(%s)",
    "pairs": "json_each_text(%s)",
    "c": ' COLLATE "C"',
    "lock": "FOR UPDATE",
    "skip": "FOR UPDATE SKIP LOCKED",
    "least": "least",
    "greatest": "greatest",
}
_SQLITE = {
    "now": "unix_now()",
    "moment": "unix_now()",
    "any": "IN (SELECT value FROM json_each(%s))",
    "pairs": "json_each(%s)",
    "c": "",
    "lock": "",
    "skip": "",
    "least": "min",
    "greatest": "max",
}


class Dialect:
    """The statements in one database's words, and a list as it takes one."""

    def __init__(self, postgres: bool) -> None:
        words = (_POSTGRES if postgres else _SQLITE) | {"stored": STORED, "work": WORK, "channel": CHANNEL}
        mark = "%s" if postgres else "?"
        self.sql = {name: text.format(**words).strip().replace("%s", mark) for name, text in _SQL.items()}
        self._postgres = postgres
        self.hasty = "SET LOCAL lock_timeout = '200ms'" if postgres else ""
        """From here on the transaction fails rather than wait."""

    def listed(self, values: Iterable[str]) -> Any:
        return list(values) if self._postgres else orjson.dumps(list(values)).decode()


Statement = tuple[str, Sequence[Any]]


class Link(Protocol):
    """A connection on which a transaction begins with the first `ask`."""

    def ask(self, writes: Sequence[Statement], questions: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        """Run the writes, then the questions, in one round trip where that can be; each question's rows."""
        ...

    def commit(self, writes: Sequence[Statement], afterwards: Sequence[Statement]) -> None:
        """Run the writes and commit, in one round trip where that can be; then the rest, while nothing is held."""
        ...

    def bear(self, bucket: str) -> bool:
        """See to it that a bucket is there, whatever becomes of this transaction; whether it may not have been."""
        ...
