"""Connections: one engine that writes, one that only reads, each with what its dialect needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

BUSY_SECONDS = 5.0
"""How long to wait for another process that writes the same SQLite file."""

WAL_PAGES = 1000
"""Pages (4 KiB) in SQLite's write-ahead log before a commit copies them home: small, so that it never takes long.

Checkpoints happen on the one writing connection only: before SQLite 3.51.3 a checkpoint beside a writer could, in a
rare race, corrupt the file (sqlite.org/wal.html, "WAL-reset bug").
"""

WAL_BYTES = 16 * 2**20
"""What a log that grew behind a slow reader is cut back to."""


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL, None for every other database."""
    parsed = make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def writer(url: str) -> Engine:
    """The engine of the one who writes; a transaction on it excludes every other writer from its first statement."""
    path = sqlite_path(url)
    if path is None:
        return create_engine(url, paramstyle="format")
    engine = create_engine(sqlite_url(path), connect_args={"timeout": BUSY_SECONDS}, pool_size=1, max_overflow=0)
    event.listen(engine, "connect", _prepare_writer)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def reader(url: str, pool_size: int = 4) -> Engine:
    """An engine that can only read: a small pool, each statement its own snapshot, safe to share among threads."""
    path = sqlite_path(url)
    options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": pool_size, "pool_timeout": 10}
    if path is None:
        return create_engine(url, isolation_level="AUTOCOMMIT", **options)
    engine = create_engine(
        _read_only(path), isolation_level="AUTOCOMMIT", connect_args={"timeout": BUSY_SECONDS}, **options
    )
    event.listen(engine, "connect", _prepare_reader)
    return engine


def private_file(path: Path) -> None:
    """Make sure that `path` exists and, where it is new, that only its owner can read it."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _read_only(path: Path) -> str:
    """Without its log and in a folder that we may not write, SQLite reads a file only if told that it is at rest."""
    at_rest = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
    return f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true" + ("&immutable=1" if at_rest else "")


def _prepare_writer(connection: Any, record: object) -> None:
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"wal_autocheckpoint={WAL_PAGES}",
        f"journal_size_limit={WAL_BYTES}",
        "cache_size=-16384",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _prepare_reader(connection: Any, record: object) -> None:
    connection.isolation_level = None
    for pragma in ("query_only=ON", "cache_size=-8192", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
